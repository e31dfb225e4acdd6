//! The promises of the state: nothing half-written, nothing invalid and no empty cluster ever comes through.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use policy_compiler::OnInvalid;
use tempfile::TempDir;

use super::source::{Changes, DirectorySource, ScanError};

const NAMESPACE: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n";

fn pod(name: &str, address: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{nodeName: node-a}}\n\
         status: {{phase: Running, podIPs: [{{ip: {address}}}]}}\n"
    )
}

fn policy(name: &str, cidr: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec:\n  podSelector: {{}}\n  ingress:\n  - from: [{{ipBlock: {{cidr: {cidr}}}}}]\n"
    )
}

struct Directory {
    root: TempDir,
    source: DirectorySource,
}

impl Directory {
    fn new(files: &[(&str, &str)]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let source = DirectorySource::open(root.path());
        let directory = Self { root, source };
        for (name, text) in files {
            directory.write(name, text);
        }
        directory
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    fn scan(&mut self) -> Changes {
        self.scan_as(OnInvalid::Refuse)
    }

    fn scan_as(&mut self, on_invalid: OnInvalid) -> Changes {
        match self.source.scan(on_invalid) {
            Ok(changes) => changes,
            Err(error) => panic!("{error:?}"),
        }
    }

    /// The problems of a refused scan, one a line, without the temporary directory's name.
    fn refused(&mut self) -> String {
        self.refused_as(OnInvalid::Refuse)
    }

    fn refused_as(&mut self, on_invalid: OnInvalid) -> String {
        match self.source.scan(on_invalid) {
            Err(ScanError::Invalid(problems)) => {
                let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
                lines.join("\n").replace(&format!("{}/", self.root.path().display()), "")
            }
            other => panic!("{other:?}"),
        }
    }
}

fn upserted(changes: &Changes) -> Vec<String> {
    let mut names: Vec<_> = changes.upserts.iter().map(|object| object.key().to_string()).collect();
    names.sort();
    names
}

fn deleted(changes: &Changes) -> Vec<String> {
    changes.deletes.iter().map(ToString::to_string).collect()
}

#[test]
fn the_first_scan_hands_out_everything_and_the_next_nothing() {
    let mut directory = Directory::new(&[("a.yaml", NAMESPACE), ("b.yml", &pod("web", "10.0.0.1"))]);
    assert_eq!(upserted(&directory.scan()), ["Namespace shop", "Pod shop/web"]);
    assert!(directory.scan().is_empty());
}

#[test]
fn a_scan_hands_out_what_is_in_changed_files_and_what_is_gone() {
    let mut directory = Directory::new(&[
        ("a.yaml", NAMESPACE),
        ("b.yaml", &pod("web", "10.0.0.1")),
        ("c.yaml", &pod("api", "10.0.0.2")),
    ]);
    directory.scan();
    directory.write("b.yaml", &pod("web", "10.0.0.3"));
    directory.remove("c.yaml");
    let changes = directory.scan();
    assert_eq!(upserted(&changes), ["Pod shop/web"]);
    assert_eq!(deleted(&changes), ["Pod shop/api"]);
}

#[test]
fn an_object_that_moves_to_another_file_is_not_deleted() {
    let mut directory = Directory::new(&[("a.yaml", NAMESPACE), ("b.yaml", &pod("web", "10.0.0.1"))]);
    directory.scan();
    fs::rename(directory.path("b.yaml"), directory.path("z.yaml")).unwrap();
    assert!(deleted(&directory.scan()).is_empty());
}

#[test]
fn json_and_subdirectories_are_read_and_hidden_and_other_files_are_not() {
    let mut directory = Directory::new(&[
        ("a.json", r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop"}}"#),
        (".hidden.yaml", "]["),
        ("notes.txt", "]["),
        ("b.yaml~", "]["),
    ]);
    fs::create_dir_all(directory.path("pods/more")).unwrap();
    directory.write("pods/more/web.yaml", &pod("web", "10.0.0.1"));
    assert_eq!(upserted(&directory.scan()), ["Namespace shop", "Pod shop/web"]);
}

#[test]
fn a_mounted_configmap_is_read_once_and_its_swap_is_a_change() {
    let mut directory = Directory::new(&[]);
    for (version, address) in [("..1", "10.0.0.1"), ("..2", "10.0.0.2")] {
        fs::create_dir(directory.path(version)).unwrap();
        directory.write(&format!("{version}/pod.yaml"), &pod("web", address));
    }
    symlink("..1", directory.path("..data")).unwrap();
    symlink("..data/pod.yaml", directory.path("pod.yaml")).unwrap();
    assert_eq!(upserted(&directory.scan()), ["Pod shop/web"]);
    symlink("..2", directory.path("..tmp")).unwrap();
    fs::rename(directory.path("..tmp"), directory.path("..data")).unwrap();
    assert_eq!(upserted(&directory.scan()), ["Pod shop/web"]);
}

#[test]
fn a_link_back_up_ends() {
    let mut directory = Directory::new(&[("a.yaml", NAMESPACE)]);
    symlink(".", directory.path("loop")).unwrap();
    assert_eq!(upserted(&directory.scan()), ["Namespace shop"]);
}

#[test]
fn an_error_in_one_file_holds_back_all_and_comes_through_once_mended() {
    let mut directory = Directory::new(&[("a.yaml", NAMESPACE), ("p.yaml", &policy("allow", "10.0.0.0/8"))]);
    directory.scan();
    directory.write("b.yaml", &pod("web", "10.0.0.1"));
    directory.write("p.yaml", &policy("allow", "10.0.0.0/33"));
    let refusal = directory.refused();
    assert!(refusal.starts_with("p.yaml:7:"), "{refusal}");
    assert!(refusal.contains("ipBlock.cidr"), "{refusal}");
    // Refused again, for the same reason, though no file changed.
    assert_eq!(directory.refused(), refusal);
    directory.write("p.yaml", &policy("allow", "10.0.0.0/9"));
    assert_eq!(upserted(&directory.scan()), ["NetworkPolicy shop/allow", "Pod shop/web"]);
}

#[test]
fn all_problems_of_all_files_are_reported() {
    let mut directory = Directory::new(&[
        ("a.yaml", "kind: ["),
        ("b.yaml", &policy("x", "nonsense")),
        ("c.yaml", &policy("y", "10.0.0.0/33")),
    ]);
    let refusal = directory.refused();
    for file in ["a.yaml:", "b.yaml:", "c.yaml:"] {
        assert!(refusal.lines().any(|line| line.starts_with(file)), "{refusal}");
    }
}

#[test]
fn an_object_in_two_files_is_refused_naming_both() {
    let mut directory = Directory::new(&[("a.yaml", NAMESPACE), ("b.yaml", NAMESPACE)]);
    let refusal = directory.refused();
    assert!(refusal.starts_with("b.yaml:1:1: Namespace shop: is also defined at "), "{refusal}");
    assert!(refusal.contains("a.yaml:1:1"), "{refusal}");
}

#[test]
fn an_object_twice_in_one_file_is_refused() {
    let mut directory = Directory::new(&[("a.yaml", &format!("{NAMESPACE}---\n{NAMESPACE}"))]);
    assert!(directory.refused().contains("is also defined at"));
}

#[test]
fn an_empty_or_missing_directory_is_an_error_and_never_an_empty_cluster() {
    let mut directory = Directory::new(&[]);
    assert!(directory.refused().contains("holds no manifest"));
    directory.write("README.md", "no manifest");
    assert!(directory.refused().contains("holds no manifest"));
    directory.write("a.yaml", NAMESPACE);
    directory.scan();
    directory.remove("a.yaml");
    assert!(directory.refused().contains("an empty directory is not taken for an empty cluster"));
    assert!(directory.refused_as(OnInvalid::Isolate).contains("holds no manifest"));

    let mut gone = DirectorySource::open(Path::new("/nonexistent/state"));
    for on_invalid in [OnInvalid::Refuse, OnInvalid::Isolate] {
        let Err(ScanError::Invalid(problems)) = gone.scan(on_invalid) else { panic!("accepted") };
        assert!(problems[0].to_string().starts_with("/nonexistent/state: there is no such directory"));
    }
}

#[test]
fn a_directory_of_other_kinds_only_is_an_error() {
    let mut directory = Directory::new(&[("a.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n")]);
    assert!(directory.refused().contains("no Namespace, Node, Pod or NetworkPolicy"));
}

#[test]
fn kinds_that_are_not_used_are_counted() {
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n";
    let mut directory = Directory::new(&[("a.yaml", &format!("{NAMESPACE}---\n{service}"))]);
    assert_eq!(directory.scan().skipped.values().sum::<usize>(), 1);
    assert_eq!(directory.scan().skipped.values().sum::<usize>(), 1);
}

#[test]
fn a_file_cut_to_nothing_is_an_error_and_its_objects_stay() {
    let mut directory = Directory::new(&[("a.yaml", NAMESPACE), ("p.yaml", &policy("allow", "10.0.0.0/8"))]);
    directory.scan();
    directory.write("p.yaml", "");
    assert!(directory.refused().starts_with("p.yaml: holds no object"));
    let changes = directory.scan_as(OnInvalid::Isolate);
    assert!(changes.is_empty());
    assert_eq!(changes.problems.len(), 1);
}

#[test]
fn a_file_that_somebody_is_writing_is_waited_for_but_not_forever() {
    let mut directory = Directory::new(&[("a.yaml", NAMESPACE)]);
    directory.scan();
    let mut writer = OpenOptions::new().create(true).append(true).open(directory.path("b.yaml")).unwrap();
    writer.write_all(pod("web", "10.0.0.1").as_bytes()).unwrap();
    let start = Instant::now();
    let Err(ScanError::Unsettled { path }) = directory.source.scan(OnInvalid::Refuse) else {
        // As on a file system without leases.
        eprintln!("skipped: the kernel gives no lease on files in {}", directory.root.path().display());
        return;
    };
    assert_eq!(path, directory.path("b.yaml"));
    drop(writer);
    assert_eq!(upserted(&directory.scan()), ["Pod shop/web"]);

    let _forever = OpenOptions::new().append(true).open(directory.path("b.yaml")).map(|mut file| {
        file.write_all(b"\n").unwrap();
        file
    });
    while let Err(ScanError::Unsettled { .. }) = directory.source.scan(OnInvalid::Refuse) {
        assert!(start.elapsed() < Duration::from_secs(10));
    }
    assert!(directory.refused().contains("b.yaml: has been in motion for 2 seconds"));
}

#[test]
fn a_file_that_is_not_text_is_an_error() {
    let mut directory = Directory::new(&[("a.yaml", NAMESPACE)]);
    fs::write(directory.path("b.yaml"), b"a: 1\n\xff\xfe").unwrap();
    let refused = directory.refused();
    assert!(refused.contains("b.yaml:2:1: is not UTF-8 text"), "{refused}");
    fs::write(directory.path("b.yaml"), b"\xff\xfea\0").unwrap();
    assert!(directory.refused().contains("it seems to be UTF-16"));
}

#[test]
fn a_file_over_the_limit_is_not_read() {
    let mut directory = Directory::new(&[("a.yaml", NAMESPACE)]);
    // Sparse: takes no room.
    fs::File::create(directory.path("b.yaml")).unwrap().set_len(super::MAX_FILE_BYTES + 1).unwrap();
    assert!(directory.refused().contains("expected at most 1073741824"));
}

#[test]
fn what_may_never_end_is_neither_read_nor_passed_over() {
    let mut directory = Directory::new(&[("a.yaml", NAMESPACE)]);
    symlink("/dev/zero", directory.path("b.yaml")).unwrap();
    assert!(directory.refused().contains("b.yaml: is no regular file"));
    directory.remove("b.yaml");
    let made = std::process::Command::new("mkfifo").arg(directory.path("c.yaml")).status().unwrap();
    assert!(made.success());
    assert!(directory.refused().contains("c.yaml: is no regular file"));
}

#[test]
fn isolating_keeps_the_objects_of_a_file_that_can_no_longer_be_read() {
    let mut directory = Directory::new(&[("a.yaml", NAMESPACE), ("p.yaml", &policy("allow", "10.0.0.0/8"))]);
    directory.scan_as(OnInvalid::Isolate);
    directory.write("p.yaml", "kind: [");
    directory.write("b.yaml", &pod("web", "10.0.0.1"));
    let changes = directory.scan_as(OnInvalid::Isolate);
    assert_eq!(upserted(&changes), ["Pod shop/web"]);
    assert!(deleted(&changes).is_empty());
    assert!(!changes.problems.is_empty());
    directory.remove("p.yaml");
    assert_eq!(deleted(&directory.scan_as(OnInvalid::Isolate)), ["NetworkPolicy shop/allow"]);
}

#[test]
fn isolating_refuses_a_file_of_which_nothing_is_known() {
    let mut directory = Directory::new(&[("a.yaml", NAMESPACE), ("p.yaml", "kind: [")]);
    assert!(directory.refused_as(OnInvalid::Isolate).starts_with("p.yaml:"));
}

#[test]
fn isolating_leaves_errors_within_an_object_to_the_compiler() {
    let mut directory = Directory::new(&[("a.yaml", NAMESPACE), ("p.yaml", &policy("allow", "10.0.0.0/33"))]);
    let changes = directory.scan_as(OnInvalid::Isolate);
    assert_eq!(upserted(&changes), ["Namespace shop", "NetworkPolicy shop/allow"]);
    assert!(!changes.problems.is_empty());
}

#[test]
fn isolating_keeps_the_earlier_of_two_objects_of_one_name() {
    let mut directory = Directory::new(&[("b.yaml", &pod("web", "10.0.0.1")), ("n.yaml", NAMESPACE)]);
    directory.scan_as(OnInvalid::Isolate);
    directory.write("a.yaml", &pod("web", "10.0.0.2"));
    let changes = directory.scan_as(OnInvalid::Isolate);
    assert!(changes.is_empty(), "{changes:?}");
    assert_eq!(changes.problems.len(), 1);
    // The earlier one goes: the later one comes in.
    directory.remove("b.yaml");
    let changes = directory.scan_as(OnInvalid::Isolate);
    assert_eq!(upserted(&changes), ["Pod shop/web"]);
    assert_eq!(changes.upserts[0].origin().file.as_ref(), directory.path("a.yaml").to_str().unwrap());
}
