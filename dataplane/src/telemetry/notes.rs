//! Connections that a rule asks to be noted (Calico's `action: Log`): from the worker to the log.
//!
//! The worker puts a note into a bounded queue and never waits; the control thread writes the notes as log lines.
//! A flood of such connections fills the queue: what does not fit is counted and reported with the next lines, as
//! is what exceeds [`LINES_PER_DRAIN`], so that the log cannot be made to fill the disk.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::queue::ArrayQueue;
use policy_compiler::{Action, Direction, Key, RuleInfo, RuleTable, Step, Verdict};

/// Notes that wait at most.
const CAPACITY: usize = 1024;
/// Lines written at once; the control thread drains about ten times a second.
const LINES_PER_DRAIN: usize = 100;

/// A judged connection.
struct Note {
    rules: Arc<RuleTable>,
    key: Key,
    verdict: Verdict,
}

/// The queue.
pub struct NoteLog {
    waiting: ArrayQueue<Note>,
    lost: AtomicU64,
}

impl Default for NoteLog {
    fn default() -> Self {
        Self { waiting: ArrayQueue::new(CAPACITY), lost: AtomicU64::new(0) }
    }
}

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteLine {
    /// What became of the connection.
    pub action: Action,
    /// The side of the pod that was judged.
    pub direction: Direction,
    /// Who opened it.
    pub src: IpAddr,
    /// To whom.
    pub dst: IpAddr,
    /// IANA protocol number.
    pub protocol: u8,
    /// Source port.
    pub src_port: u16,
    /// Destination port, or ICMP `type << 8 | code`.
    pub dst_port: u16,
    /// The rules that asked for the line: `GlobalNetworkPolicy name spec.ingress[0] (file:line:column)`.
    pub logged_by: Vec<String>,
    /// What decided, in words.
    pub rule: String,
}

impl NoteLog {
    /// Notes the connection if a rule on the way to its verdict asks for that.
    pub fn note(&self, rules: &Arc<RuleTable>, key: &Key, verdict: Verdict) {
        if !rules.get(verdict.rule).is_logged() {
            return;
        }
        if self.waiting.push(Note { rules: Arc::clone(rules), key: *key, verdict }).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes the lines that wait, oldest first, and the number of those for which there was no room.
    pub fn drain(&self) -> (Vec<NoteLine>, u64) {
        let mut lines = Vec::new();
        let mut lost = self.lost.swap(0, Ordering::Relaxed);
        // Bounded: the worker may be adding as fast as we take.
        for _ in 0..CAPACITY {
            let Some(note) = self.waiting.pop() else { break };
            if lines.len() < LINES_PER_DRAIN {
                lines.push(NoteLine::of(&note));
            } else {
                lost += 1;
            }
        }
        (lines, lost)
    }
}

impl NoteLine {
    fn of(note: &Note) -> Self {
        let info: &RuleInfo = note.rules.get(note.verdict.rule);
        let logged = info.via.iter().filter_map(|step| match step {
            Step::Logged { policy, provenance } => {
                Some(format!("{policy} {} ({})", provenance.field, provenance.origin))
            }
            Step::Passed { .. } | Step::Undecided { .. } => None,
        });
        Self {
            action: note.verdict.action,
            direction: note.key.direction,
            src: note.key.src,
            dst: note.key.dst,
            protocol: note.key.protocol,
            src_port: note.key.src_port,
            dst_port: note.key.dst_port,
            logged_by: logged.collect(),
            rule: info.to_string(),
        }
    }
}
