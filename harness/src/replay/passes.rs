//! The passes over a capture: its packets and their times, one pass after the other, until it ends, has a fault, or is
//! interrupted. How far it has come is told ten times a second.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::ReplayError;
use super::clock::Timeline;
use crate::capture::{CaptureError, CaptureReader, Packet};

/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// Where packets come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A file.
    File(PathBuf),
    /// Standard input, once.
    Stdin,
}

impl std::fmt::Display for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Stdin => f.write_str("standard input"),
        }
    }
}

/// How far a replay has come.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Bytes read of all passes.
    pub bytes: u64,
    /// Bytes there are, where that is known.
    pub total: Option<u64>,
    /// Packets read.
    pub packets: u64,
}

type Reader = CaptureReader<Box<dyn Read>>;

fn open(input: &Input) -> Result<Reader, ReplayError> {
    Ok(match input {
        Input::File(path) => CaptureReader::open(path)?,
        Input::Stdin => {
            let stdin: Box<dyn Read> = Box::new(io::stdin().lock());
            CaptureReader::new("standard input", stdin)?
        }
    })
}

/// A capture that is read so many times.
pub(super) struct Passes<'a> {
    /// When its packets come.
    pub(super) line: Timeline,
    /// Passes begun.
    pub(super) begun: u64,
    input: &'a Input,
    wanted: u64,
    /// Opened, and not begun.
    reader: Option<Reader>,
    packets: u64,
    /// Bytes of the passes before.
    before: u64,
    told: Instant,
    interrupt: &'a AtomicBool,
    progress: &'a mut dyn FnMut(&Progress),
}

/// How the reading ended.
#[derive(Debug, Default)]
pub(super) struct End {
    /// What is wrong with the capture.
    pub(super) fault: Option<CaptureError>,
    pub(super) interrupted: bool,
}

impl<'a> Passes<'a> {
    /// Begins the capture.
    pub(super) fn open(
        input: &'a Input,
        wanted: u64,
        interrupt: &'a AtomicBool,
        progress: &'a mut dyn FnMut(&Progress),
    ) -> Result<Self, ReplayError> {
        if wanted > 1 && *input == Input::Stdin {
            return Err(ReplayError::LoopOverPipe);
        }
        Ok(Self {
            line: Timeline::default(),
            begun: 0,
            input,
            wanted,
            reader: Some(open(input)?),
            packets: 0,
            before: 0,
            told: Instant::now(),
            interrupt,
            progress,
        })
    }

    /// Hands over each packet with its time; `take` is false when it was interrupted.
    ///
    /// # Errors
    /// Those of `take`, and a capture that cannot be begun again.
    pub(super) fn each(
        &mut self,
        mut take: impl FnMut(&Packet<'_>, u64, &Timeline) -> Result<bool, ReplayError>,
    ) -> Result<End, ReplayError> {
        let interrupted = End { fault: None, interrupted: true };
        while self.begun < self.wanted {
            let mut reader = match self.reader.take() {
                Some(reader) => reader,
                None => open(self.input)?,
            };
            self.begun += 1;
            loop {
                if self.interrupt.load(Ordering::Relaxed) {
                    return Ok(interrupted);
                }
                self.tell(&reader);
                let packet = match reader.next_packet() {
                    Ok(Some(packet)) => packet,
                    Ok(None) => break,
                    Err(fault) => return Ok(End { fault: Some(fault), interrupted: false }),
                };
                let time = self.line.place(packet.time_ns);
                if !take(&packet, time, &self.line)? {
                    return Ok(interrupted);
                }
                self.packets += 1;
            }
            self.before = self.before.saturating_add(reader.position());
            self.line.next_pass();
        }
        Ok(End::default())
    }

    fn tell(&mut self, reader: &Reader) {
        if self.packets.is_multiple_of(256) && self.told.elapsed() > TELL_EVERY {
            self.told = Instant::now();
            (self.progress)(&Progress {
                bytes: self.before.saturating_add(reader.position()),
                total: reader.size().map(|size| size.saturating_mul(self.wanted)),
                packets: self.packets,
            });
        }
    }
}
