//! How much of the fragment table each in-port, and each source behind it, takes up.
//!
//! A source may take an eighth of the datagrams and a quarter of the held frames, a port half of both: a pod
//! that sends only beginnings, or only ends, fills its own share. Counters come with the first datagram of
//! their holder and go with the last, so there are never more than two for each datagram in the table.

use std::collections::HashMap;
use std::net::IpAddr;

use ahash::RandomState;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Holder {
    Port(u32),
    Source(u32, IpAddr),
}

#[derive(Clone, Copy, Default)]
struct Usage {
    datagrams: usize,
    held: usize,
}

/// The counters.
pub(super) struct Shares {
    usage: HashMap<Holder, Usage, RandomState>,
    datagrams: usize,
    held: usize,
}

impl Shares {
    /// Shares of a table of so many datagrams and held frames.
    pub(super) fn new(datagrams: usize, held: usize) -> Self {
        // Twice the room that can be needed: the map then never grows, however often holders come and go.
        let usage = HashMap::with_capacity_and_hasher(datagrams.saturating_mul(4), RandomState::new());
        Self { usage, datagrams, held }
    }

    /// Takes up a datagram; `false` when a share is used up.
    pub(super) fn open(&mut self, port: u32, src: IpAddr) -> bool {
        let (of_port, of_source) = ((self.datagrams / 2).max(1), (self.datagrams / 8).max(1));
        if self.of(Holder::Port(port)).datagrams >= of_port
            || self.of(Holder::Source(port, src)).datagrams >= of_source
        {
            return false;
        }
        for holder in holders(port, src) {
            self.usage.entry(holder).or_default().datagrams += 1;
        }
        true
    }

    /// Takes up a held frame of a datagram that is open; `false` when a share is used up.
    pub(super) fn hold(&mut self, port: u32, src: IpAddr) -> bool {
        let (of_port, of_source) = ((self.held / 2).max(1), (self.held / 4).max(1));
        if self.of(Holder::Port(port)).held >= of_port || self.of(Holder::Source(port, src)).held >= of_source
        {
            return false;
        }
        for holder in holders(port, src) {
            self.usage.entry(holder).or_default().held += 1;
        }
        true
    }

    /// Gives back `frames` held frames.
    pub(super) fn release(&mut self, port: u32, src: IpAddr, frames: usize) {
        for holder in holders(port, src) {
            if let Some(usage) = self.usage.get_mut(&holder) {
                usage.held = usage.held.saturating_sub(frames);
            }
        }
    }

    /// Gives back a datagram that holds no frames any more.
    pub(super) fn close(&mut self, port: u32, src: IpAddr) {
        for holder in holders(port, src) {
            if let Some(usage) = self.usage.get_mut(&holder) {
                usage.datagrams = usage.datagrams.saturating_sub(1);
                if usage.datagrams == 0 {
                    self.usage.remove(&holder);
                }
            }
        }
    }

    fn of(&self, holder: Holder) -> Usage {
        self.usage.get(&holder).copied().unwrap_or_default()
    }
}

const fn holders(port: u32, src: IpAddr) -> [Holder; 2] {
    [Holder::Port(port), Holder::Source(port, src)]
}
