//! Address learning of a device that learns, by a third interface (RFC 2889 sections 5.7 and 5.8).
//!
//! ```text
//!  TX ── n frames from n new MACs ──► device
//!                                     device ◄── n frames to those MACs ── RX
//!  monitor ◄── what it does not know, it floods ──┘
//! ```
//! An address is learned if the frame to it is not seen at the monitor. Before the first trial frames to addresses that
//! nobody ever had have to be seen there, or the monitor is deaf and nothing would be shown. Questions are asked
//! slowly, so that the monitor misses none. Quantities: the highest rate in addresses per second at which all of a
//! thousand were learned, raised by doubling; and the most addresses learned at once at half that rate, likewise: a lower
//! bound where the trials end before the device does. Weir itself learns nothing and floods nothing.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::load::{Macs, Order, Rate, Shape, Wire};
use crate::report::{Figure, Run};

/// Addresses of a trial of the rate.
const TAUGHT: u32 = 1024;
/// First rate, in addresses per second.
const FIRST_RATE: f64 = 1_000.0;
/// Rate of questions, in frames per second.
const QUESTIONS: f64 = 20_000.0;
/// Longest time of a trial.
const LONGEST: Duration = Duration::from_mins(5);

/// A device between an interface that teaches, one that asks, and one that sees what is flooded.
pub struct Learning {
    teach: Wire,
    ask: Wire,
    shape: Shape,
    /// MACs used so far.
    used: u32,
}

/// What came of a trial.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Learned {
    /// Addresses per second, as sent.
    rate: f64,
    /// Addresses that were asked for: of a count that could not be sent in time, the first ones.
    asked: u64,
    /// Whether none was asked for in vain.
    all: bool,
}

impl Learning {
    /// Opens the three interfaces of this namespace; the shape says addresses, and the MAC of who asks.
    ///
    /// # Errors
    /// One cannot be opened.
    pub fn open(tx: &str, rx: &str, monitor: &str, drain: Duration, shape: &Shape) -> io::Result<Self> {
        let (teach, ask) = (Wire::open(tx, None, drain)?, Wire::open(rx, Some(monitor), drain)?);
        Ok(Self { teach, ask, shape: shape.clone(), used: 0 })
    }

    /// Tries it, at most `addresses` at once, and adds both figures to the run.
    ///
    /// # Errors
    /// An interface is gone, or the monitor sees nothing of what has to be flooded.
    pub fn run(&mut self, run: &mut Run, addresses: u32, stop: &AtomicBool) -> io::Result<()> {
        let (asked, flooded) = self.ask(0xff00_0000, TAUGHT, stop)?;
        if flooded < asked || asked == 0 {
            return Err(io::Error::other(format!(
                "the monitor saw {flooded} of {asked} frames to addresses that nobody has: it has to be another port of \
                 the same network of the device"
            )));
        }
        let (mut best, mut rate) = (0.0_f64, FIRST_RATE);
        let mut bounded = false;
        while !stop.load(Ordering::SeqCst) {
            let learned = self.trial(TAUGHT, rate, stop)?;
            if !learned.all {
                bounded = true;
                break;
            }
            best = best.max(learned.rate);
            if learned.rate < rate * 0.9 {
                break;
            }
            rate *= 2.0;
        }
        let (mut held, mut count) = (0_u64, TAUGHT);
        while best > 0.0 && count <= addresses && !stop.load(Ordering::SeqCst) {
            let learned = self.trial(count, best / 2.0, stop)?;
            if !learned.all {
                break;
            }
            held = held.max(learned.asked);
            count = count.saturating_mul(2);
        }
        run.interrupted |= stop.load(Ordering::SeqCst);
        let mut add = |quantity: &str, unit: &str, value: f64| {
            run.add("address learning", "device", Figure::more(quantity, unit), value);
        };
        add("learning rate", "address/s", best);
        add("addresses held", "address", held as f64);
        if !bounded {
            run.notes
                .push("Address learning: the generator's rate was reached before the device's.".to_owned());
        }
        if count > addresses {
            run.notes
                .push(format!("Address learning: no more than {addresses} addresses were tried at once."));
        }
        Ok(())
    }

    fn trial(&mut self, count: u32, rate: f64, stop: &AtomicBool) -> io::Result<Learned> {
        let first = self.used;
        self.used = self.used.wrapping_add(count);
        let macs = Some(Macs { destination: false, first, count });
        let shape = Shape { macs, ..self.shape.clone() };
        let passed = self.teach.pass(&order(&shape, rate, u64::from(count), stop))?;
        let taught = u32::try_from(passed.offered.sent).unwrap_or(count);
        let (asked, flooded) = self.ask(first, taught, stop)?;
        // Those that were refused are missing somewhere among the others.
        let all = passed.offered.refused() == 0 && asked > 0 && flooded == 0;
        Ok(Learned { rate: passed.offered.rate(), asked, all })
    }

    /// Frames sent to so many addresses, and those of them that were flooded.
    fn ask(&mut self, first: u32, count: u32, stop: &AtomicBool) -> io::Result<(u64, u64)> {
        let macs = Some(Macs { destination: true, first, count });
        let mut shape = Shape { macs, ..self.shape.clone() };
        // Who asks is who was spoken to.
        shape.ends.src_mac = self.shape.ends.dst_mac;
        let passed = self.ask.pass(&order(&shape, QUESTIONS, u64::from(count), stop))?;
        Ok((passed.offered.sent, passed.tally.map_or(0, |tally| tally.received())))
    }
}

fn order<'a>(shape: &'a Shape, rate: f64, frames: u64, stop: &'a AtomicBool) -> Order<'a> {
    Order { shape, rate: Rate::PerSecond(rate), duration: LONGEST, frames, stop }
}
