//! The files of a replay: frames that were forwarded, and packets that were dropped with the reason as a comment.
//!
//! Complete whenever the replay ends, interrupted or not: [`Outputs::finish`] is the only way out.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use dataplane::buffer::Frame;
use dataplane::drop_reason::DropReason;
use dataplane::pipeline::PortId;
use dataplane::time::Timestamp;
use policy_compiler::RuleInfo;

use super::ReplayError;
use super::clock::pipeline_time;
use super::place::PortNames;
use super::replica::InFlight;
use crate::capture::PcapngWriter;

/// One file, with an interface for each port that has come up.
struct CaptureFile {
    name: String,
    writer: PcapngWriter<BufWriter<File>>,
    /// By port.
    interfaces: Vec<Option<u32>>,
}

impl CaptureFile {
    fn create(path: &Path) -> Result<Self, ReplayError> {
        let name = path.display().to_string();
        let file = File::create(path).map_err(ReplayError::io(&name))?;
        let writer = PcapngWriter::new(BufWriter::with_capacity(1 << 18, file));
        Ok(Self { writer: writer.map_err(ReplayError::io(&name))?, name, interfaces: Vec::new() })
    }

    fn write(
        &mut self,
        port: PortId,
        names: &PortNames,
        time_ns: u64,
        bytes: &[u8],
        original_len: usize,
        comment: Option<&str>,
    ) -> Result<(), ReplayError> {
        let mut write = || -> io::Result<()> {
            let place = port.0 as usize;
            if self.interfaces.len() <= place {
                self.interfaces.resize(names.len().max(place + 1), None);
            }
            let interface = if let Some(Some(interface)) = self.interfaces.get(place) {
                *interface
            } else {
                let number = self.writer.add_interface(names.of(port))?;
                if let Some(known) = self.interfaces.get_mut(place) {
                    *known = Some(number);
                }
                number
            };
            self.writer.packet(interface, time_ns, bytes, original_len, comment)
        };
        write().map_err(ReplayError::io(&self.name))
    }

    fn finish(self) -> Result<(), ReplayError> {
        let name = self.name;
        let mut file = self.writer.finish().map_err(ReplayError::io(&name))?;
        file.flush().map_err(ReplayError::io(&name))
    }
}

/// What is written on the way.
#[derive(Default)]
pub(super) struct Outputs {
    forwarded: Option<CaptureFile>,
    dropped: Option<CaptureFile>,
    /// The stamp of time 0.
    pub(super) epoch: u64,
}

impl Outputs {
    pub(super) fn open(forwarded: Option<&Path>, dropped: Option<&Path>) -> Result<Self, ReplayError> {
        Ok(Self {
            forwarded: forwarded.map(CaptureFile::create).transpose()?,
            dropped: dropped.map(CaptureFile::create).transpose()?,
            epoch: 0,
        })
    }

    /// A frame that left by a port.
    pub(super) fn forwarded(
        &mut self,
        port: PortId,
        names: &PortNames,
        packet: Option<&InFlight>,
        at: Timestamp,
        frame: &Frame,
    ) -> Result<(), ReplayError> {
        let Some(file) = &mut self.forwarded else { return Ok(()) };
        let time = packet.map_or(at.since(pipeline_time(0)).as_nanos() as u64, |packet| packet.known.time);
        // What a snap length had cut is cut again, at the same place.
        let missing = packet.map_or(0, |packet| packet.known.missing);
        let bytes = frame.bytes();
        let kept = bytes.get(..bytes.len().saturating_sub(missing)).unwrap_or_default();
        file.write(port, names, self.epoch.saturating_add(time), kept, bytes.len(), None)
    }

    /// A packet that was dropped, as it was captured.
    pub(super) fn dropped(
        &mut self,
        packet: &InFlight,
        names: &PortNames,
        reason: DropReason,
        rule: Option<&RuleInfo>,
        original: &[u8],
    ) -> Result<(), ReplayError> {
        let Some(file) = &mut self.dropped else { return Ok(()) };
        let comment = match rule {
            Some(rule) => format!("{reason}: {} {}: {rule}", rule.direction, rule.action),
            None => format!("{reason}: {}", reason.description()),
        };
        let len = original.len() + packet.known.missing;
        let time_ns = self.epoch.saturating_add(packet.known.time);
        file.write(packet.port, names, time_ns, original, len, Some(&comment))
    }

    /// True where the file of dropped packets is wanted.
    pub(super) fn wants_originals(&self) -> bool {
        self.dropped.is_some()
    }

    /// Completes the files.
    pub(super) fn finish(&mut self) -> Result<(), ReplayError> {
        self.forwarded.take().map_or(Ok(()), CaptureFile::finish)?;
        self.dropped.take().map_or(Ok(()), CaptureFile::finish)
    }
}
