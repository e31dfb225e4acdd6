//! The libpcap file format (draft-ietf-opsawg-pcap).
//!
//! ```text
//!  magic(4) major(2) minor(2) reserved(8) snaplen(4) linktype(4)          file header, 24 bytes
//!  seconds(4) fraction(4) captured(4) original(4) bytes(captured)         each packet
//! ```
//! The magic tells byte order and fraction: `a1b2c3d4` microseconds, `a1b23c4d` nanoseconds. Nothing marks where a
//! record begins, so after a length that cannot be there is no way on.

use std::io::Read;

use super::error::CaptureFault;
use super::interface::{Interface, LinkType, Resolution};
use super::reader::{Found, MAX_PACKET, Source};

const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;

/// Which end of a number comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

impl Order {
    /// The number at `at`; 0 where there is none, which callers have excluded by asking for the bytes.
    pub(super) fn u16(self, bytes: &[u8], at: usize) -> u16 {
        let bytes = bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default();
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    pub(super) fn u32(self, bytes: &[u8], at: usize) -> u32 {
        let bytes = bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default();
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }

    pub(super) fn u64(self, bytes: &[u8], at: usize) -> u64 {
        let bytes = bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default();
        match self {
            Self::Little => u64::from_le_bytes(bytes),
            Self::Big => u64::from_be_bytes(bytes),
        }
    }
}

/// What the file header said.
pub(super) struct PcapFormat {
    order: Order,
    nanos: bool,
    interface: [Interface; 1],
}

impl PcapFormat {
    /// Reads the file header; `None` where `magic` is no pcap's.
    pub(super) fn begin<R: Read>(
        magic: [u8; 4],
        source: &mut Source<R>,
    ) -> Result<Option<Self>, CaptureFault> {
        let (order, nanos) = match u32::from_be_bytes(magic) {
            0xa1b2_c3d4 => (Order::Big, false),
            0xd4c3_b2a1 => (Order::Little, false),
            0xa1b2_3c4d => (Order::Big, true),
            0x4d3c_b2a1 => (Order::Little, true),
            _ => return Ok(None),
        };
        let header = source.need(FILE_HEADER)?;
        let (major, minor) = (order.u16(header, 4), order.u16(header, 6));
        if major != 2 {
            return Err(CaptureFault::Version { major, minor, expected: "2.4" });
        }
        let interface = Interface {
            // The upper bits say whether frames end in a check sequence, which Linux never gives.
            link: LinkType::from(order.u32(header, 20) as u16),
            name: None,
            snap_len: order.u32(header, 16),
            resolution: if nanos { Resolution::NANO } else { Resolution::MICRO },
        };
        source.pass(FILE_HEADER as u64)?;
        Ok(Some(Self { order, nanos, interface: [interface] }))
    }

    pub(super) fn interfaces(&self) -> &[Interface] {
        &self.interface
    }

    pub(super) fn next<R: Read>(&self, source: &mut Source<R>) -> Result<Option<Found>, CaptureFault> {
        if source.is_over()? {
            return Ok(None);
        }
        source.begin_block();
        let header = source.need(RECORD_HEADER)?;
        let seconds = self.order.u32(header, 0);
        let fraction = self.order.u32(header, 4);
        let captured = self.order.u32(header, 8);
        let original_len = self.order.u32(header, 12);
        if captured > MAX_PACKET {
            return Err(CaptureFault::Length {
                field: "captured length",
                found: captured.into(),
                expected: format!("at most {MAX_PACKET}"),
            });
        }
        let len = captured as usize;
        source.need(RECORD_HEADER + len)?;
        let fraction_ns = u64::from(fraction).saturating_mul(if self.nanos { 1 } else { 1_000 });
        Ok(Some(Found {
            interface: 0,
            time_ns: Some((u64::from(seconds) * 1_000_000_000).saturating_add(fraction_ns)),
            original_len: original_len.max(captured),
            at: RECORD_HEADER,
            len,
            block: (RECORD_HEADER + len) as u64,
        }))
    }
}
