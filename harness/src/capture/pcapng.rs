//! The pcapng format (draft-ietf-opsawg-pcapng).
//!
//! ```text
//!  type(4) length(4) body options length(4)       every block; the length counts all of it
//!
//!  section header     byte order, and the end of what came before: its interfaces are no longer meant
//!  interface          link type, snap length; options if_name, if_tsresol, if_tsoffset
//!  enhanced packet    interface, stamp (two halves), captured, original, bytes
//!  simple packet      original, bytes: interface 0, no stamp
//!  obsolete packet    interface (16 bits), drops, then as the enhanced one
//! ```
//! Anything else (names, statistics, secrets, custom blocks) is stepped over, however long, without being held.
//! A length below 12 would never come to the next block; it is a fault, as is one that is no multiple of four or
//! that does not stand at the block's end again.

use std::io::Read;

use super::error::CaptureFault;
use super::interface::{Interface, LinkType, MAX_INTERFACES, MAX_NAME, Resolution};
use super::pcap::Order;
use super::reader::{Found, MAX_PACKET, Source};
use super::window::WINDOW;

/// The same in either byte order.
const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

const BYTE_ORDER: u32 = 0x1a2b_3c4d;
/// Type, length and the length at the end.
const FRAME: u32 = 12;

const OPTION_END: u16 = 0;
const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;
const IF_TSOFFSET: u16 = 14;

/// Where the reader stands between sections and interfaces.
pub(super) struct PcapngFormat {
    order: Order,
    interfaces: Vec<Interface>,
    /// Where the interfaces of this section begin.
    section: usize,
}

impl PcapngFormat {
    pub(super) fn new() -> Self {
        Self { order: Order::Little, interfaces: Vec::new(), section: 0 }
    }

    pub(super) fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// Steps from block to block until one is a packet. Each step is at least 12 bytes on.
    pub(super) fn next<R: Read>(&mut self, source: &mut Source<R>) -> Result<Option<Found>, CaptureFault> {
        loop {
            if source.is_over()? {
                return Ok(None);
            }
            source.begin_block();
            let kind = self.order.u32(source.need(8)?, 0);
            if kind == SECTION {
                self.section(source)?;
                continue;
            }
            let total = self.total(source)?;
            match kind {
                INTERFACE => {
                    let block = whole(source, total, self.order)?;
                    let interface = interface(block, self.order)?;
                    if self.interfaces.len() >= MAX_INTERFACES {
                        return Err(CaptureFault::TooManyInterfaces(MAX_INTERFACES));
                    }
                    self.interfaces.push(interface);
                    source.pass(total.into())?;
                }
                ENHANCED_PACKET | SIMPLE_PACKET | OBSOLETE_PACKET => {
                    let block = whole(source, total, self.order)?;
                    return self.packet(kind, block).map(Some);
                }
                _ => self.step_over(source, total)?,
            }
        }
    }

    /// The block's length, by its beginning.
    fn total<R: Read>(&self, source: &mut Source<R>) -> Result<u32, CaptureFault> {
        let total = self.order.u32(source.need(8)?, 4);
        if total < FRAME || !total.is_multiple_of(4) {
            return Err(CaptureFault::Length {
                field: "block length",
                found: total.into(),
                expected: "a multiple of 4, 12 at the least".to_owned(),
            });
        }
        Ok(total)
    }

    fn section<R: Read>(&mut self, source: &mut Source<R>) -> Result<(), CaptureFault> {
        let start = source.need(16)?;
        self.order = match (Order::Little.u32(start, 8), Order::Big.u32(start, 8)) {
            (BYTE_ORDER, _) => Order::Little,
            (_, BYTE_ORDER) => Order::Big,
            (other, _) => return Err(CaptureFault::ByteOrder(other)),
        };
        let (major, minor) = (self.order.u16(start, 12), self.order.u16(start, 14));
        if major != 1 {
            return Err(CaptureFault::Version { major, minor, expected: "1.0" });
        }
        let total = self.total(source)?;
        // Its length of the section is a hint that need not be right: blocks are followed one by one.
        self.section = self.interfaces.len();
        self.step_over(source, total)
    }

    /// Goes past a block of any length, and looks at its end.
    fn step_over<R: Read>(&self, source: &mut Source<R>, total: u32) -> Result<(), CaptureFault> {
        if total as usize <= WINDOW {
            whole(source, total, self.order)?;
            return source.pass(total.into());
        }
        source.pass(u64::from(total) - 4)?;
        let last = self.order.u32(source.need(4)?, 0);
        if last != total {
            return Err(CaptureFault::LengthsDiffer { first: total, last });
        }
        source.pass(4)
    }

    fn packet(&self, kind: u32, block: &[u8]) -> Result<Found, CaptureFault> {
        let order = self.order;
        let body = block.len().saturating_sub(FRAME as usize);
        let header = if kind == SIMPLE_PACKET { 4 } else { 20 };
        if body < header {
            return Err(CaptureFault::Length {
                field: "block length",
                found: block.len() as u64,
                expected: format!("{} at the least, for a packet block", header + FRAME as usize),
            });
        }
        let number = match kind {
            ENHANCED_PACKET => order.u32(block, 8),
            OBSOLETE_PACKET => order.u16(block, 8).into(),
            _ => 0,
        };
        let position = self.section.saturating_add(number as usize);
        let Some(interface) = self.interfaces.get(position) else {
            let known = self.interfaces.len() - self.section;
            return Err(CaptureFault::Interface { found: number, known });
        };
        let (captured, original_len, time_ns) = if kind == SIMPLE_PACKET {
            let original = order.u32(block, 8);
            let snapped = if interface.snap_len == 0 { original } else { original.min(interface.snap_len) };
            (snapped, original, None)
        } else {
            let ticks = u64::from(order.u32(block, 12)) << 32 | u64::from(order.u32(block, 16));
            (order.u32(block, 20), order.u32(block, 24), Some(interface.resolution.nanos(ticks)))
        };
        let room = (body - header) as u64;
        let most = room.min(MAX_PACKET.into());
        if u64::from(captured) > most {
            return Err(CaptureFault::Length {
                field: "captured length",
                found: captured.into(),
                expected: format!("at most {most}: the block has no room for more"),
            });
        }
        Ok(Found {
            interface: position,
            time_ns,
            original_len: original_len.max(captured),
            at: 8 + header,
            len: captured as usize,
            block: block.len() as u64,
        })
    }
}

/// A block that has to be looked at whole.
fn whole<R: Read>(source: &mut Source<R>, total: u32, order: Order) -> Result<&[u8], CaptureFault> {
    if total as usize > WINDOW {
        return Err(CaptureFault::Length {
            field: "block length",
            found: total.into(),
            expected: format!("at most {WINDOW} for a block of this type"),
        });
    }
    let block = source.need(total as usize)?;
    let last = order.u32(block, (total - 4) as usize);
    if last != total {
        return Err(CaptureFault::LengthsDiffer { first: total, last });
    }
    Ok(block)
}

fn interface(block: &[u8], order: Order) -> Result<Interface, CaptureFault> {
    const FIXED: usize = 16;
    if block.len() < FIXED + 4 {
        return Err(CaptureFault::Length {
            field: "block length",
            found: block.len() as u64,
            expected: "20 at the least, for an interface block".to_owned(),
        });
    }
    let mut interface = Interface {
        link: LinkType::from(order.u16(block, 8)),
        name: None,
        snap_len: order.u32(block, 12),
        resolution: Resolution::MICRO,
    };
    let mut options = block.get(FIXED..block.len() - 4).unwrap_or_default();
    while options.len() >= 4 {
        let (code, len) = (order.u16(options, 0), usize::from(order.u16(options, 2)));
        if code == OPTION_END {
            break;
        }
        let Some(value) = options.get(4..4 + len) else {
            return Err(CaptureFault::Length {
                field: "option length",
                found: len as u64,
                expected: format!("at most {}, what is left of the block", options.len() - 4),
            });
        };
        match (code, value) {
            (IF_NAME, name) => {
                let kept = name.get(..name.len().min(MAX_NAME)).unwrap_or_default();
                interface.name = Some(String::from_utf8_lossy(kept).trim_end_matches('\0').to_owned());
            }
            (IF_TSRESOL, &[byte, ..]) => {
                let offset_s = interface.resolution.offset_s;
                let found = Resolution::from_option(byte).ok_or_else(|| CaptureFault::Length {
                    field: "if_tsresol",
                    found: byte.into(),
                    expected: "at most 10^-19 or 2^-63 seconds".to_owned(),
                })?;
                interface.resolution = Resolution { offset_s, ..found };
            }
            (IF_TSOFFSET, value) if value.len() >= 8 => {
                interface.resolution.offset_s = order.u64(value, 0).cast_signed();
            }
            _ => {}
        }
        options = options.get(4 + len.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(interface)
}
