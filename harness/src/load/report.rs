//! What a load on interfaces came to, as data and for people.
//!
//! `offered + excess = received + Σ dropped + lost`, to the frame. Frames that were meant to be denied and did not come
//! are dropped as `denied`; they are no lost probes either.

use std::fmt;
use std::sync::atomic::Ordering;

use serde::Serialize;

use super::wire::denied;
use super::{Offered, Order, Passed, Rate, Tally, Wire};
use crate::report::{Book, Latency, quantity, whether};

/// What a load did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LoadReport {
    /// The interface it was sent by.
    pub interface: String,
    /// What chose.
    pub seed: u64,
    /// Frames per second that were asked for; none: as fast as it goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked_pps: Option<f64>,
    /// Frames per second that were sent.
    pub reached_pps: f64,
    /// What was sent, and what not.
    pub offered: Offered,
    /// Frames that the interface says it sent meanwhile, those of others among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface_sent: Option<u64>,
    /// Frames that it says it dropped instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface_dropped: Option<u64>,
    /// What came back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrived: Option<Arrived>,
    /// Whether it was ended early.
    pub interrupted: bool,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Arrived {
    /// The interface it came by.
    pub interface: String,
    /// Where every frame went.
    pub book: Book,
    /// Frames that came again; in the book they are `excess`.
    pub duplicated: u64,
    /// Frames that came after later ones.
    pub reordered: u64,
    /// Frames that were meant to be denied and came all the same.
    pub denied: u64,
    /// Frames of others.
    pub foreign: u64,
    /// Frames per second that came.
    pub pps: f64,
    /// From the generator to the counter. Lost frames are in no percentile.
    pub latency: Latency,
}

impl Arrived {
    fn of(interface: &str, offered: &Offered, tally: &Tally, dropped: &[(String, u64)]) -> Self {
        let (allowed, leaked) = (tally.allowed(), tally.denied());
        let duplicated = allowed.duplicated.saturating_add(leaked.duplicated);
        let book = Book::close(offered.sent, tally.received(), offered.refused(), dropped);
        let (excess, received) =
            (book.excess.saturating_add(duplicated), book.received.saturating_add(duplicated));
        let lost = offered.sent.saturating_sub(tally.received()).saturating_sub(denied(offered, tally));
        Self {
            interface: interface.to_owned(),
            book: Book { group: "load".to_owned(), round: 1, excess, received, ..book },
            duplicated,
            reordered: allowed.reordered.saturating_add(leaked.reordered),
            denied: leaked.received,
            foreign: tally.foreign(),
            pps: if offered.seconds > 0.0 { tally.received() as f64 / offered.seconds } else { 0.0 },
            latency: Latency::of("load", interface, tally.latency(), lost),
        }
    }
}

impl LoadReport {
    /// Of an order that has been passed.
    pub fn of(wire: &Wire, order: &Order<'_>, passed: &Passed) -> Self {
        let offered = passed.offered;
        let (tx, rx) = wire.names();
        let arrived = passed.tally.as_ref().zip(rx);
        Self {
            interface: tx.to_owned(),
            seed: order.shape.seed,
            asked_pps: if let Rate::PerSecond(rate) = order.rate { Some(rate) } else { None },
            reached_pps: offered.rate(),
            offered,
            interface_sent: passed.interface.map(|counted| counted.sent),
            interface_dropped: passed.interface.map(|counted| counted.tx_dropped),
            arrived: arrived.map(|(tally, rx)| Arrived::of(rx, &offered, tally, &passed.dropped)),
            interrupted: order.stop.load(Ordering::SeqCst),
        }
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Offered { sent, congested, failed, left_out, denied, new_flows, seconds } = self.offered;
        let asked = self.asked_pps.map_or("max".to_owned(), |rate| quantity(rate, "packet/s"));
        writeln!(
            f,
            "{}: {sent} packets in {seconds:.2} s, {} reached, {asked} asked for",
            self.interface,
            quantity(self.reached_pps, "packet/s")
        )?;
        writeln!(f, "not offered: {congested} queue full, {failed} refused, {left_out} too late")?;
        if denied > 0 || new_flows > 0 {
            writeln!(f, "of those made: {denied} to be denied, {new_flows} that began a flow")?;
        }
        if let (Some(sent), Some(dropped)) = (self.interface_sent, self.interface_dropped) {
            writeln!(f, "the interface counts {sent} sent and {dropped} dropped meanwhile")?;
        }
        let Some(arrived) = &self.arrived else { return Ok(()) };
        let Arrived { interface, book, latency, .. } = arrived;
        writeln!(f, "{interface}: offered {}: {}", book.equation(), whether(book.adds_up()))?;
        writeln!(
            f,
            "{} duplicated, {} reordered, {} though to be denied, {} of others",
            arrived.duplicated, arrived.reordered, arrived.denied, arrived.foreign
        )?;
        let Latency { count, lost, .. } = latency;
        let (summary, longest) = (latency.summary(), latency.longest());
        writeln!(
            f,
            "latency of {count}: {summary}, longest {longest}; {lost} probes lost are in none of them"
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::load::tests::datagram;
    use crate::load::{Mark, Stamp};

    proptest! {
        #[test]
        fn whatever_comes_back_the_report_adds_up(
            fates in prop::collection::vec((any::<bool>(), 0_u8..4), 0..200),
            refused in 0_u64..50,
            counted in prop::collection::vec(0_u64..100, 0..3),
        ) {
            let mark = Mark::of(1, 1);
            let mut tally = Tally::new(mark);
            let mut numbers = [0_u32; 2];
            for &(denied, fate) in &fates {
                let number = &mut numbers[usize::from(denied)];
                let frame = datagram(Stamp { mark, denied, number: *number, sent: 0 });
                *number += 1;
                // Lost, once, or twice.
                (0..fate.min(2)).for_each(|_| tally.take(&frame, 5));
            }
            let sent = fates.len() as u64;
            let offered = Offered {
                sent,
                congested: refused,
                denied: fates.iter().filter(|(denied, _)| *denied).count() as u64 + refused,
                ..Offered::default()
            };
            let names = ["a", "b", "c"];
            let mut dropped = vec![("denied".to_owned(), denied(&offered, &tally))];
            dropped.extend(names.iter().zip(&counted).map(|(name, count)| ((*name).to_owned(), *count)));
            let arrived = Arrived::of("rx", &offered, &tally, &dropped);
            prop_assert!(arrived.book.adds_up(), "{:?}", arrived.book);
            prop_assert_eq!(arrived.book.offered, sent);
            prop_assert_eq!(arrived.book.received - arrived.duplicated, tally.received());
            prop_assert_eq!(arrived.book.excess, arrived.duplicated);
            prop_assert_eq!(arrived.latency.count, tally.received());
            let missing = fates.iter().filter(|(_, fate)| *fate == 0);
            let meant = missing.filter(|(denied, _)| *denied).count() as u64;
            prop_assert_eq!(arrived.book.dropped.get("denied").copied().unwrap_or(0), meant);
        }
    }
}
