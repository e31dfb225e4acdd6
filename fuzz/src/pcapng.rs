//! Captures in blocks: the input as it is, and as the blocks of a section that has an interface already.

use super::pcap::whole;

/// One input.
pub fn run(input: &[u8]) {
    whole(input);
    // Section header and interface, little-endian.
    let words: [u32; 12] = [0x0a0d_0d0a, 28, 0x1a2b_3c4d, 1, u32::MAX, u32::MAX, 28, 1, 20, 1, 0, 20];
    let mut file = words.map(u32::to_le_bytes).concat();
    file.extend_from_slice(input);
    whole(&file);
}
