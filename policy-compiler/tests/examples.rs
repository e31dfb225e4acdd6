//! The examples in `configs/policies/`: each is read as it stands, and gives the matrix that stands beside it.
//!
//! `NAME.matrix` begins with the command that prints it, for a directory that holds `state/cluster.yaml` and `NAME.yaml`.
//! `UPDATE=1` writes the rest anew; what changed is then to be read. `tests/policy.rs` of the program asks the program.

mod support;

use policy_compiler::parse;
use policy_compiler::query::{Cell, Judge, Matrix, Transport, matrix};
use policy_compiler::{Diagnostic, Kind, Object, Options};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use support::compiler;

const FOLDERS: [&str; 4] = ["network-policy", "cluster-network-policy", "calico", "cilium"];

/// The examples that every newcomer meets: where each is, and what it must not lose.
const CIRCULATING: [(&str, &str); 13] = [
    ("network-policy/default-deny", "podSelector: {}"),
    ("network-policy/dns-egress", "k8s-app: kube-dns"),
    ("network-policy/api-server-and-metadata", "169.254.169.254/32"),
    ("network-policy/metadata-only", "169.254.169.254/32"),
    ("network-policy/frontend-to-backend", "port: 8080"),
    ("network-policy/and-peers", "      podSelector:"),
    ("network-policy/or-peers", "    - podSelector:"),
    ("network-policy/database", "role: db"),
    ("network-policy/database", "port: 6379"),
    ("calico/log-all-deny", "order: 2000"),
    ("calico/log-before-deny", "action: Log"),
    ("cilium/allow-only-google", "matchName: google.com"),
    ("cilium/dns-egress", "k8s:k8s-app: kube-dns"),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/policies")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// `FOLDER/NAME` of every example.
fn examples() -> BTreeSet<String> {
    let mut examples = BTreeSet::new();
    for name in FOLDERS {
        let Ok(files) = fs::read_dir(folder().join(name)) else { panic!("there is no {name}") };
        let paths = files.flatten().map(|file| file.path());
        for path in paths.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")) {
            examples.insert(format!("{name}/{}", path.file_stem().unwrap_or_default().to_string_lossy()));
        }
    }
    examples
}

/// The example on its cluster, and what was remarked about it.
fn judge(example: &str) -> (Judge, Vec<Diagnostic>) {
    let Some((name, _)) = example.split_once('/') else { panic!("{example} is in no folder") };
    let state = read(&folder().join(name).join("state/cluster.yaml"));
    let text = read(&folder().join(format!("{example}.yaml")));
    let warnings = parse(example, &text).diagnostics;
    let compiler = compiler(Options::default(), &[("cluster.yaml", &state), (example, &text)], false);
    match Judge::new(compiler) {
        Ok(judge) => (judge, warnings),
        Err(errors) => panic!("{example}: {errors:?}"),
    }
}

/// As the program prints it.
fn shown(matrix: &Matrix) -> String {
    let mut shown = String::new();
    for (position, port) in matrix.ports.iter().enumerate() {
        let cell = |src: &str, dst: &str| {
            let pairs = matrix.pairs().filter(|pair| pair.src.name == src && pair.dst.name == dst);
            let verdicts: Vec<(u8, String)> = pairs
                .filter_map(|pair| match pair.cell {
                    Cell::Ports(verdicts) => Some((pair.family, verdicts.get(position)?.to_string())),
                    Cell::Open(_) => None,
                })
                .collect();
            let kinds: BTreeSet<&String> = verdicts.iter().map(|(_, verdict)| verdict).collect();
            match (kinds.first(), kinds.len()) {
                (None, _) => "-".to_owned(),
                (Some(only), 1) => (*only).clone(),
                _ => {
                    let each = verdicts.iter().map(|(family, verdict)| format!("IPv{family}: {verdict}"));
                    each.collect::<Vec<_>>().join(" / ")
                }
            }
        };
        let mut rows = vec![vec!["FROM \\ TO".to_owned()]];
        rows[0].extend(matrix.ends.iter().map(|end| end.name.clone()));
        for src in &matrix.ends {
            let cells = matrix.ends.iter().map(|dst| cell(&src.name, &dst.name));
            rows.push(std::iter::once(src.name.clone()).chain(cells).collect());
        }
        let widths: Vec<usize> = (0..rows[0].len())
            .map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0))
            .collect();
        let _ = writeln!(shown, "{}{port}", if shown.is_empty() { "" } else { "\n" });
        for row in rows {
            let cells = row.iter().zip(&widths).map(|(cell, &width)| format!(" {cell:width$} "));
            let _ = writeln!(shown, "{}", cells.collect::<String>().trim_end());
        }
    }
    shown
}

#[test]
fn every_example_gives_the_matrix_beside_it() {
    let mut wrong = Vec::new();
    for example in examples() {
        let path = folder().join(format!("{example}.matrix"));
        let expected = read(&path);
        let Some((command, _)) = expected.split_once('\n') else { panic!("{example}.matrix has no command") };
        let (judge, _) = judge(&example);
        let (mut ends, mut ports) = (judge.pods(), Vec::new());
        let words: Vec<&str> = command.split_whitespace().collect();
        assert_eq!(words.get(..4), Some(&["#", "weir", "policy", "matrix"][..]), "{example}");
        for option in words[4..].chunks(2) {
            match *option {
                ["--port", port] => match port.parse::<Transport>() {
                    Ok(port) => ports.push(port),
                    Err(error) => panic!("{example}: {error}"),
                },
                ["--with", address] => match judge.end(address) {
                    Ok(end) => ends.push(end),
                    Err(error) => panic!("{example}: {error}"),
                },
                _ => panic!("{example}: {option:?}"),
            }
        }
        let found = format!("{command}\n{}", shown(&matrix(&judge, ends, ports, |_| ())));
        if std::env::var_os("UPDATE").is_some() {
            if let Err(error) = fs::write(&path, &found) {
                panic!("{}: {error}", path.display());
            }
        } else if found != expected {
            wrong.push(format!("{example}: expected\n{expected}\nfound\n{found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_example_that_circulates_is_there() {
    let examples = examples();
    for (example, words) in CIRCULATING {
        assert!(examples.contains(example), "{example}");
        assert!(read(&folder().join(format!("{example}.yaml"))).contains(words), "{example}: {words}");
    }
}

#[test]
fn every_example_selects_somebody_and_the_readme_tells_what_it_shows() {
    let readme = read(&folder().join("README.md"));
    for example in examples() {
        assert!(readme.contains(&format!("({example}.yaml)")), "{example} is not in the README");
        let (judge, _) = judge(&example);
        // An example that selects nobody shows nothing.
        if example == "calico/staged-default-deny" {
            continue;
        }
        let mut alone = policy_compiler::Compiler::new(Options::default());
        let is_of_cluster = |object: &&Object| {
            matches!(object.key().kind, Kind::Namespace | Kind::Node | Kind::Pod | Kind::ServiceAccount)
        };
        for object in judge.compiler().objects().filter(is_of_cluster) {
            alone.upsert(object.clone());
        }
        let Ok(alone) = Judge::new(alone) else { panic!("the cluster alone is valid") };
        let (before, after) = (alone.compiled().rules.len(), judge.compiled().rules.len());
        assert!(before != after, "{example} changes nothing");
    }
}

#[test]
fn only_those_that_need_another_layer_are_remarked_upon() {
    let mut remarks: BTreeMap<String, usize> = BTreeMap::new();
    for example in examples() {
        let (_, warnings) = judge(&example);
        assert!(warnings.iter().all(|warning| !warning.is_error()), "{warnings:?}");
        if !warnings.is_empty() {
            remarks.insert(example, warnings.len());
        }
    }
    let expected = [
        ("cilium/allow-only-google", 2),
        ("cilium/http-methods", 1),
        ("cluster-network-policy/domain-names", 1),
    ];
    assert_eq!(remarks, expected.map(|(example, count)| (example.to_owned(), count)).into());
}
