//! What cannot be replayed, in whole or from some byte on: exit 2, the place, and everything before it on file.

use harness::capture::CaptureReader;
use serde_json::Value;

use super::{REPLAY, count, generated, lines, packets_in, replay, report, run};

#[test]
fn a_fault_exits_2_with_its_place_after_everything_before_it_was_reported() {
    let directory = generated(300_000);
    let directory = directory.path();
    let mut bytes = std::fs::read(directory.join("made.pcapng")).unwrap();
    bytes.truncate(200_001);
    std::fs::write(directory.join("made.pcapng"), bytes).unwrap();
    let output = run(directory, &replay(&["--out", "out.pcapng"]));
    assert_eq!(output.status.code(), Some(2));
    let problems = String::from_utf8(output.stderr).unwrap();
    assert!(problems.contains("made.pcapng: byte ") && problems.contains("the file ends"), "{problems}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("adds up") && text.contains("the capture ends early"), "{text}");
    assert!(CaptureReader::open(&directory.join("out.pcapng")).unwrap().next_packet().unwrap().is_some());
    for (name, bytes) in [("empty", &b""[..]), ("text", b"no capture"), ("zipped", b"\x1f\x8b\x08\x00....")] {
        std::fs::write(directory.join("made.pcapng"), bytes).unwrap();
        let output = run(directory, &REPLAY);
        assert_eq!(output.status.code(), Some(2), "{name}");
        assert!(String::from_utf8(output.stderr).unwrap().contains("made.pcapng: byte 0"), "{name}");
    }
}

#[test]
fn hostile_captures_end_in_a_located_error_after_everything_before_it_is_on_file() {
    let directory = generated(200_000);
    let directory = directory.path();
    let good = std::fs::read(directory.join("made.pcapng")).unwrap();
    let whole = report(directory, &REPLAY, 0);
    let number = |value: u32| value.to_le_bytes();
    let block = |kind: u32, length: u32, body: &[u8], again: u32| {
        [&number(kind)[..], &number(length), body, &number(again)].concat()
    };
    let faults: [(&str, Vec<u8>, &str); 7] = [
        ("half a block", block(6, 60, &[0; 20], 0), "the file ends"),
        ("a packet block of 4 GB", block(6, 0xffff_fffc, &[0; 40], 0), "4294967292"),
        ("a block of 4 GB to skip", block(0x0bad, 0xffff_fffc, &[0; 40], 0), "the file ends"),
        ("a block that loops on itself", block(6, 0, &[], 0), "block"),
        ("a block of its own header", block(5, 8, &[], 8), "block"),
        ("lengths that differ", block(5, 16, &[0; 4], 20), "20"),
        ("a packet of 4 GB in a small block", block(6, 36, &[[0; 12], [0xff; 12]].concat(), 36), "block"),
    ];
    for (name, fault, words) in faults {
        std::fs::write(directory.join("made.pcapng"), [&good[..], &fault].concat()).unwrap();
        let outputs = ["--out", "out.pcapng", "--dropped", "dropped.pcapng", "--record", "record.jsonl"];
        let output = run(directory, &replay(&[&outputs[..], &["-o", "json"]].concat()));
        let problems = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}: {problems}");
        let place = problems.split("made.pcapng: byte ").nth(1);
        let place = place.unwrap_or_else(|| panic!("{name}: {problems}"));
        let byte: usize = place.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap();
        assert!((good.len()..=good.len() + fault.len()).contains(&byte), "{name}: {problems}");
        assert!(problems.contains(words), "{name}: {problems}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["balance"], whole["balance"], "{name}");
        assert_eq!(report["balance"]["forwarded"], packets_in(&directory.join("out.pcapng")), "{name}");
        assert_eq!(report["balance"]["dropped"], packets_in(&directory.join("dropped.pcapng")), "{name}");
        let recorded = lines(&directory.join("record.jsonl")).count() as u64;
        assert_eq!(report["balance"]["read"], recorded, "{name}");
        assert!(count(&report["peak_memory_bytes"]) < 200_000_000, "{name}");
    }
}

#[test]
fn bad_usage_exits_2_and_says_how_to_mend_it() {
    let directory = generated(50_000);
    let directory = directory.path();
    for (args, words) in [
        (&["replay", "made.pcapng", "--state", "state", "--node", "node-9"][..], "did you mean"),
        (&["replay", "made.pcapng", "--state", "gone", "--node", "node-0"], "gone"),
        (&["replay", "none.pcap", "--state", "state", "--node", "node-0"], "none.pcap"),
        (&["replay", "made.pcapng"], "--state"),
        (&["replay", "made.pcapng", "--to", "lo", "--state", "state"], "--to"),
        (&[&REPLAY[..], &["--speed", "fast"]].concat(), "500kpps"),
        (&[&REPLAY[..], &["--map", "x"]].concat(), "CONDITION"),
        (&[&REPLAY[..], &["--out", "made.pcapng"]].concat(), "named twice"),
        (&["replay", "-", "--loop", "2", "--state", "state", "--node", "node-0"], "--loop"),
        (&["lab", "capture", "--state", "state", "--node", "node-0", "--out", "x", "--size", "big"], "MB"),
    ] {
        let output = run(directory, args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let problems = String::from_utf8(output.stderr).unwrap();
        assert!(problems.contains(words), "{args:?}: {problems}");
    }
}
