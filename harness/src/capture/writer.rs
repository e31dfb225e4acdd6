//! Writing pcapng (draft-ietf-opsawg-pcapng): little-endian, nanoseconds, a comment on any packet.
//!
//! Interfaces may be added between packets. Every block is complete when the call returns, so that a file cut off at
//! any flush is a capture that other programs read.

use std::io::{self, Write};

/// Longest comment, in bytes; a longer one is cut.
const MAX_COMMENT: usize = 4096;

/// A capture being written.
pub struct PcapngWriter<W: Write> {
    to: W,
    block: Vec<u8>,
    interfaces: u32,
}

impl<W: Write> PcapngWriter<W> {
    /// Begins a capture.
    ///
    /// # Errors
    /// Writing failed.
    pub fn new(to: W) -> io::Result<Self> {
        let mut writer = Self { to, block: Vec::with_capacity(4096), interfaces: 0 };
        writer.begin(0x0a0d_0d0a);
        writer.u32(0x1a2b_3c4d);
        writer.u16(1);
        writer.u16(0);
        writer.bytes(&u64::MAX.to_le_bytes());
        writer.option(4, concat!("weir ", env!("CARGO_PKG_VERSION")).as_bytes());
        writer.end_of_options();
        writer.finish_block()?;
        Ok(writer)
    }

    /// Adds an Ethernet interface and returns its number.
    ///
    /// # Errors
    /// Writing failed.
    pub fn add_interface(&mut self, name: &str) -> io::Result<u32> {
        self.begin(1);
        self.u16(1);
        self.u16(0);
        self.u32(0);
        self.option(2, name.as_bytes().get(..name.len().min(256)).unwrap_or_default());
        self.option(9, &[9]);
        self.end_of_options();
        self.finish_block()?;
        let number = self.interfaces;
        self.interfaces += 1;
        Ok(number)
    }

    /// Adds a packet that had `original_len` bytes, `bytes` of which are kept.
    ///
    /// # Errors
    /// Writing failed.
    pub fn packet(
        &mut self,
        interface: u32,
        time_ns: u64,
        bytes: &[u8],
        original_len: usize,
        comment: Option<&str>,
    ) -> io::Result<()> {
        self.begin(6);
        self.u32(interface);
        self.u32((time_ns >> 32) as u32);
        self.u32(time_ns as u32);
        self.u32(bytes.len() as u32);
        self.u32(original_len.max(bytes.len()) as u32);
        self.bytes(bytes);
        self.pad();
        if let Some(comment) = comment {
            let mut end = comment.len().min(MAX_COMMENT);
            while !comment.is_char_boundary(end) {
                end -= 1;
            }
            self.option(1, comment.as_bytes().get(..end).unwrap_or_default());
            self.end_of_options();
        }
        self.finish_block()
    }

    /// Hands everything written on, and the writer back.
    ///
    /// # Errors
    /// Writing failed.
    pub fn finish(mut self) -> io::Result<W> {
        self.to.flush()?;
        Ok(self.to)
    }

    fn begin(&mut self, kind: u32) {
        self.block.clear();
        self.u32(kind);
        self.u32(0);
    }

    fn finish_block(&mut self) -> io::Result<()> {
        let total = self.block.len() as u32 + 4;
        if let Some(length) = self.block.get_mut(4..8) {
            length.copy_from_slice(&total.to_le_bytes());
        }
        self.u32(total);
        self.to.write_all(&self.block)
    }

    fn option(&mut self, code: u16, value: &[u8]) {
        self.u16(code);
        self.u16(value.len() as u16);
        self.bytes(value);
        self.pad();
    }

    fn end_of_options(&mut self) {
        self.u32(0);
    }

    fn u16(&mut self, value: u16) {
        self.bytes(&value.to_le_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.block.extend_from_slice(bytes);
    }

    fn pad(&mut self) {
        self.block.resize(self.block.len().next_multiple_of(4), 0);
    }
}
