//! HdrHistogram's interval log (format 1.3), so that its own tools read and merge what was measured.
//!
//! ```text
//!  line     Tag=subject,start,length,longest,base64(compressed)
//!  compressed   cookie 0x1c849314 │ length │ zlib stream of:
//!  histogram    cookie 0x1c849313 │ length │ offset │ digits │ lowest │ highest │ ratio │ counts, zigzag LEB128
//! ```
//! Numbers are big-endian; a run of `n` empty counts is written as `-n`. The zlib stream (RFC 1950, 1951) holds stored
//! blocks only: logs are small, and a compressor would be a dependency.

use std::fmt::Write as _;

use super::{Latency, Run};

const COOKIE: u32 = 0x1c84_9313;
const COMPRESSED: u32 = 0x1c84_9314;
/// Times in the log's third column are in milliseconds.
const UNIT: f64 = 1e6;

/// The log of a run's latencies, each with its own tag.
pub(super) fn log(run: &Run) -> String {
    let mut text = String::from("#[Histogram log format version 1.3]\n");
    let start = run.started_unix_seconds;
    let _ = writeln!(text, "#[StartTime: {start} (seconds since epoch)]");
    text.push_str(
        "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n",
    );
    for one in &run.latencies {
        let Some(bytes) = encoded(one) else { continue };
        // Commas and blanks end a tag.
        let tag = format!("{}: {}", one.group, one.subject).replace([',', ' '], "_");
        let longest = one.at(1.0) as f64 / UNIT;
        let _ =
            writeln!(text, "Tag={tag},0.000,{:.3},{longest:.3},{}", run.seconds, base64(&compressed(&bytes)));
    }
    text
}

fn encoded(latency: &Latency) -> Option<Vec<u8>> {
    let histogram = latency.histogram()?;
    let mut counts = Vec::new();
    let mut empty = 0_i64;
    for slot in histogram.iter_all() {
        if slot.count_at_value() == 0 {
            empty = empty.saturating_add(1);
            continue;
        }
        if empty > 0 {
            zigzag(empty.saturating_neg(), &mut counts);
            empty = 0;
        }
        zigzag(i64::try_from(slot.count_at_value()).unwrap_or(i64::MAX), &mut counts);
    }
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&COOKIE.to_be_bytes());
    bytes.extend_from_slice(&u32::try_from(counts.len()).ok()?.to_be_bytes());
    bytes.extend_from_slice(&0_u32.to_be_bytes());
    bytes.extend_from_slice(&u32::from(histogram.sigfig()).to_be_bytes());
    bytes.extend_from_slice(&histogram.low().to_be_bytes());
    bytes.extend_from_slice(&histogram.high().to_be_bytes());
    bytes.extend_from_slice(&1.0_f64.to_be_bytes());
    bytes.extend_from_slice(&counts);
    Some(bytes)
}

/// Seven bits a byte, the lowest first, the sign in the lowest bit; the ninth byte holds eight.
fn zigzag(value: i64, bytes: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    for _ in 0..8 {
        if rest < 0x80 {
            bytes.push(rest as u8);
            return;
        }
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let stream = zlib(bytes);
    let mut all = COMPRESSED.to_be_bytes().to_vec();
    all.extend_from_slice(&(stream.len() as u32).to_be_bytes());
    all.extend_from_slice(&stream);
    all
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    const MODULUS: u32 = 65_521;
    let mut stream = vec![0x78, 0x01];
    let mut blocks = bytes.chunks(usize::from(u16::MAX)).peekable();
    while let Some(block) = blocks.next() {
        let len = block.len() as u16;
        stream.push(u8::from(blocks.peek().is_none()));
        stream.extend_from_slice(&len.to_le_bytes());
        stream.extend_from_slice(&(!len).to_le_bytes());
        stream.extend_from_slice(block);
    }
    let (a, b) = bytes.iter().fold((1_u32, 0_u32), |(a, b), byte| {
        let a = a.wrapping_add(u32::from(*byte)) % MODULUS;
        (a, b.wrapping_add(a) % MODULUS)
    });
    stream.extend_from_slice(&(b << 16 | a).to_be_bytes());
    stream
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3).saturating_mul(4));
    for chunk in bytes.chunks(3) {
        let at = |place: usize| u32::from(chunk.get(place).copied().unwrap_or(0));
        let word = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4_usize {
            let letter = word >> (18_usize.saturating_sub(place.saturating_mul(6))) & 63;
            let letter = LETTERS.get(letter as usize).copied().unwrap_or(b'=');
            text.push(if place > chunk.len() { '=' } else { char::from(letter) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::Environment;
    use super::super::latency::LONGEST_NS;
    use super::*;
    use hdrhistogram::Histogram;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (plain, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(plain.as_bytes()), text);
        }
    }

    #[test]
    fn numbers_are_as_short_as_they_can_be() {
        let of = |value| {
            let mut bytes = Vec::new();
            zigzag(value, &mut bytes);
            bytes
        };
        assert_eq!(of(0), [0]);
        assert_eq!(of(-1), [1]);
        assert_eq!(of(1), [2]);
        assert_eq!(of(-65), [0x81, 0x01]);
        assert_eq!(of(i64::MIN), [0xff; 9]);
    }

    #[test]
    fn the_checksum_is_adler_32() {
        assert_eq!(zlib(b"Wikipedia").last_chunk(), Some(&0x11e6_0398_u32.to_be_bytes()));
    }

    #[test]
    fn the_log_has_a_line_for_each_subject() {
        let mut histogram = Histogram::new_with_bounds(1, LONGEST_NS, 3).unwrap();
        for value in [1_000, 50_000, 50_000, 7_000_000] {
            histogram.record(value).unwrap();
        }
        let mut run = Run::begin("test", 0, Environment::unknown());
        run.latencies.push(Latency::of("rtt", "weir tap, IPv6", &histogram, 0));
        let log = log(&run);
        let line = log.lines().last().unwrap();
        assert!(line.starts_with("Tag=rtt:_weir_tap__IPv6,0.000,0.000,7.0"), "{line}");
        assert!(line.contains(",HISTFAAA"), "{line}");
    }
}
