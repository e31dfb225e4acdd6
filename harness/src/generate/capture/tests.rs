use std::path::Path;

use super::*;
use crate::capture::CaptureReader;
use crate::generate::ClusterShape;

fn state() -> (tempfile::TempDir, NodeState) {
    let directory = tempfile::tempdir().unwrap();
    let shape = ClusterShape { nodes: 3, pods_per_node: 20, namespaces: 4, policies: 40, seed: 1 };
    std::fs::write(directory.path().join("cluster.yaml"), shape.manifests()).unwrap();
    let state = NodeState::load(Path::new(directory.path()), "node-0", None).unwrap();
    (directory, state)
}

fn make(seed: u64) -> (Made, Vec<u8>) {
    let (_directory, state) = state();
    let shape = CaptureShape { bytes: 500_000, denied: 0.4, seed };
    let mut file = Vec::new();
    let made = shape.write(&state, &mut file, &mut |_| true).unwrap();
    (made, file)
}

#[test]
fn equal_seeds_give_equal_captures_of_the_size_asked_for() {
    let (made, file) = make(1);
    assert_eq!(make(1), (made, file.clone()));
    assert_ne!(make(2).1, file);
    assert_eq!(made.bytes, file.len() as u64);
    assert!((450_000..600_000).contains(&file.len()), "{}", file.len());
    assert!(made.flows > 50 && made.tunnelled > 50 && made.tunnelled < made.packets / 2, "{made:?}");
    let mut reader = CaptureReader::new("made", &file[..]).unwrap();
    let mut packets = 0;
    while let Some(packet) = reader.next_packet().unwrap() {
        assert!(vxlan::wire::headers::parse(packet.bytes, false).is_ok());
        packets += 1;
    }
    assert_eq!(packets, made.packets);
}

#[test]
fn a_capture_can_be_ended_early_and_is_whole() {
    let (_directory, state) = state();
    let shape = CaptureShape { bytes: u64::MAX, denied: 0.4, seed: 1 };
    let mut file = Vec::new();
    let made = shape.write(&state, &mut file, &mut |_| false).unwrap();
    assert_eq!(made.packets, 4096);
}
