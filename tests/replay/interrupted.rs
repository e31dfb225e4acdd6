//! Ctrl-C: what was processed is reported, and every file is complete.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{count, generated, lines, packets_in, replay, weir};

/// The report of a replay that is interrupted after a while.
#[track_caller]
fn interrupted(directory: &Path, args: &[&str], after: Duration) -> Value {
    let mut child = weir(directory, &replay(&[args, &["-o", "json"]].concat()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(after);
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let begin = Instant::now();
    let status = child.wait().unwrap();
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert_eq!(status.code(), Some(130));
    let report: Value = serde_json::from_reader(child.stdout.take().unwrap()).unwrap();
    assert_eq!(report["capture"]["interrupted"], true);
    assert_eq!(report["balance"]["adds_up"], true);
    report
}

#[test]
fn a_slow_replay_reports_what_was_processed_and_leaves_a_complete_file() {
    let directory = generated(300_000);
    let directory = directory.path();
    let args = ["--speed", "200pps", "--out", "out.pcapng"];
    let report = interrupted(directory, &args, Duration::from_millis(1500));
    let forwarded = count(&report["balance"]["forwarded"]);
    assert!(forwarded > 0);
    assert_eq!(forwarded, packets_in(&directory.join("out.pcapng")));
}

#[test]
fn a_replay_at_full_speed_loses_nothing_from_any_file() {
    let directory = generated(300_000);
    let directory = directory.path();
    let files = ["--out", "out.pcapng", "--dropped", "dropped.pcapng", "--record", "record.jsonl"];
    let args = [&files[..], &["--flows", "flows.jsonl", "--loop", "1000000"]].concat();
    let report = interrupted(directory, &args, Duration::from_millis(700));
    let balance = &report["balance"];
    assert_eq!(balance["forwarded"], packets_in(&directory.join("out.pcapng")));
    assert_eq!(balance["dropped"], packets_in(&directory.join("dropped.pcapng")));
    assert_eq!(balance["read"], lines(&directory.join("record.jsonl")).count() as u64);
    let flows: Vec<Value> = lines(&directory.join("flows.jsonl")).collect();
    let sum = |field: &str| flows.iter().map(|flow| count(&flow[field])).sum::<u64>();
    assert_eq!(
        (&balance["forwarded"], &balance["dropped"]),
        (&sum("forwarded").into(), &sum("dropped").into())
    );
}
