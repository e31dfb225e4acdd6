//! Replays of small captures, packet by packet.
//!
//! ```text
//!  web  .1.10 ─┐                        ┌─ node-b 10.244.2.0/24: far .2.10
//!  db   .1.11 ─┤ pipeline of node-a ────┘
//!  node TAP ───┘   db takes TCP 5432 and UDP 53 from web alone; all else is open
//! ```

mod ends;
mod frames;
mod placing;
mod states;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use vxlan::Mac;

use super::*;
use crate::capture::PcapngWriter;
use crate::manifest::{Node, Pod};
use frames::*;

const WEB: [u8; 4] = [10, 244, 1, 10];
const DB: [u8; 4] = [10, 244, 1, 11];
const FAR: [u8; 4] = [10, 244, 2, 10];
const OUTSIDE: [u8; 4] = [198, 51, 100, 7];
const NODE_A: [u8; 4] = [192, 0, 2, 1];
const NODE_B: [u8; 4] = [192, 0, 2, 2];

fn cluster() -> String {
    let node = |name, cidr, underlay: [u8; 4], last| {
        Node::new(name).pod_cidr(cidr).vtep(underlay, Mac([2, 0, 0, 0, 0, last]))
    };
    let pod = |name, node, address: [u8; 4]| Pod::new("shop", name, node).label("app", name).address(address);
    format!(
        "{}{}{}{}{}",
        node("node-a", "10.244.1.0/24", NODE_A, 0x0a),
        node("node-b", "10.244.2.0/24", NODE_B, 0x0b),
        pod("web", "node-a", WEB),
        pod("db", "node-a", DB),
        pod("far", "node-b", FAR),
    )
}

const POLICY: &str = r"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  policyTypes: [Ingress]
  ingress:
    - from: [{podSelector: {matchLabels: {app: web}}}]
      ports: [{port: 5432}, {port: 53, protocol: UDP}]
";

/// A directory with a state and files.
struct Bench {
    directory: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self::with(&[("cluster.yaml", &cluster()), ("policy.yaml", POLICY)])
    }

    fn with(files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        std::fs::create_dir(&state).unwrap();
        for (name, text) in files {
            std::fs::write(state.join(name), text).unwrap();
        }
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn state(&self) -> NodeState {
        NodeState::load(&self.path("state"), "node-a", None).unwrap()
    }

    /// Writes a capture of Ethernet frames, a millisecond apart.
    fn capture(&self, frames: &[Vec<u8>]) -> PathBuf {
        let path = self.path("in.pcapng");
        let mut writer = PcapngWriter::new(std::fs::File::create(&path).unwrap()).unwrap();
        writer.add_interface("eth0").unwrap();
        for (number, frame) in (0..).zip(frames) {
            writer.packet(0, 1_000_000_000 + number * 1_000_000, frame, frame.len(), None).unwrap();
        }
        writer.finish().unwrap();
        path
    }

    fn file(&self, bytes: &[u8]) -> PathBuf {
        let path = self.path("in.pcap");
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

fn options(capture: &Path) -> Options {
    Options::new(Input::File(capture.to_owned()))
}

#[track_caller]
fn replay(bench: &Bench, options: &Options) -> Report {
    let report = run(bench.state(), None, options, &AtomicBool::new(false), &mut |_| {}).unwrap();
    assert!(report.balance.adds_up, "{:?}", report.balance);
    report
}

/// What became of each of these frames.
#[track_caller]
fn verdicts(bench: &Bench, frames: &[Vec<u8>], change: impl FnOnce(&mut Options)) -> Vec<String> {
    let mut options = options(&bench.capture(frames));
    change(&mut options);
    outcomes(bench, options)
}

#[track_caller]
fn outcomes(bench: &Bench, mut options: Options) -> Vec<String> {
    options.record = Some(bench.path("record.jsonl"));
    replay(bench, &options);
    recorded(&bench.path("record.jsonl"))
}

/// The lines of a record, in the order of packets, as `VERDICT reason @ port`.
fn recorded(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines: Vec<(u64, String)> = text
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let field = |name: &str| line[name].as_str().unwrap_or("").to_owned();
            let text = format!("{} {} @ {}", field("verdict"), field("reason"), field("port"));
            (line["packet"].as_u64().unwrap(), text)
        })
        .collect();
    lines.sort();
    lines.into_iter().map(|(_, text)| text).collect()
}
