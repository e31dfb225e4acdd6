//! A capture onto a real interface: no pipeline, no policy, only frames at their times.
//!
//! ```text
//!  capture ─► fill up (snap length) ─► pace ─► packet socket ─► interface
//! ```
//! What the socket refuses because a queue is full is counted, not sent again. What it takes is not yet sent:
//! the report sets the interface's own counters, read before and after, beside what was handed over. Needs
//! `CAP_NET_RAW`. Frames keep their MACs.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use dataplane::buffer::{BATCH_FRAMES, Batch, Pool};
use dataplane::ports::Port;
use dataplane::ports::af_packet::AfPacketPort;
use serde::Serialize;

use super::ReplayError;
use super::books::Count;
use super::fit::{Fitted, to_ethernet};
use super::pace::{Pacer, Speed};
use super::passes::{Input, Passes, Progress};
use super::place::LeftOut;
use super::report::{Capture, Pacing, Row};
use super::summary::{left_out_rows, pacing_of};
use crate::capture::Packet;
use crate::report::whether;

/// How long the interface may take to send what it was given.
const DRAIN: Duration = Duration::from_millis(100);

/// What came of sending a capture.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WireReport {
    /// The capture.
    pub capture: Capture,
    /// The interface.
    pub interface: String,
    /// Frames the kernel took.
    pub sent: u64,
    /// Frames it refused because a queue was full.
    pub congested: u64,
    /// Frames it refused for another reason.
    pub failed: u64,
    /// Packets that are no frames of an Ethernet.
    pub left_out: Vec<Row>,
    /// `read = sent + congested + failed + left_out`.
    pub adds_up: bool,
    /// Frames that the interface says it sent meanwhile, those of others among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface_sent: Option<u64>,
    /// Frames that it says it dropped instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface_dropped: Option<u64>,
    /// Frames filled up after a snap length had cut them.
    pub filled_up: u64,
    /// Speed and pacing.
    pub pacing: Pacing,
}

struct Sending {
    port: AfPacketPort,
    name: String,
    pool: Pool,
    batch: Batch,
    due: Vec<Instant>,
    pacer: Pacer,
    read: Count,
    left_out: Vec<Count>,
    fitted: Fitted,
    sent: u64,
    congested: u64,
    failed: u64,
}

/// Sends a capture through an interface of this host, `passes` times, until it ends, has a fault, or `interrupt`
/// is set.
///
/// # Errors
/// The capture cannot be begun, or the interface not opened, or it goes away.
pub fn send(
    input: &Input,
    interface: &str,
    speed: Speed,
    passes: u64,
    interrupt: &AtomicBool,
    progress: &mut dyn FnMut(&Progress),
) -> Result<WireReport, ReplayError> {
    let mut passes = Passes::open(input, passes, interrupt, progress)?;
    let port = AfPacketPort::open_to_send(interface).map_err(ReplayError::io("--to"))?;
    let counters = Counters::of(interface);
    let mut sending = Sending {
        port,
        name: interface.to_owned(),
        pool: Pool::new(2 * BATCH_FRAMES),
        batch: Batch::with_capacity(BATCH_FRAMES),
        due: Vec::with_capacity(BATCH_FRAMES),
        pacer: Pacer::new(speed),
        read: Count::default(),
        left_out: vec![Count::default(); LeftOut::ALL.len()],
        fitted: Fitted::default(),
        sent: 0,
        congested: 0,
        failed: 0,
    };
    let end = passes.each(|packet, time, _| sending.packet(packet, time, interrupt))?;
    sending.flush()?;
    let elapsed = sending.pacer.elapsed();
    std::thread::sleep(DRAIN);
    let after = Counters::of(interface);
    let difference = |of: fn(&Counters) -> Option<u64>| Some(of(&after)?.saturating_sub(of(&counters)?));
    let left_out: u64 = sending.left_out.iter().map(|count| count.packets).sum();
    let handed = sending.sent + sending.congested + sending.failed;
    Ok(WireReport {
        capture: Capture {
            file: input.to_string(),
            passes: passes.begun,
            read: sending.read,
            nanoseconds: u64::try_from(passes.line.length().as_nanos()).unwrap_or(u64::MAX),
            stamps_backwards: passes.line.backwards,
            fault: end.fault.map(|fault| fault.to_string()),
            interrupted: end.interrupted,
        },
        interface: interface.to_owned(),
        sent: sending.sent,
        congested: sending.congested,
        failed: sending.failed,
        left_out: left_out_rows(&sending.left_out),
        adds_up: sending.read.packets == handed + left_out,
        interface_sent: difference(|counters| counters.sent),
        interface_dropped: difference(|counters| counters.dropped),
        filled_up: sending.fitted.filled_up,
        pacing: pacing_of(&sending.pacer, sending.read, passes.line.length(), elapsed),
    })
}

impl Sending {
    /// One packet; false when interrupted while waiting for its time.
    fn packet(
        &mut self,
        packet: &Packet<'_>,
        time: u64,
        interrupt: &AtomicBool,
    ) -> Result<bool, ReplayError> {
        let due = self.pacer.due(time);
        if let Some(due) = due
            && Instant::now() < due
        {
            self.flush()?;
            if !Pacer::wait(due, interrupt) {
                return Ok(false);
            }
        }
        self.read.add(packet.original_len.into());
        let mut frame = self.pool.take().unwrap_or_default();
        let link = packet.interface.link;
        if let Err(reason) =
            to_ethernet(link, packet.bytes, packet.original_len, &mut frame, &mut self.fitted)
        {
            self.pool.give(frame);
            if let Some(count) = self.left_out.get_mut(reason as usize) {
                count.add(packet.original_len.into());
            }
            return Ok(true);
        }
        self.due.extend(due);
        self.batch.push(frame);
        if self.batch.len() >= BATCH_FRAMES {
            self.flush()?;
        }
        Ok(true)
    }

    fn flush(&mut self) -> Result<(), ReplayError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        for due in self.due.drain(..) {
            self.pacer.handed(due, now);
        }
        let outcome = self.port.send(&mut self.pool, &mut self.batch);
        let sent = outcome.map_err(|gone| ReplayError::io(&self.name)(gone.into()))?;
        self.sent += sent.frames as u64;
        self.congested += sent.congested as u64;
        self.failed += sent.failed as u64;
        Ok(())
    }
}

/// What an interface says of itself.
struct Counters {
    sent: Option<u64>,
    dropped: Option<u64>,
}

impl Counters {
    fn of(interface: &str) -> Self {
        let read = |name: &str| {
            let path = format!("/sys/class/net/{interface}/statistics/{name}");
            std::fs::read_to_string(path).ok()?.trim().parse().ok()
        };
        Self { sent: read("tx_packets"), dropped: read("tx_dropped") }
    }
}

impl std::fmt::Display for WireReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} to interface {}", self.capture.file, self.interface)?;
        if let Some(fault) = &self.capture.fault {
            writeln!(f, "the capture ends early: {fault}")?;
        }
        let left_out: u64 = self.left_out.iter().map(|row| row.count.packets).sum();
        writeln!(
            f,
            "read {} = sent {} + congested {} + failed {} + left out {left_out}: {}",
            self.capture.read.packets,
            self.sent,
            self.congested,
            self.failed,
            whether(self.adds_up)
        )?;
        for row in &self.left_out {
            writeln!(f, "  {:<22} {:>12} packets  {}", row.name, row.count.packets, row.description)?;
        }
        if let (Some(sent), Some(dropped)) = (self.interface_sent, self.interface_dropped) {
            writeln!(f, "the interface counts {sent} sent and {dropped} dropped meanwhile")?;
        }
        super::text::pacing(f, &self.pacing)
    }
}
