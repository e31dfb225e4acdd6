//! A testbed of two interfaces of this host: any switch may stand between them ([`crate::load::Wire`]).
//!
//! A trial in which the receiver's socket overflowed (`rx_socket_full`) says more of this host than of the device, and
//! its book shows it.

use std::io;
use std::sync::atomic::Ordering;

use super::{MARGIN, Order, Taken, Testbed};
use crate::load::{Rate, Shape, Wire};

/// A device between two interfaces.
pub struct PairBed {
    wire: Wire,
    shape: Shape,
}

impl PairBed {
    /// Frames of that shape from one end of the wire to the other. Without a listening end nothing ever arrives.
    pub fn new(wire: Wire, shape: Shape) -> Self {
        Self { wire, shape }
    }
}

impl Testbed for PairBed {
    fn name(&self) -> String {
        let (tx, rx) = self.wire.names();
        format!("device between {tx} and {}", rx.unwrap_or("nothing"))
    }

    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn largest(&self) -> usize {
        self.wire.largest(self.shape.tunnel_bytes())
    }

    /// No more than the generator can send: that is the line rate here.
    fn highest(&self, flood: &Taken) -> f64 {
        let sent = flood.offered as f64 / flood.seconds.max(1e-9);
        sent.min(flood.rate() * MARGIN)
    }

    fn burst_rate(&self, _most: f64) -> Rate {
        Rate::Max
    }

    fn notes(&self) -> Vec<String> {
        let (tx, rx) = self.wire.names();
        vec![format!(
            "Generator and counter are packet sockets on {tx} and {} of this host, on two of its processors; what they \
             cannot send or take in time limits every figure.",
            rx.unwrap_or("nothing")
        )]
    }

    fn run(&mut self, order: &Order<'_>) -> io::Result<Taken> {
        let passed = self.wire.pass(order)?;
        if order.stop.load(Ordering::SeqCst) {
            // Half a trial is no figure.
            return Err(io::ErrorKind::Interrupted.into());
        }
        let Some(tally) = passed.tally else { return Err(io::Error::other("nobody listens")) };
        let (counts, leaked) = (tally.allowed(), tally.denied());
        Ok(Taken {
            offered: passed.offered.sent,
            refused: passed.offered.refused(),
            received: tally.received(),
            duplicated: counts.duplicated.saturating_add(leaked.duplicated),
            reordered: counts.reordered.saturating_add(leaked.reordered),
            denied: passed.denied,
            leaked: leaked.received,
            dropped: passed.dropped,
            seconds: passed.offered.seconds,
            latency: tally.latency().clone(),
        })
    }
}
