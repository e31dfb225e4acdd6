//! `weir lab bench` measures, accounts for every packet, leaves its directory, and nothing else behind.
//!
//! Figures are not judged here: a test machine is busy with tests.

mod support;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dataplane::sys::netns::Netns;
use dataplane::sys::process::{Signal, signal};
use harness::report::{Run, directory};
use support::{WEIR, turn_alone};

fn bench(arguments: &[&str]) -> Command {
    let mut command = Command::new(WEIR);
    command.args(["lab", "bench", "--quick", "--duration", "0.2"]).args(arguments).stdin(Stdio::null());
    command
}

fn left_by(pid: u32) -> usize {
    let prefix = format!("weir-lab-{pid}-");
    Netns::names().unwrap().iter().filter(|name| name.starts_with(&prefix)).count()
}

#[test]
fn a_quick_run_measures_both_and_accounts_for_every_packet() {
    let Some(_turn) = turn_alone() else { return };
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("run");
    let mut command =
        bench(&["--against", "kernel", "--rounds", "1", "--rules", "0,10", "-o", "json", "--out"]);
    let output = command.arg(&out).stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() && said.contains("no tool for it is installed") {
        println!("skipped: {said}");
        return;
    }
    assert!(output.status.success(), "{said}");
    let printed: Run = serde_json::from_slice(&output.stdout).unwrap();
    let run = directory::read(&out).unwrap();
    assert_eq!(printed, run);
    for (group, subject, quantity) in [
        ("one node, TCP 1 stream", "weir tap", "throughput"),
        ("one node, UDP 64 bytes, 2 generators", "kernel", "packet rate"),
        ("across nodes, TCP 4 streams", "kernel, 10 rules in a chain", "throughput"),
        ("across nodes, UDP 64 bytes, 2 generators", "weir tap, 10 policies", "packet rate"),
        ("across nodes, request/response", "weir tap", "p99"),
    ] {
        let series = run.find(group, subject, quantity);
        let series = series.unwrap_or_else(|| panic!("{group}: {subject}: {quantity}: {:?}", run.notes));
        assert!(series.rounds.iter().all(|round| *round > 0.0), "{series:?}");
    }
    assert!(run.ratios.iter().any(|ratio| ratio.baseline == "kernel, 10 rules in a chain"));
    assert_eq!(run.books.len(), 7, "a book for each trial of datagrams");
    for book in &run.books {
        assert!(book.adds_up() && book.offered > 0 && book.received > 0 && book.excess == 0, "{book:?}");
    }
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("<svg") && !page.contains("<script"));
    let again = bench(&["--out"]).arg(&out).output().unwrap();
    assert_eq!(again.status.code(), Some(2), "a directory that is there is not written over");
    let compared = Command::new(WEIR).args(["report", "compare"]).args([&out, &out]).output().unwrap();
    assert!(compared.status.success());
    assert!(String::from_utf8_lossy(&compared.stdout).contains("0 better, 0 worse"), "{compared:?}");
}

#[test]
fn an_interrupted_run_keeps_what_it_measured_and_removes_the_labs() {
    let Some(_turn) = turn_alone() else { return };
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("run");
    let mut command = bench(&["--rounds", "1000", "--rules", "0", "--scenario", "rtt,udp", "--out"]);
    let child = command.arg(&out).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let begin = Instant::now();
    while left_by(pid) == 0 && begin.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_secs(5));
    signal(pid, Signal::Terminate).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert_eq!(left_by(pid), 0);
    if said.contains("before anything was measured") {
        println!("skipped: the machine is too busy to have measured anything in five seconds");
        return;
    }
    let run = directory::read(&out).unwrap();
    assert!(run.interrupted && !run.series.is_empty() && run.adds_up());
}

#[test]
fn a_userspace_switch_is_measured_beside_weir() {
    let Some(_turn) = turn_alone() else { return };
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("run");
    let mut command = bench(&["--against", "ovs", "--rules", "0", "--rounds", "1", "--mixed=false"]);
    command.args(["--scenario", "tcp1,udp,rtt", "--out"]).arg(&out);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("is not installed") || said.contains("is missing") {
        assert_eq!(output.status.code(), Some(2), "{said}");
        println!("skipped: {said}");
        return;
    }
    assert!(output.status.success(), "{said}");
    let run = directory::read(&out).unwrap();
    for group in ["one node", "across nodes"] {
        for (traffic, quantity) in [
            ("TCP 1 stream", "throughput"),
            ("UDP 64 bytes, 2 generators", "packet rate"),
            ("UDP 64 bytes, 2 generators", "CPU per packet, device"),
            ("request/response", "p50"),
        ] {
            let group = format!("{group}, {traffic}");
            let series = run.find(&group, "ovs", quantity);
            assert!(series.is_some_and(|series| series.rounds.iter().all(|round| *round > 0.0)), "{group}");
            if quantity != "CPU per packet, device" {
                let found = run.ratios.iter().find(|one| one.group == group && one.quantity == quantity);
                assert!(found.is_some_and(|ratio| ratio.baseline == "ovs"), "{group}");
            }
        }
    }
    assert!(run.adds_up());
    assert_eq!(left_by(pid), 0);
}

#[test]
fn a_trivial_forwarder_new_flows_and_idle_pods_are_measured_beside_weir() {
    let Some(_turn) = turn_alone() else { return };
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("run");
    let mut command = bench(&["--against", "forwarder", "--rules", "0,20", "--rounds", "1"]);
    command.args(["--mixed=false", "--idle-pods", "2", "--workers", "2", "--set", "scheduling.niceness=-5"]);
    command.args(["--path", "one-node", "--scenario", "udp,udp-flows", "--out"]).arg(&out);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let run = directory::read(&out).unwrap();
    let group = "one node, UDP 64 bytes, new flows only, 2 generators";
    for subject in ["weir tap", "forwarder", "weir tap, 20 policies", "weir tap, 2 idle pods"] {
        let series = run.find(group, subject, "packet rate");
        assert!(series.is_some_and(|series| series.rounds.iter().all(|rate| *rate > 0.0)), "{subject}");
    }
    let ratio = run.ratios.iter().find(|one| one.subject == "weir tap" && one.baseline == "forwarder");
    assert!(ratio.is_some());
    let memory = run.find("memory before traffic", "weir tap, 2 idle pods", "resident, for each idle pod");
    assert!(memory.is_some());
    assert!(run.adds_up(), "{:?}", run.books);
    let settings = run.environment.settings.get("weir's configuration").unwrap();
    assert!(settings.contains("niceness") && settings.contains("workers: 2"), "{settings}");
}

#[test]
fn a_setting_that_weir_or_the_lab_does_not_take_ends_the_bench() {
    let refused = |setting: &str| {
        let output = bench(&["--rounds", "1", "--set", setting]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{setting}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(refused("workers").contains("expected KEY=VALUE"));
    assert!(refused("node=x").contains("the lab's own"));
    let Some(_turn) = turn_alone() else { return };
    assert!(refused("scheduling.pim=true").contains("did you mean pin?"));
}
