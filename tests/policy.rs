//! `weir policy` as people and scripts meet it: every output form, errors and exit codes, as snapshots.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use harness::manifest::Pod;

/// Runs `weir` in a directory; the command, what it printed and how it ended.
fn run_in(directory: &Path, args: &[&str], input: &str) -> String {
    let mut weir = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(args)
        .current_dir(directory)
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may be gone already.
    drop(weir.stdin.take().unwrap().write_all(input.as_bytes()));
    let output = weir.wait_with_output().unwrap();
    let mut text = format!("$ weir {}\n{}", args.join(" "), String::from_utf8(output.stdout).unwrap());
    for line in String::from_utf8(output.stderr).unwrap().lines() {
        writeln!(text, "stderr: {line}").unwrap();
    }
    writeln!(text, "exit: {}", output.status.code().unwrap()).unwrap();
    text
}

/// The same on the sample state.
fn run(args: &[&str], input: &str) -> String {
    run_in(Path::new(env!("CARGO_MANIFEST_DIR")), args, input)
}

const PROBES: &str = r#"{"src":"shop/frontend","dst":"shop/backend","protocol":"TCP","port":8080}
{"src":"shop/intruder","dst":"fd00:10:244:2::2","protocol":"TCP","port":8080}
{"src":"192.0.2.2","dst":"shop/backend","protocol":"ICMP"}
{"src":"shop/nobody","dst":"shop/backend","protocol":"TCP","port":80}
nonsense
{"src":"203.0.113.9","dst":"kube-system/dns","protocol":"UDP","port":53}
"#;

#[test]
fn probes_are_answered_in_order_with_errors_in_their_place() {
    let eval =
        |form| run(&["policy", "eval", "--state", "configs/state", "--probes", "-", "-o", form], PROBES);
    insta::assert_snapshot!(eval("jsonl"));
    insta::assert_snapshot!(eval("table"));
    let all: serde_json::Value = {
        let text = eval("json");
        let end = text.find("\nstderr").unwrap();
        serde_json::from_str(text[..end].split_once('\n').unwrap().1).unwrap()
    };
    assert_eq!(all.as_array().unwrap().len(), 6);
}

#[test]
fn probes_that_all_have_answers_end_well() {
    let probes = PROBES.lines().next().unwrap();
    // The last line need not end.
    let text = run(&["policy", "eval", "--state", "configs/state", "--probes", "-"], probes);
    assert!(text.ends_with("exit: 0\n") && text.contains(r#"{"verdict":"allow","#), "{text}");
    let none = run(&["policy", "eval", "--state", "configs/state", "--probes", "-"], "");
    assert!(none.ends_with("--probes -\nexit: 0\n"), "{none}");
    let missing = run(&["policy", "eval", "--state", "configs/state", "--probes", "nowhere"], "");
    assert!(
        missing.contains("stderr: weir: cannot read the probes in nowhere") && missing.ends_with("exit: 2\n")
    );
}

#[test]
fn an_overlong_line_and_one_that_is_no_text_are_errors_in_their_place() {
    let good = PROBES.lines().next().unwrap();
    let probes = format!("{}\n{good}\n", "x".repeat(1 << 20));
    let text = run(&["policy", "eval", "--state", "configs/state", "--probes", "-"], &probes);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[1].contains("more than 65536 bytes") && lines[2].contains("allow"), "{text}");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("probes");
    fs::write(&file, [b"\xff\xfe\n", good.as_bytes()].concat()).unwrap();
    let text = run(&["policy", "eval", "--state", "configs/state", "--probes", file.to_str().unwrap()], "");
    assert!(text.contains("is not UTF-8\",\"line\":1}") && text.ends_with("exit: 2\n"), "{text}");
}

#[test]
fn a_state_that_the_api_server_would_refuse_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    fs::create_dir(&state).unwrap();
    fs::write(
        state.join("policies.yaml"),
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: bad, namespace: shop}\n\
         spec:\n  podSelector: {}\n  ingress:\n    - ports: [{port: 9, endPort: 8}]\n---\n\
         apiVersion: crd.antrea.io/v1beta1\nkind: ClusterNetworkPolicy\nmetadata: {name: other}\n",
    )
    .unwrap();
    let mut text = String::new();
    for args in [
        &["policy", "eval", "--state", "state", "--probes", "-"][..],
        &["policy", "explain", "a/b", "a/b", "80/TCP", "--state", "state"],
        &["policy", "matrix", "--state", "state"],
        &["policy", "lint", "--state", "state"],
        &["policy", "matrix", "--state", "nowhere"],
        &["policy", "lint", "--state", "nowhere"],
    ] {
        text.push_str(&run_in(directory.path(), args, PROBES));
        text.push('\n');
    }
    insta::assert_snapshot!(text);
}

#[test]
fn connections_are_explained() {
    let mut text = String::new();
    for (src, dst, port) in [
        ("shop/frontend", "shop/backend", "8080/TCP"),
        ("shop/intruder", "shop/backend", "8080/tcp"),
        ("192.0.2.2", "shop/backend", "ICMP"),
        ("shop/frontend", "shop/frontend", "1/SCTP"),
        ("198.51.100.7", "kube-system/dns", "53/UDP"),
        ("shop/nobody", "kube-system/dns", "53/UDP"),
    ] {
        text.push_str(&run(&["policy", "explain", src, dst, port, "--state", "configs/state"], ""));
        text.push('\n');
    }
    insta::assert_snapshot!(text);
    let args = ["policy", "explain", "shop/frontend", "shop/backend", "8080/TCP", "--state", "configs/state"];
    insta::assert_snapshot!(run(&[&args[..], &["--family", "6", "-o", "json"]].concat(), ""));
    let wrong = run(&[&args[..], &["--family", "5"]].concat(), "");
    assert!(wrong.contains("[possible values: 4, 6]") && wrong.ends_with("exit: 2\n"), "{wrong}");
}

/// The examples beside their matrices: the library's answers are held to all of them, the program's to these.
#[test]
fn an_example_has_the_matrix_that_stands_beside_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/policies");
    for (language, name) in [("network-policy", "database"), ("cluster-network-policy", "nodes-and-networks")]
    {
        let directory = tempfile::tempdir().unwrap();
        let folder = folder.join(language);
        for file in ["state/cluster.yaml".to_owned(), format!("{name}.yaml")] {
            let path = folder.join(&file);
            fs::copy(&path, directory.path().join(path.file_name().unwrap())).unwrap();
        }
        let expected = fs::read_to_string(folder.join(format!("{name}.matrix"))).unwrap();
        let (command, expected) = expected.split_once('\n').unwrap();
        let options = command.strip_prefix("# weir policy matrix ").unwrap().split(' ');
        let args: Vec<&str> = ["policy", "matrix", "--state", "."].into_iter().chain(options).collect();
        let found = run_in(directory.path(), &args, "");
        let (_, found) = found.split_once('\n').unwrap();
        assert_eq!(found, format!("{expected}exit: 0\n"), "{language}/{name}");
    }
}

#[test]
fn the_matrix_of_the_sample_state() {
    let args = ["policy", "matrix", "--state", "configs/state"];
    insta::assert_snapshot!(run(&args, ""));
    let ports = [&args[..], &["--port", "8080/TCP", "--port", "icmp", "--with", "198.51.100.7"]].concat();
    insta::assert_snapshot!(run(&ports, ""));
    insta::assert_snapshot!(run(&[&args[..], &["-o", "json"]].concat(), ""));
}

#[test]
fn the_matrix_is_written_for_spreadsheets_and_for_browsers() {
    let args =
        ["policy", "matrix", "--state", "configs/state", "--port", "8080/TCP", "--with", "198.51.100.7"];
    insta::assert_snapshot!(run(&[&args[..], &["--format", "csv"]].concat(), ""));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("matrix.html");
    let file = file.to_str().unwrap();
    let text = run(&[&args[..], &["--format", "html", "--out", file]].concat(), "");
    assert!(text.ends_with(&format!("--out {file}\nexit: 0\n")), "{text}");
    let page = fs::read_to_string(file).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
    // Nothing runs and nothing is loaded.
    for word in ["<script", "http:", "https:", "url(", "@import", "<img", "<link"] {
        assert!(!page.replace("http://www.w3.org/2000/svg", "").contains(word), "{word}");
    }
    assert!(page.contains("<title>shop/frontend → shop/backend: allow</title>"), "{page}");
    assert!(page.contains("<title>198.51.100.7 → shop/backend: deny</title>"), "{page}");
    let both = run(&[&args[..], &["--format", "csv", "-o", "json"]].concat(), "");
    assert!(both.contains("cannot be used with") && both.ends_with("exit: 2\n"), "{both}");
}

/// A state of many pods of one application in each namespace, of which the policies let some through.
fn many_pods(directory: &Path, port: u16) {
    let mut state =
        String::from("{apiVersion: v1, kind: Node, metadata: {name: a}, spec: {podCIDR: 10.42.0.0/16}}\n");
    for namespace in 0..3 {
        for pod in 0..20 {
            let (app, host) = (pod % 4, namespace * 20 + pod + 2);
            writeln!(
                state,
                "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: app{app}-{pod}, namespace: team-{namespace}, \
                 labels: {{app: app{app}}}}}, spec: {{nodeName: a}}, status: {{podIP: 10.42.{namespace}.{host}}}}}"
            )
            .unwrap();
        }
        for app in 0..4 {
            let namespaces = (namespace + app) % 3;
            writeln!(
                state,
                "---\n{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: app{app}, \
                 namespace: team-{namespace}}}, spec: {{podSelector: {{matchLabels: {{app: app{app}}}}}, ingress: \
                 [{{from: [{{namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: team-{namespaces}}}}}}}], \
                 ports: [{{port: {port}}}]}}]}}}}"
            )
            .unwrap();
        }
    }
    fs::create_dir(directory).unwrap();
    fs::write(directory.join("state.yaml"), state).unwrap();
}

#[test]
fn many_pods_that_behave_alike_are_told_together() {
    let directory = tempfile::tempdir().unwrap();
    many_pods(&directory.path().join("old"), 80);
    many_pods(&directory.path().join("new"), 81);
    let text = run_in(directory.path(), &["policy", "diff", "old", "new"], "");
    insta::assert_snapshot!(text);
    let all = run_in(directory.path(), &["policy", "diff", "old", "new", "-o", "json"], "");
    // The twenty pods of one namespace to each of sixty, but for half of them not to itself; both ports.
    let pairs = 60 * 20 - 30;
    assert_eq!(all.matches("\"becomes\"").count(), 2 * pairs);
    let matrix = run_in(directory.path(), &["policy", "matrix", "--state", "old", "--port", "80/TCP"], "");
    assert!(matrix.contains(" team-1/app2 ×5 "), "{matrix}");
    let page = run_in(directory.path(), &["policy", "matrix", "--state", "old", "--format", "html"], "");
    assert!(
        page.contains("team-0 → team-1") && page.contains("everybody else (140)")
            || page.contains("<h3>Pods</h3>")
    );
}

#[test]
fn groups_of_pods_that_differ_in_a_number_have_names_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = String::new();
    for pod in 1..=25_u8 {
        let pod =
            Pod::new("shop", format!("worker-{pod}"), "a").label("group", pod % 3).address([10, 42, 0, pod]);
        write!(state, "{pod}").unwrap();
    }
    for group in 0..3 {
        writeln!(
            state,
            "---\n{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: g{group}, namespace: \
             shop}}, spec: {{podSelector: {{matchLabels: {{group: \"{group}\"}}}}, ingress: [{{ports: [{{port: \
             808{group}}}]}}]}}}}"
        )
        .unwrap();
    }
    fs::create_dir(directory.path().join("state")).unwrap();
    fs::write(directory.path().join("state/state.yaml"), state).unwrap();
    let table = run_in(directory.path(), &["policy", "matrix", "--state", "state"], "");
    let page = run_in(directory.path(), &["policy", "matrix", "--state", "state", "--format", "html"], "");
    for name in ["worker-1, worker-4, … ×9", "worker-2, worker-5, … ×8", "worker-3, worker-6, … ×8"]
    {
        assert!(table.contains(&format!(" shop/{name} ")), "{table}");
        assert!(page.contains(&format!(">{name}</text>")), "{page}");
    }
}

#[test]
fn findings_are_listed_and_end_with_one() {
    let args = ["policy", "lint", "--state", "policy-compiler/testdata/lint"];
    insta::assert_snapshot!(run(&args, ""));
    insta::assert_snapshot!(run(&[&args[..], &["-o", "jsonl"]].concat(), ""));
    let flannel = run(&["policy", "lint", "--state", "configs/state", "--cluster", "flannel"], "");
    assert_eq!(flannel.matches("[not_enforced_by_flannel]").count(), 4, "{flannel}");
    let clean = run(&["policy", "lint", "--state", "configs/state"], "");
    assert!(clean.ends_with("nothing found\nexit: 0\n"), "{clean}");
}

#[test]
fn a_difference_is_told_by_pair_and_port() {
    let directory = tempfile::tempdir().unwrap();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/state");
    for side in ["old", "new"] {
        fs::create_dir(directory.path().join(side)).unwrap();
        for file in ["nodes.yaml", "pods.yaml", "policies.yaml"] {
            fs::copy(sample.join(file), directory.path().join(side).join(file)).unwrap();
        }
    }
    let differ = |form| run_in(directory.path(), &["policy", "diff", "old", "new", "-o", form], "");
    assert!(differ("table").ends_with("no difference\nexit: 0\n"));
    let staged = run_in(directory.path(), &["policy", "diff", "--staged", "old"], "");
    assert!(staged.ends_with("no difference\nexit: 0\n"), "{staged}");
    let alone = run_in(directory.path(), &["policy", "diff", "old"], "");
    assert!(alone.ends_with("exit: 2\n"), "{alone}");
    let policies = directory.path().join("new/policies.yaml");
    let text = fs::read_to_string(&policies).unwrap();
    let text = text
        .replacen("podSelector: { matchLabels: { tier: frontend } } }]\n      ports: [{ protocol: TCP, port: http }]", "ipBlock: { cidr: 203.0.113.0/24 } }]", 1)
        .replace("{ protocol: TCP, port: 53 }", "{ protocol: TCP, port: 5353 }");
    fs::write(&policies, text).unwrap();
    let pods = directory.path().join("new/pods.yaml");
    let extra = "---\napiVersion: v1\nkind: Pod\nmetadata: { name: new, namespace: shop }\n\
                 spec: { nodeName: node-a }\nstatus: { podIP: 10.244.1.9 }\n";
    fs::write(&pods, fs::read_to_string(&pods).unwrap() + extra).unwrap();
    insta::assert_snapshot!(differ("table"));
    insta::assert_snapshot!(differ("jsonl"));
}

#[test]
fn every_stage_is_dumped() {
    for stage in ["objects", "model", "rules", "classifier"] {
        let args = ["policy", "dump", "--stage", stage, "--state", "configs/state"];
        // Sizes of tables are no contract.
        let text = run(&args, "");
        let text: Vec<&str> = text.lines().filter(|line| !line.starts_with("engine ")).collect();
        insta::assert_snapshot!(stage, text.join("\n"));
        let records = run(&[&args[..], &["-o", "jsonl"]].concat(), "");
        assert!(records.lines().filter(|line| line.starts_with('{')).count() > 1, "{records}");
    }
}

#[test]
fn every_subcommand_shows_its_help_with_an_example() {
    for command in ["eval", "explain", "matrix", "lint", "diff", "dump"] {
        let help = run(&["policy", command, "--help"], "");
        assert!(help.contains("Example") && help.ends_with("exit: 0\n"), "{help}");
    }
}
