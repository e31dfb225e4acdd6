//! Counters: written by one worker, read by anyone, never locked on the way of a packet.
//!
//! Every packet a worker takes in ends in exactly one of `forwarded`, `answered` or a drop reason, or is held
//! until the first fragment of its datagram comes:
//! `received = forwarded + answered + Σ drops + held`.
//! A super-packet counts as the one frame the port handed over. What the way out refuses afterwards
//! (`tx_congested`, `tx_failed`) is taken off `forwarded` again, so that the sum holds: frames know how many received
//! packets they stand for ([`Frame::packets`](crate::buffer::Frame::packets)). An answer that is refused stays an answer.

mod denials;
mod notes;
mod stages;

pub use denials::{Denial, DenialLog, DenialRow};
pub use notes::{NoteLine, NoteLog};
pub use stages::{SAMPLED, Stage, StageCounter, StageCounters, StageTimer};

use std::sync::atomic::{AtomicU64, Ordering};

use crate::drop_reason::DropReason;

/// A number that one thread adds to and any thread reads.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `count`. Only the owning worker may call this: a plain load and store, no locked instruction.
    pub fn add(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    /// Takes `count` off again; same rule as [`Counter::add`].
    pub fn sub(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).saturating_sub(count), Ordering::Relaxed);
    }

    /// Lowers a gauge that one worker raises and another lowers; same rule as [`Counter::add`]. It wraps, and only the
    /// sum over the workers means something.
    pub fn lower(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(count), Ordering::Relaxed);
    }

    /// Replaces the value (gauges).
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One worker's packet counters.
#[derive(Debug)]
pub struct PacketCounters {
    /// Frames taken from ports.
    pub received: Counter,
    /// Frames passed on to a port.
    pub forwarded: Counter,
    /// Frames answered by weir itself (ARP, neighbour discovery).
    pub answered: Counter,
    /// Later fragments waiting for their first; a gauge. One worker may hold what another's packet sets free.
    pub held: Counter,
    /// ICMP errors sent on account of a dropped packet.
    pub icmp_errors: Counter,
    /// Packets of the overlay with reserved VXLAN bits set that were accepted all the same.
    pub vxlan_reserved: Counter,
    /// Entries of the connection table; a gauge.
    pub connections: Counter,
    /// Packets of flows that were known, as passing or as refused.
    pub flow_hits: Counter,
    /// Packets that went through the stages, or were rejected before them.
    pub flow_misses: Counter,
    drops: Vec<Counter>,
}

impl Default for PacketCounters {
    fn default() -> Self {
        Self {
            received: Counter::default(),
            forwarded: Counter::default(),
            answered: Counter::default(),
            held: Counter::default(),
            icmp_errors: Counter::default(),
            vxlan_reserved: Counter::default(),
            connections: Counter::default(),
            flow_hits: Counter::default(),
            flow_misses: Counter::default(),
            drops: DropReason::ALL.iter().map(|_| Counter::default()).collect(),
        }
    }
}

impl PacketCounters {
    /// Counts `count` packets dropped for `reason`.
    pub fn count_drop(&self, reason: DropReason, count: u64) {
        if let Some(counter) = self.drops.get(reason.index()) {
            counter.add(count);
        }
    }

    /// Counts `packets` as dropped for `reason` that counted as forwarded until their way out refused them.
    pub fn refuse(&self, reason: DropReason, packets: u64) {
        if packets > 0 {
            self.count_drop(reason, packets);
            self.forwarded.sub(packets);
        }
    }

    /// Packets dropped for `reason` so far.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops.get(reason.index()).map_or(0, Counter::get)
    }

    /// Packets dropped so far, for any reason.
    pub fn dropped_total(&self) -> u64 {
        self.drops.iter().map(Counter::get).sum()
    }

    /// The sum over the workers; of the connections, which the workers share, what the last of them saw.
    pub fn total<'a>(workers: impl IntoIterator<Item = &'a Self>) -> Self {
        let total = Self::default();
        for one in workers {
            let sums = [
                (&total.received, &one.received),
                (&total.forwarded, &one.forwarded),
                (&total.answered, &one.answered),
                (&total.held, &one.held),
                (&total.icmp_errors, &one.icmp_errors),
                (&total.vxlan_reserved, &one.vxlan_reserved),
                (&total.flow_hits, &one.flow_hits),
                (&total.flow_misses, &one.flow_misses),
            ];
            sums.into_iter()
                .chain(total.drops.iter().zip(&one.drops))
                .for_each(|(sum, one)| sum.add(one.get()));
            total.connections.set(total.connections.get().max(one.connections.get()));
        }
        total
    }
}

/// What one worker's loop has done.
#[derive(Debug, Default)]
pub struct LoopCounters {
    /// Batches taken from ports; frames received by batches is how full they were.
    pub batches: Counter,
    /// Times it went to sleep.
    pub sleeps: Counter,
    /// 1 while its sleeps are so short and so many that it asks for processors that stay awake, else 0.
    pub restless: Counter,
}

/// Counters of one port, or of one worker's queue of it.
#[derive(Debug, Default)]
pub struct PortCounters {
    /// Frames received.
    pub rx_packets: Counter,
    /// Bytes of these, without FCS.
    pub rx_bytes: Counter,
    /// Frames the kernel dropped before weir could take them.
    pub rx_lost: Counter,
    /// Frames that could not be taken (too large, senseless offload metadata).
    pub rx_malformed: Counter,
    /// Frames sent.
    pub tx_packets: Counter,
    /// Bytes offered for sending.
    pub tx_bytes: Counter,
    /// Frames refused because the queue was full.
    pub tx_congested: Counter,
    /// Frames refused for another reason.
    pub tx_failed: Counter,
}

impl PortCounters {
    /// The sum over a port's queues.
    pub fn total<'a>(queues: impl IntoIterator<Item = &'a Self>) -> Self {
        let total = Self::default();
        for one in queues {
            let sums = [
                (&total.rx_packets, &one.rx_packets),
                (&total.rx_bytes, &one.rx_bytes),
                (&total.rx_lost, &one.rx_lost),
                (&total.rx_malformed, &one.rx_malformed),
                (&total.tx_packets, &one.tx_packets),
                (&total.tx_bytes, &one.tx_bytes),
                (&total.tx_congested, &one.tx_congested),
                (&total.tx_failed, &one.tx_failed),
            ];
            for (sum, one) in sums {
                sum.add(one.get());
            }
        }
        total
    }
}
