//! `weir replay` as people and scripts meet it, and its promise: what it says of recorded traffic is what
//! `weir policy eval` says of the same connections, packet by packet.
//!
//! ```text
//!  generated(bytes) ─► a directory: state/ (a cluster), made.pcapng (traffic of node-0) ─► weir replay … -o json
//!    verdicts      flow by flow as policy eval has it, and against other states
//!    faults        bad usage, captures that end early or are hostile
//!    interrupted   Ctrl-C
//!    ways          through a pipe, onto an interface
//! ```

mod faults;
mod interrupted;
#[path = "../support/mod.rs"]
mod support;
mod verdicts;
mod ways;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use harness::capture::CaptureReader;
use harness::generate::ClusterShape;
use serde_json::Value;

pub(crate) fn weir(directory: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(support::WEIR);
    command.args(args).current_dir(directory).env("NO_COLOR", "1");
    command
}

pub(crate) fn run(directory: &Path, args: &[&str]) -> Output {
    weir(directory, args).stdin(Stdio::null()).output().unwrap()
}

/// Runs to its end, with a JSON report.
#[track_caller]
pub(crate) fn report(directory: &Path, args: &[&str], exit: i32) -> Value {
    let output = run(directory, &[args, &["-o", "json"]].concat());
    let problems = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(exit), "{args:?}: {problems}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {problems}"))
}

/// A directory with a generated cluster (in `state`) and a capture of node-0 (`made.pcapng`).
pub(crate) fn generated(bytes: u64) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let shape = ClusterShape { nodes: 4, pods_per_node: 40, namespaces: 6, policies: 80, seed: 3 };
    std::fs::create_dir(directory.path().join("state")).unwrap();
    std::fs::write(directory.path().join("state/cluster.yaml"), shape.manifests()).unwrap();
    let size = bytes.to_string();
    let args = ["lab", "capture", "--state", "state", "--node", "node-0", "--out", "made.pcapng", "--size"];
    let output = run(directory.path(), &[&args[..], &[&size, "--denied", "40", "--seed", "5"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    directory
}

pub(crate) const REPLAY: [&str; 6] = ["replay", "made.pcapng", "--state", "state", "--node", "node-0"];

pub(crate) fn replay<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&REPLAY[..], more].concat()
}

pub(crate) fn count(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

pub(crate) fn lines(path: &Path) -> impl Iterator<Item = Value> {
    let file = BufReader::new(std::fs::File::open(path).unwrap());
    file.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap())
}

/// Packets on file.
pub(crate) fn packets_in(path: &Path) -> u64 {
    let mut reader = CaptureReader::open(path).unwrap();
    let mut count = 0;
    while reader.next_packet().unwrap().is_some() {
        count += 1;
    }
    count
}
