//! `weir lab demo` shows what it says, and leaves no namespace, link or process behind, also when interrupted.

mod support;

use std::collections::BTreeSet;
use std::io::Read;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use dataplane::sys::netlink::Netlink;
use dataplane::sys::netns::Netns;
use harness::lab::plan::Side;
use harness::lab::{NodeKind, teardown};
use serde_json::Value;
use support::{WEIR, build, lab, text, turn, wait_until};

/// Starts the demonstration.
fn start(arguments: &[&str]) -> Child {
    Command::new(WEIR)
        .args(["lab", "demo", "-o", "json", "--throughput", "1"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits until the condition holds, and says what the program said where it ends before.
fn until(what: &str, child: &mut Child, condition: impl Fn() -> bool) {
    wait_until(what, Duration::from_secs(20), || {
        let holds = condition();
        if let Some(status) = child.try_wait().unwrap().filter(|_| !holds) {
            let mut said = String::new();
            child.stderr.as_mut().unwrap().read_to_string(&mut said).unwrap();
            panic!("waited for {what}, but it ended with {status}: {said}");
        }
        holds
    });
}

fn finish(mut child: Child, timeout: Duration) -> Output {
    let start = Instant::now();
    let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let read = |mut from: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = from.read_to_end(&mut bytes);
            bytes
        })
    };
    let (stdout, stderr) = (read(Box::new(stdout)), read(Box::new(stderr)));
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > timeout {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    Output { status, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}

/// What a lab of that process is called.
fn prefix(pid: u32) -> String {
    format!("weir-lab-{pid}-")
}

fn namespaces(pid: u32) -> Vec<String> {
    Netns::names().unwrap().into_iter().filter(|name| name.starts_with(&prefix(pid))).collect()
}

/// Processes whose command line has a path of the lab.
fn processes(pid: u32) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let lines = entries.filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok());
    lines.filter(|line| line.contains(&prefix(pid))).collect()
}

fn links() -> BTreeSet<String> {
    Netlink::open().unwrap().links().unwrap().into_iter().map(|link| link.name).collect()
}

fn assert_nothing_is_left(pid: u32, links_before: &BTreeSet<String>) {
    assert_eq!(namespaces(pid), Vec::<String>::new());
    assert_eq!(processes(pid), Vec::<String>::new());
    assert_eq!(&links(), links_before);
    let files: Vec<_> = std::fs::read_dir(std::env::temp_dir())
        .unwrap()
        .filter_map(Result::ok)
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with(&prefix(pid)))
        .collect();
    assert_eq!(files, Vec::<String>::new());
}

fn the_demonstration_succeeds(arguments: &[&str], nodes: [&str; 2]) {
    let Some(_turn) = turn() else { return };
    let before = links();
    let child = start(arguments);
    let pid = child.id();
    let output = finish(child, Duration::from_mins(2));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(report["nodes"], serde_json::json!(nodes));
    assert_eq!(report["ok"], true);
    let cells = report["matrix"]["cells"].as_array().unwrap();
    assert!(cells.len() > 500, "{}", cells.len());
    let open = cells.iter().filter(|cell| cell["expected"] == true).count();
    assert!(open > 100 && open < cells.len() - 100, "{open} of {} are open", cells.len());
    for cell in cells {
        assert_eq!(cell["expected"] == true, cell["observed"] == "open", "{cell}");
    }
    assert!(report["throughput"]["bits_per_second"].as_f64().unwrap() > 1e6, "{}", report["throughput"]);
    let latency = &report["latency"];
    let [p50, p99] = ["p50_us", "p99_us"].map(|key| latency[key].as_f64().unwrap());
    assert!(1.0 < p50 && p50 <= p99 && p99 < 200_000.0, "{latency}");
    assert_eq!((latency["answered"].as_u64(), latency["lost"].as_u64()), (Some(2000), Some(0)), "{latency}");
    for (node, kind) in ["node-a", "node-b"].iter().zip(nodes) {
        let counted = &report["counted"][node];
        assert_eq!(counted.is_object(), kind == "weir", "{counted}");
        if kind == "weir" {
            let denials = counted["denials"].as_array().unwrap();
            let named = |denial: &Value| denial["policies"].as_array().is_some_and(|list| !list.is_empty());
            assert!(!denials.is_empty() && denials.iter().all(named), "{denials:?}");
        }
    }
    assert_nothing_is_left(pid, &before);
}

#[test]
fn the_demonstration_with_a_kernel_peer_succeeds_and_leaves_nothing() {
    the_demonstration_succeeds(&["--peer", "kernel"], ["weir", "kernel"]);
}

#[test]
fn the_demonstration_with_a_weir_peer_succeeds_and_leaves_nothing() {
    the_demonstration_succeeds(&["--peer", "weir", "--attach", "veth"], ["weir", "weir"]);
}

#[test]
fn the_demonstration_over_af_xdp_succeeds_and_leaves_nothing() {
    the_demonstration_succeeds(&["--peer", "weir", "--underlay", "af_xdp"], ["weir", "weir"]);
}

/// Sends a signal by the shell's own `kill`.
fn signal(name: &str, pid: u32) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status().unwrap();
    assert!(sent.success());
}

fn an_interrupt_leaves_nothing(signal_name: &str, is_far_enough: impl Fn(u32) -> bool) {
    let Some(_turn) = turn() else { return };
    let before = links();
    let mut child = start(&["--peer", "weir"]);
    let pid = child.id();
    until("the demonstration to be far enough", &mut child, || is_far_enough(pid));
    signal(signal_name, pid);
    let asked = Instant::now();
    let output = finish(child, Duration::from_secs(20));
    println!("ended {:?} after {signal_name}", asked.elapsed());
    assert_eq!(output.status.code(), Some(130), "{}", text(&output));
    assert_nothing_is_left(pid, &before);
}

#[test]
fn an_interrupt_while_it_builds_leaves_nothing() {
    an_interrupt_leaves_nothing("INT", |pid| namespaces(pid).len() > 3);
}

#[test]
fn an_interrupt_while_it_probes_leaves_nothing() {
    an_interrupt_leaves_nothing("INT", |pid| {
        let probing = processes(pid).len() == 2;
        if probing {
            std::thread::sleep(Duration::from_millis(2500));
        }
        probing
    });
}

#[test]
fn a_killed_demonstration_is_swept_by_the_next() {
    let Some(_turn) = turn() else { return };
    let before = links();
    let mut child = start(&["--peer", "weir"]);
    let pid = child.id();
    until("both weirs to run", &mut child, || processes(pid).len() == 2);
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("both weirs to die with it", Duration::from_secs(3), || processes(pid).is_empty());
    let swept = support::weir(&["lab", "clean"]);
    assert_eq!(swept.status.code(), Some(0), "{}", text(&swept));
    assert_nothing_is_left(pid, &before);
}

/// Two people start a demonstration at once, after one that was killed.
#[test]
fn sweeps_at_the_same_time_do_not_fail_each_other() {
    let Some(_turn) = turn() else { return };
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    let pid = child.id();
    for round in 0..5 {
        for number in 0..20 {
            Netns::create(&format!("{}{round}-{number}", prefix(pid))).unwrap();
        }
        let sweeps: Vec<_> = std::iter::repeat_with(|| std::thread::spawn(teardown::sweep)).take(4).collect();
        let swept: Vec<_> = sweeps.into_iter().map(|sweep| sweep.join().unwrap().unwrap()).collect();
        assert_eq!(namespaces(pid), Vec::<String>::new());
        let own = swept.iter().flatten().filter(|name| name.starts_with(&prefix(pid))).count();
        assert_eq!(own, 20, "each is said to be removed once: {swept:?}");
    }
}

#[test]
fn status_is_readable_for_people_and_for_scripts() {
    let Some(_turn) = turn() else { return };
    let lab = build(lab().nodes([NodeKind::Weir, NodeKind::Kernel]));
    let socket = lab.weir(Side::A).unwrap().socket();
    let socket = socket.to_string_lossy();
    let output = support::weir(&["status", "-o", "json", "--socket", &socket]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["node"], "node-a");
    assert_eq!(status["state"]["generation"], 1);
    assert_eq!(status["pods"].as_array().unwrap().len(), 3);
    assert_eq!(status["peers"][0]["node"], "node-b");
    assert_eq!((&status["underlay"]["port"], &status["underlay"]["vni"]), (&8472.into(), &1.into()));
    let people = support::weir(&["status", "--socket", &socket]);
    for word in ["node-a", "shop/frontend", "10.244.1.10", "node-b"] {
        assert!(text(&people).contains(word), "{word}: {}", text(&people));
    }
    let nobody = support::weir(&["status", "--socket", "/nowhere/weir.sock"]);
    assert_eq!(nobody.status.code(), Some(2), "{}", text(&nobody));
}
