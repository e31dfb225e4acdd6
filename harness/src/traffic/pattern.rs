//! Bytes that look random and are the same every time: what a bulk transfer carries.

use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};

/// A SHA-256 digest.
pub type Sum = [u8; 32];

const CHUNK: usize = 64 * 1024;

/// An endless sequence of bytes (xorshift64*), fixed by its seed.
#[derive(Debug, Clone)]
pub struct Pattern(u64);

impl Pattern {
    /// The sequence of that seed.
    pub fn new(seed: u64) -> Self {
        // Zero is the one state that xorshift never leaves.
        Self(seed ^ 0x9e37_79b9_7f4a_7c15 | 1)
    }

    /// Writes the next bytes of the sequence.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            let word = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes();
            for (byte, value) in chunk.iter_mut().zip(word) {
                *byte = value;
            }
        }
    }
}

/// Writes `length` bytes of the sequence and returns their digest.
pub fn send(to: &mut impl Write, seed: u64, length: u64) -> io::Result<Sum> {
    let mut pattern = Pattern::new(seed);
    let mut digest = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    let mut left = length;
    while left > 0 {
        let size = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let Some(chunk) = buffer.get_mut(..size) else { break };
        pattern.fill(chunk);
        digest.update(&*chunk);
        to.write_all(chunk)?;
        left = left.saturating_sub(size as u64);
    }
    Ok(digest.finalize().into())
}

/// Reads to the end (at most `limit` bytes) and returns how much came and its digest.
pub fn receive(from: &mut impl Read, limit: u64) -> io::Result<(u64, Sum)> {
    let mut digest = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    let mut total = 0_u64;
    while total < limit {
        let count = from.read(&mut buffer)?;
        let Some(chunk) = buffer.get(..count).filter(|chunk| !chunk.is_empty()) else { break };
        digest.update(chunk);
        total = total.saturating_add(count as u64);
    }
    Ok((total, digest.finalize().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_compute_one_digest() {
        let mut sent = Vec::new();
        let sum = send(&mut sent, 7, 200_001).unwrap();
        assert_eq!(receive(&mut sent.as_slice(), u64::MAX).unwrap(), (200_001, sum));
    }

    #[test]
    fn seeds_give_different_bytes() {
        let (mut one, mut two) = ([0; 64], [0; 64]);
        Pattern::new(1).fill(&mut one);
        Pattern::new(2).fill(&mut two);
        assert_ne!(one, two);
    }
}
