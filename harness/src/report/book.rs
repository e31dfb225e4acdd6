//! The books of a trial: `offered = received + Σ dropped + lost`, to the packet.
//!
//! Drops are those that somebody counted and named; what is missing and nobody owns up to is *lost*. Counters of a
//! device see other packets too (neighbour discovery, say), so a reason is believed for no more packets than are
//! missing; what it counted beyond that is kept apart as `surplus`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// Where the packets of a trial went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Book {
    /// What was measured.
    pub group: String,
    /// On what.
    pub subject: String,
    /// In which round, from 1.
    pub round: usize,
    /// Packets that left the generators.
    pub offered: u64,
    /// Packets that arrived.
    pub received: u64,
    /// Packets whose drop was counted, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Packets that went missing without a word.
    pub lost: u64,
    /// Packets that arrived more than once or without being sent.
    pub excess: u64,
    /// Packets the sender's own kernel refused to take: they were never offered.
    pub refused: u64,
    /// What counters of drops saw beyond the packets that are missing: other traffic.
    pub surplus: u64,
}

impl Book {
    /// Closes the books of a trial. `counted` are reasons and their counts, the most trustworthy first.
    pub fn close(offered: u64, received: u64, refused: u64, counted: &[(String, u64)]) -> Self {
        let mut missing = offered.saturating_sub(received);
        let mut book =
            Self { offered, received, refused, excess: received.saturating_sub(offered), ..Self::default() };
        for (reason, count) in counted {
            let believed = missing.min(*count);
            missing = missing.saturating_sub(believed);
            book.surplus = book.surplus.saturating_add(count.saturating_sub(believed));
            if believed > 0 {
                let sum = book.dropped.entry(reason.clone()).or_default();
                *sum = sum.saturating_add(believed);
            }
        }
        book.lost = missing;
        book
    }

    /// Whether every packet is accounted for.
    pub fn adds_up(&self) -> bool {
        let dropped: u128 = self.dropped.values().map(|&count| u128::from(count)).sum();
        let ends = u128::from(self.received) + dropped + u128::from(self.lost);
        u128::from(self.offered) + u128::from(self.excess) == ends
    }

    /// The sum for people, like `100 = received 90 + queue_full 7 + lost 3`.
    // Writing to a String cannot fail.
    pub fn equation(&self) -> String {
        let Self { offered, received, excess, dropped, lost, .. } = self;
        let mut text = offered.to_string();
        if *excess > 0 {
            let _ = write!(text, " + {excess} in excess");
        }
        let _ = write!(text, " = received {received}");
        for (reason, count) in dropped {
            let _ = write!(text, " + {reason} {count}");
        }
        let _ = write!(text, " + lost {lost}");
        text
    }
}

/// What reports for people say behind a sum.
pub(crate) const fn whether(adds_up: bool) -> &'static str {
    if adds_up { "adds up" } else { "DOES NOT ADD UP: a bug of weir, please report it" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_sum_can_be_read() {
        let book = Book::close(100, 60, 0, &[("a".to_owned(), 30), ("b".to_owned(), 4)]);
        assert_eq!(book.equation(), "100 = received 60 + a 30 + b 4 + lost 6");
        assert_eq!(Book::close(1, 3, 0, &[]).equation(), "1 + 2 in excess = received 3 + lost 0");
    }

    #[test]
    fn what_nobody_owns_up_to_is_lost() {
        let book = Book::close(100, 60, 0, &[("a".to_owned(), 30), ("b".to_owned(), 4)]);
        assert_eq!((book.lost, book.surplus), (6, 0));
        assert_eq!(book.dropped, BTreeMap::from([("a".to_owned(), 30), ("b".to_owned(), 4)]));
    }

    #[test]
    fn other_traffic_is_no_drop_of_ours() {
        let book = Book::close(100, 98, 0, &[("a".to_owned(), 1), ("b".to_owned(), 5)]);
        assert_eq!((book.lost, book.surplus), (0, 4));
        assert_eq!(book.dropped["b"], 1);
    }

    proptest! {
        #[test]
        fn books_always_add_up(offered: u64, received: u64, counts: Vec<u64>) {
            let counted: Vec<_> = counts.iter().enumerate().map(|(n, &c)| (format!("r{}", n % 3), c)).collect();
            prop_assert!(Book::close(offered, received, 0, &counted).adds_up());
        }
    }
}
