//! Reading a capture of either format, told by its first bytes.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::error::{CaptureError, CaptureFault};
use super::interface::Interface;
use super::pcap::PcapFormat;
use super::pcapng::PcapngFormat;
use super::window::Window;

/// Most bytes of one packet: four times what any interface of today sends in one piece, and what other readers of
/// these formats take.
pub const MAX_PACKET: u32 = 262_144;

/// One packet of a capture.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    /// Its number in the file, from 1.
    pub number: u64,
    /// Its interface.
    pub interface: &'a Interface,
    /// Which that is of [`CaptureReader::interfaces`].
    pub interface_number: usize,
    /// Nanoseconds since 1970; `None` where the format has no stamp (simple packet blocks).
    pub time_ns: Option<u64>,
    /// Bytes it had on the wire; more than `bytes` where the capture cut it.
    pub original_len: u32,
    /// What was kept of it.
    pub bytes: &'a [u8],
}

/// A packet found: where its bytes stand in the block that the window shows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) interface: usize,
    pub(super) time_ns: Option<u64>,
    pub(super) original_len: u32,
    /// Where its bytes begin in the block, and how many.
    pub(super) at: usize,
    pub(super) len: usize,
    /// Bytes of the whole block.
    pub(super) block: u64,
}

enum Format {
    Pcap(PcapFormat),
    Pcapng(PcapngFormat),
}

/// A capture, from its beginning to its end or its first fault.
pub struct CaptureReader<R> {
    file: String,
    source: Source<R>,
    format: Format,
    packets: u64,
    /// Bytes of the block last delivered, still in the window because the packet was lent out of it.
    lent: u64,
}

/// The window with what is known of the file: what both formats read from.
pub(super) struct Source<R> {
    pub(super) window: Window<R>,
    /// Size when it was opened, where it has one.
    pub(super) size: Option<u64>,
    /// Blocks begun.
    pub(super) block: u64,
    /// Where the last of them begins.
    pub(super) block_at: u64,
}

impl<R: Read> Source<R> {
    /// Counts a block that begins here.
    pub(super) fn begin_block(&mut self) {
        self.block += 1;
        self.block_at = self.window.offset();
    }

    /// `wanted` bytes, or the fault that they are not there.
    pub(super) fn need(&mut self, wanted: usize) -> Result<&[u8], CaptureFault> {
        let have = self.window.peek(wanted)?.len();
        if have < wanted {
            return Err(self.ends_early(wanted as u64, (wanted - have) as u64));
        }
        Ok(self.window.seen(wanted))
    }

    /// Steps over `count` bytes, or the fault that they are not there.
    pub(super) fn pass(&mut self, count: u64) -> Result<(), CaptureFault> {
        match self.window.skip(count)? {
            0 => Ok(()),
            missing => Err(self.ends_early(count, missing)),
        }
    }

    /// True at the very end.
    pub(super) fn is_over(&mut self) -> Result<bool, CaptureFault> {
        let over = self.window.peek(1)?.is_empty();
        match self.size {
            Some(had) if over && self.window.offset() < had => {
                Err(CaptureFault::Shrank { had, has: self.window.offset() })
            }
            _ => Ok(over),
        }
    }

    fn ends_early(&self, wanted: u64, missing: u64) -> CaptureFault {
        let has = self.window.offset().saturating_add(wanted - missing);
        match self.size {
            Some(had) if has < had => CaptureFault::Shrank { had, has },
            _ => CaptureFault::Truncated { wanted, missing },
        }
    }
}

impl CaptureReader<Box<dyn Read>> {
    /// Opens a file.
    ///
    /// # Errors
    /// It cannot be read, or is no capture.
    pub fn open(path: &Path) -> Result<Self, CaptureError> {
        let name = path.display().to_string();
        let opened = File::open(path).and_then(|file| {
            let about = file.metadata()?;
            if about.is_dir() {
                return Err(io::Error::from(io::ErrorKind::IsADirectory));
            }
            Ok((file, about.is_file().then_some(about.len())))
        });
        match opened {
            Ok((file, size)) => Self::with_size(&name, Box::new(file), size),
            Err(error) => Err(CaptureError { file: name, offset: 0, block: 0, kind: error.into() }),
        }
    }
}

impl<R: Read> CaptureReader<R> {
    /// Reads from a stream; `name` stands in errors.
    ///
    /// # Errors
    /// It cannot be read, or is no capture.
    pub fn new(name: &str, source: R) -> Result<Self, CaptureError> {
        Self::with_size(name, source, None)
    }

    fn with_size(name: &str, source: R, size: Option<u64>) -> Result<Self, CaptureError> {
        let mut source = Source { window: Window::new(source), size, block: 0, block_at: 0 };
        match begin(&mut source) {
            Ok(format) => Ok(Self { file: name.to_owned(), source, format, packets: 0, lent: 0 }),
            Err(kind) => Err(CaptureError { file: name.to_owned(), offset: 0, block: 0, kind }),
        }
    }

    /// The interfaces described so far, of all sections, in order.
    pub fn interfaces(&self) -> &[Interface] {
        match &self.format {
            Format::Pcap(format) => format.interfaces(),
            Format::Pcapng(format) => format.interfaces(),
        }
    }

    /// Bytes read so far.
    pub fn position(&self) -> u64 {
        self.source.window.offset().saturating_add(self.lent)
    }

    /// Size of the file, where it is one.
    pub fn size(&self) -> Option<u64> {
        self.source.size
    }

    /// The next packet; `None` at the end. After an error there is no next one.
    ///
    /// # Errors
    /// A fault, with its place.
    pub fn next_packet(&mut self) -> Result<Option<Packet<'_>>, CaptureError> {
        let outcome = self.advance();
        match outcome {
            Ok(None) => Ok(None),
            Ok(Some(found)) => {
                self.packets += 1;
                self.lent = found.block;
                let Some(interface) = self.interfaces().get(found.interface) else {
                    // Both formats name only interfaces that they know.
                    return Ok(None);
                };
                let block = self.source.window.seen(found.at.saturating_add(found.len));
                Ok(Some(Packet {
                    number: self.packets,
                    interface,
                    interface_number: found.interface,
                    time_ns: found.time_ns,
                    original_len: found.original_len,
                    bytes: block.get(found.at..).unwrap_or_default(),
                }))
            }
            Err(kind) => Err(CaptureError {
                file: self.file.clone(),
                offset: self.source.block_at,
                block: self.source.block,
                kind,
            }),
        }
    }

    fn advance(&mut self) -> Result<Option<Found>, CaptureFault> {
        let lent = std::mem::take(&mut self.lent);
        self.source.pass(lent)?;
        match &mut self.format {
            Format::Pcap(format) => format.next(&mut self.source),
            Format::Pcapng(format) => format.next(&mut self.source),
        }
    }
}

/// Tells the format and reads the file header of a pcap.
fn begin<R: Read>(source: &mut Source<R>) -> Result<Format, CaptureFault> {
    let first = source.window.peek(4)?;
    let Some(&magic) = first.first_chunk::<4>() else {
        if first.is_empty() {
            return match source.size {
                Some(had) if had > 0 => Err(CaptureFault::Shrank { had, has: 0 }),
                _ => Err(CaptureFault::Empty),
            };
        }
        let missing = 4 - first.len() as u64;
        return Err(CaptureFault::Truncated { wanted: 4, missing });
    };
    match magic {
        [0x0a, 0x0d, 0x0d, 0x0a] => Ok(Format::Pcapng(PcapngFormat::new())),
        [0x1f, 0x8b, ..] => Err(CaptureFault::Compressed { tool: "gzip" }),
        [0x28, 0xb5, 0x2f, 0xfd] => Err(CaptureFault::Compressed { tool: "zstd" }),
        [0xfd, b'7', b'z', b'X'] => Err(CaptureFault::Compressed { tool: "xz" }),
        [b'B', b'Z', b'h', _] => Err(CaptureFault::Compressed { tool: "bzip2" }),
        magic => PcapFormat::begin(magic, source)?
            .map(Format::Pcap)
            .ok_or_else(|| CaptureFault::UnknownFormat(magic.map(|byte| format!("{byte:02x}")).join(" "))),
    }
}
