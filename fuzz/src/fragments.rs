//! The fragment table through a sequence of fragments: no panic, within its bounds, and no frame lost or made.
//!
//! What becomes of each fragment is held against a model by the table's own property tests; this looks for
//! sequences those do not generate: any offset, length and identification, any order.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use dataplane::buffer::Frame;
use dataplane::fragments::{FragConfig, FragKey, FragTable, Later};
use dataplane::time::Timestamp;

use crate::script::Script;

const CONFIG: FragConfig = FragConfig {
    max_datagrams: 16,
    max_held_frames: 8,
    max_held_per_datagram: 3,
    timeout: Duration::from_secs(2),
};
/// A frame is 64 KiB; the table is small, so that a short sequence meets its bounds.
const STEPS: u32 = 256;

/// One input.
pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let mut table = FragTable::new(CONFIG);
    let mut now = Timestamp::ZERO;
    let mut held = BTreeSet::new();
    let (mut released, mut dropped) = (Vec::new(), Vec::new());
    for number in 0..STEPS {
        if script.is_over() {
            break;
        }
        match script.below(8) {
            0 => now = now.plus(Duration::from_millis(u64::from(script.byte()) * 20)),
            1 => table.expire(now, &mut dropped),
            2 | 3 => {
                let (key, end) = (key(&mut script), size(&mut script));
                let _ = table.first(key, end, number, now, &mut released);
            }
            _ => {
                let key = key(&mut script);
                let (offset, len) = (size(&mut script), size(&mut script));
                let frame = Frame::from_bytes(&number.to_be_bytes());
                match table.later(key, offset, len, script.flag(), frame, now) {
                    Later::Known(first, frame) => {
                        assert!(first < number, "of a first fragment seen before");
                        assert_eq!(number_of(&frame), number, "the frame itself comes back");
                    }
                    Later::Held => assert!(held.insert(number)),
                    Later::Drop(frame, _) => assert_eq!(number_of(&frame), number),
                }
            }
        }
        for frame in released.drain(..).chain(dropped.drain(..).map(|(frame, _)| frame)) {
            assert!(held.remove(&number_of(&frame)), "what comes out was held, and once");
        }
        assert_eq!(table.held_frames(), held.len());
        assert!(held.len() <= CONFIG.max_held_frames && table.len() <= CONFIG.max_datagrams);
    }
    table.expire(now.plus(CONFIG.timeout * 2), &mut dropped);
    for (frame, _) in dropped {
        assert!(held.remove(&number_of(&frame)));
    }
    assert!(held.is_empty() && table.is_empty(), "time ends everything");
}

fn key(script: &mut Script<'_>) -> FragKey {
    let choice = script.byte();
    FragKey {
        src: IpAddr::from([10, 0, 0, choice & 3]),
        dst: IpAddr::from([10, 0, 1, 1]),
        protocol: 17,
        id: u32::from(choice >> 2 & 7),
        port: u32::from(choice >> 5 & 1),
    }
}

/// Mostly near 0, where fragments meet; else anything.
fn size(script: &mut Script<'_>) -> u32 {
    match script.byte() {
        255 => u32::from(script.word()) << 3,
        254 => u32::from(script.word()),
        253 => u32::MAX,
        byte => u32::from(byte % 16) * 8,
    }
}

fn number_of(frame: &Frame) -> u32 {
    u32::from_be_bytes(*frame.bytes().first_chunk().expect("its number"))
}
