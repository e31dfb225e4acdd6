//! The run of a replay: read, wait, enter, settle; again for each pass.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::ReplayError;
use super::books::Books;
use super::clock::Timeline;
use super::fit::{Fitted, to_ethernet};
use super::flows::{FlowLine, MAX_FLOWS, Seen};
use super::headers::Sketch;
use super::map::MapRule;
use super::node::NodeState;
use super::outputs::Outputs;
use super::pace::{Pacer, Speed};
use super::passes::{End, Input, Passes, Progress};
use super::record::{Expected, Record};
use super::replica::{Arrival, Known, Replica};
use super::report::Report;
use super::summary;
use crate::capture::Packet;

/// How often a pipeline's housekeeping runs, in the capture's time, as in the daemon.
const TICK_NS: u64 = 100_000_000;

/// Longer than anything is held in the fragment table.
const SETTLE_NS: u64 = 61_000_000_000;

/// What to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// The capture.
    pub input: Input,
    /// How often it is replayed, 1 at the least.
    pub passes: u64,
    /// How fast.
    pub speed: Speed,
    /// Where packets enter, where their addresses do not say so.
    pub map: Vec<MapRule>,
    /// Leave MACs as they are.
    pub strict_mac: bool,
    /// File for forwarded frames.
    pub out: Option<PathBuf>,
    /// File for dropped packets.
    pub dropped: Option<PathBuf>,
    /// File for the verdicts.
    pub record: Option<PathBuf>,
    /// Verdicts recorded before.
    pub expect: Option<PathBuf>,
    /// File for the flows.
    pub flows: Option<PathBuf>,
    /// How many flows are told apart, [`MAX_FLOWS`] at the most.
    pub max_flows: usize,
}

impl Options {
    /// As fast as it goes, once, nothing written.
    pub fn new(input: Input) -> Self {
        Self {
            input,
            passes: 1,
            speed: Speed::Max,
            map: Vec::new(),
            strict_mac: false,
            out: None,
            dropped: None,
            record: None,
            expect: None,
            flows: None,
            max_flows: MAX_FLOWS,
        }
    }
}

/// Replays a capture through the node of `state`, and at the same time through that of `against`, until it ends,
/// has a fault, or `interrupt` is set. What was processed until then is reported in every case.
///
/// # Errors
/// The capture cannot be begun, or a file not written.
pub fn run(
    state: NodeState,
    against: Option<NodeState>,
    options: &Options,
    interrupt: &AtomicBool,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Report, ReplayError> {
    apart(options)?;
    // Before any output is begun.
    let mut passes = Passes::open(&options.input, options.passes, interrupt, progress)?;
    let expected = options.expect.as_deref().map(Expected::open).transpose()?;
    let outputs = Outputs::open(options.out.as_deref(), options.dropped.as_deref())?;

    let mut replicas = Vec::new();
    for (side, state) in [Some(state), against].into_iter().flatten().enumerate() {
        let keep = side == 0 && outputs.wants_originals();
        replicas.push(Replica::new(side, state, &options.map, options.strict_mac, keep)?);
    }
    let pacer = Pacer::new(options.speed);
    let mut books = Books::new(&replicas, options.max_flows.min(MAX_FLOWS), pacer, outputs);
    books.expected = expected;
    books.record = options.record.as_deref().map(Record::create).transpose()?;

    let mut run = Run { replicas, books, next_tick: TICK_NS };
    let end = passes.each(|packet, time, line| Ok(run.packet(packet, time, line, interrupt)))?;
    run.finish(options, &passes, &end)
}

/// Inputs and outputs must be files of their own: writing begins by emptying the file.
fn apart(options: &Options) -> Result<(), ReplayError> {
    let mut seen: Vec<PathBuf> = Vec::new();
    let input = match &options.input {
        Input::File(path) => Some(path.as_path()),
        Input::Stdin => None,
    };
    let others = [&options.expect, &options.out, &options.dropped, &options.record, &options.flows];
    for path in input.into_iter().chain(others.into_iter().filter_map(|path| path.as_deref())) {
        // A file that does not exist yet is known by its directory and name.
        let whole = path.canonicalize().or_else(|_| {
            let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let directory = directory.unwrap_or(Path::new(".")).canonicalize()?;
            Ok::<_, io::Error>(directory.join(path.file_name().unwrap_or_default()))
        });
        let Ok(whole) = whole else { continue };
        // Devices take any number of writers.
        let is_file = std::fs::metadata(&whole).map_or(true, |about| about.is_file());
        if is_file && seen.contains(&whole) {
            return Err(ReplayError::SameFile(path.to_owned()));
        }
        seen.push(whole);
    }
    Ok(())
}

struct Run {
    replicas: Vec<Replica>,
    books: Books,
    next_tick: u64,
}

impl Run {
    /// One packet; false when interrupted while waiting for its time, or a file cannot be written.
    fn packet(&mut self, packet: &Packet<'_>, time: u64, line: &Timeline, interrupt: &AtomicBool) -> bool {
        if self.books.read.packets == 0 {
            self.books.outputs.epoch = line.stamp(0);
        }
        let due = self.books.pacer.due(time);
        if let Some(due) = due
            && Instant::now() < due
        {
            // What has been due is not kept waiting for what is not.
            self.flush();
            if !Pacer::wait(due, interrupt) {
                return false;
            }
        }
        if time >= self.next_tick {
            for replica in &mut self.replicas {
                replica.tick(time, &mut self.books);
            }
            self.next_tick = time.saturating_add(TICK_NS);
        }
        self.books.read.add(packet.original_len.into());
        let number = self.books.read.packets;
        self.enter(packet, number, time, due);
        self.books.error.is_none()
    }

    fn enter(&mut self, packet: &Packet<'_>, number: u64, time: u64, due: Option<Instant>) {
        let Self { replicas, books, .. } = self;
        let Some((first, others)) = replicas.split_first_mut() else { return };
        let mut frame = first.frame();
        let wire_len = packet.original_len;
        let mut filled = Fitted::default();
        let missing = match to_ethernet(
            packet.interface.link,
            packet.bytes,
            packet.original_len,
            &mut frame,
            &mut filled,
        ) {
            Ok(missing) => missing,
            Err(reason) => {
                first.give_back(frame);
                books.flows.without += 1;
                for side in 0..=others.len() {
                    books.left_out(side, number, None, wire_len, reason);
                }
                return;
            }
        };
        let sketch = Sketch::of(frame.bytes());
        let vxlan_port = first.vxlan_port();
        let seen = sketch.and_then(|sketch| Seen::of(frame.bytes(), &sketch, vxlan_port));
        let flow = books.flows.enter(seen, number, wire_len.into());
        let interface = (packet.interface_number, packet.interface);
        let arrival = Arrival { known: Known { number, time, due, flow, wire_len, missing }, interface };
        for other in others {
            let mut copy = other.frame();
            copy.write(frame.bytes());
            other.take(&arrival, copy, sketch, books);
        }
        first.fitted.filled_up += filled.filled_up;
        first.take(&arrival, frame, sketch, books);
    }

    fn flush(&mut self) {
        for replica in &mut self.replicas {
            replica.flush(&mut self.books);
        }
    }

    /// Settles what is open, completes the files, and reports.
    fn finish(mut self, options: &Options, passes: &Passes<'_>, end: &End) -> Result<Report, ReplayError> {
        self.flush();
        let elapsed = self.books.pacer.elapsed();
        let last = passes.line.length().as_nanos() as u64;
        for replica in &mut self.replicas {
            replica.tick(last.saturating_add(SETTLE_NS), &mut self.books);
        }
        let whole = !end.interrupted && end.fault.is_none();
        // Files are completed whatever else went wrong; the first trouble is the one told.
        let written = self.books.outputs.finish();
        self.books.note(written);
        if let Some(record) = self.books.record.take() {
            let written = record.finish();
            self.books.note(written);
        }
        if let Some(path) = &options.flows {
            let written = write_flows(path, &self.books, &self.replicas);
            self.books.note(written);
        }
        if let Some(error) = self.books.error.take() {
            return Err(error);
        }
        let verdicts = self.books.expected.take().map(|expected| expected.finish(whole)).transpose()?;
        Ok(summary::make(&summary::Ended {
            options,
            books: &self.books,
            replicas: &self.replicas,
            line: &passes.line,
            passes: passes.begun,
            elapsed,
            fault: end.fault.as_ref(),
            interrupted: end.interrupted,
            verdicts,
        }))
    }
}

fn write_flows(path: &Path, books: &Books, replicas: &[Replica]) -> Result<(), ReplayError> {
    let name = path.display().to_string();
    let write = || -> io::Result<()> {
        let mut to = io::BufWriter::new(File::create(path)?);
        for (key, flow) in books.flows.in_order() {
            let rules = summary::rules_of(flow, books);
            let line = FlowLine::new(key, flow, replicas.len() > 1, rules);
            serde_json::to_writer(&mut to, &line)?;
            to.write_all(b"\n")?;
        }
        to.flush()
    };
    write().map_err(ReplayError::io(name))
}
