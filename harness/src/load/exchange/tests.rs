//! Exchanges through the pipeline in memory, and over a wire that loses.

use std::time::Duration;

use proptest::prelude::*;

use super::bed::Link;
use super::nic::Nic;
use super::*;

fn exchange() -> Exchange {
    Exchange {
        connections: 4,
        request: 64,
        response: 200,
        per_connection: 0,
        rate: Rate::Max,
        duration: Duration::from_secs(20),
        count: 500,
        port: 8000,
        seed: 1,
    }
}

fn run(bed: &mut ExchangeBed, exchange: &Exchange) -> Exchanged {
    let exchanged = pass(bed, exchange, &AtomicBool::new(false)).unwrap();
    let report = ExchangeReport::of(bed, exchange, &exchanged);
    assert!(report.adds_up, "{report}");
    exchanged
}

#[test]
fn requests_are_answered_through_the_pipeline_and_every_segment_is_counted() {
    let mut bed = ExchangeBed::memory(10).unwrap();
    for (request, response) in [(1, 1), (64, 1024), (20_000, 100_000)] {
        let exchanged = run(&mut bed, &Exchange { request, response, ..exchange() });
        let Questions { asked, answered, .. } = exchanged.questions;
        assert_eq!((asked, answered), (500, 500), "{request} {response}: {exchanged:?}");
        assert_eq!(exchanged.connected, 4);
        assert_eq!(exchanged.retransmitted, [0, 0]);
        assert_eq!((exchanged.book.lost, exchanged.book.dropped.len()), (0, 0), "{:?}", exchanged.book);
        assert_eq!((exchanged.responses.len(), exchanged.handshakes.len()), (500, 4));
        // SYN, SYN|ACK, goodbyes of both, and at the least a segment each way for each request.
        assert!(exchanged.book.offered >= 1_000 + 4 * 4);
    }
}

#[test]
fn a_connection_for_each_request_is_a_connection_for_each_request() {
    let mut bed = ExchangeBed::memory(10).unwrap();
    for (per_connection, connected) in [(1, 500), (5, 100)] {
        let exchanged = run(&mut bed, &Exchange { per_connection, ..exchange() });
        assert_eq!(exchanged.questions.answered, 500);
        // The last ones of the four may have been asked less often.
        assert!((connected..connected + 4).contains(&exchanged.connected), "{exchanged:?}");
        assert_eq!(exchanged.retransmitted, [0, 0]);
        assert_eq!(exchanged.book.lost, 0);
    }
}

#[test]
fn source_ports_that_come_round_again_are_no_retransmissions() {
    let mut bed = ExchangeBed::memory(10).unwrap();
    let exchanged =
        run(&mut bed, &Exchange { per_connection: 1, count: 52_000, connections: 16, ..exchange() });
    assert!(exchanged.connected > 50_000, "{exchanged:?}");
    assert_eq!(exchanged.retransmitted, [0, 0]);
}

#[test]
fn a_rate_is_kept_or_what_was_left_out_is_said() {
    let mut bed = ExchangeBed::memory(10).unwrap();
    let paced = Exchange {
        rate: Rate::PerSecond(1_000.0),
        duration: Duration::from_millis(300),
        count: u64::MAX,
        ..exchange()
    };
    let exchanged = run(&mut bed, &paced);
    assert_eq!(exchanged.questions.asked + exchanged.left_out, 300);
    assert!(exchanged.questions.answered > 0 && exchanged.seconds > 0.1, "{exchanged:?}");
}

#[test]
fn what_a_policy_denies_times_out_and_is_booked_as_denied() {
    let mut bed = ExchangeBed::memory(10).unwrap();
    let denied = Exchange { port: 7_000, count: 3, connections: 3, ..exchange() };
    let exchanged = run(&mut bed, &denied);
    assert_eq!((exchanged.questions.answered, exchanged.questions.timed_out), (0, 3), "{exchanged:?}");
    let book = &exchanged.book;
    assert_eq!(book.dropped.get("policy_deny"), Some(&book.offered), "{book:?}");
    assert!(exchanged.retransmitted[0] > 0, "SYNs are said again");
}

#[test]
fn an_interrupt_ends_it_with_everything_counted() {
    let mut bed = ExchangeBed::memory(10).unwrap();
    let endless = Exchange { count: u64::MAX, ..exchange() };
    let exchanged = pass(&mut bed, &endless, &AtomicBool::new(true)).unwrap();
    assert!(exchanged.interrupted && exchanged.questions.adds_up() && exchanged.book.adds_up());
}

#[test]
fn figures_out_of_range_are_refused() {
    for wrong in [
        Exchange { connections: 0, ..exchange() },
        Exchange { connections: MOST_CONNECTIONS + 1, ..exchange() },
        Exchange { request: 0, ..exchange() },
        Exchange { response: MOST_BYTES + 1, ..exchange() },
        Exchange { port: 0, ..exchange() },
    ] {
        assert!(wrong.check().is_err(), "{wrong:?}");
    }
}

/// A wire that drops and repeats segments by a pattern, and knows what it did.
struct Leaky {
    pattern: Vec<u8>,
    next: usize,
    sent: u64,
    dropped: u64,
    repeated: u64,
}

impl Link for Leaky {
    fn begin(&mut self) {}

    fn carry(&mut self, [client, server]: [&mut Nic; 2], _now: Duration) -> io::Result<usize> {
        Ok(self.one_way(client, server) + self.one_way(server, client))
    }

    fn drain(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn rest(&self) {
        std::thread::yield_now();
    }

    fn book(&self, arrived: u64) -> Book {
        Book::close(self.sent, arrived, 0, &[("pattern".to_owned(), self.dropped)])
    }
}

impl Leaky {
    fn one_way(&mut self, from: &mut Nic, to: &mut Nic) -> usize {
        let moved = from.segments.len();
        for frame in std::mem::take(&mut from.segments) {
            self.sent += 1;
            let fate = self.pattern[self.next % self.pattern.len()];
            self.next += 1;
            match fate {
                0 => self.dropped += 1,
                1 => {
                    self.repeated += 1;
                    to.arrive(&frame, None);
                    to.arrive(&frame, None);
                }
                _ => to.arrive(&frame, None),
            }
        }
        moved
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn whatever_a_wire_does_requests_and_segments_add_up(
        // One in some tens is lost or comes twice.
        pattern in prop::collection::vec(0_u8..40, 50..200),
        (connections, per_connection) in (1_usize..6, 0_u64..3),
        (request, response) in (1_usize..4_000, 1_usize..4_000),
    ) {
        let card = |last, next: u8| end::Card {
            mac: vxlan::mac::Mac([2, 0, 0, 0, 0, last]),
            address: [192, 0, 2, last].into(),
            next_hop: Some(vxlan::mac::Mac([2, 0, 0, 0, 0, next])),
            mtu: 1_500,
        };
        let link = Leaky { pattern, next: 0, sent: 0, dropped: 0, repeated: 0 };
        let mut bed = ExchangeBed::with("a wire", [card(1, 2), card(2, 1)], Box::new(link));
        let few = Exchange {
            connections,
            per_connection,
            request,
            response,
            count: 20,
            duration: Duration::from_millis(400),
            ..exchange()
        };
        let exchanged = pass(&mut bed, &few, &AtomicBool::new(false)).unwrap();
        prop_assert!(exchanged.questions.adds_up(), "{:?}", exchanged.questions);
        prop_assert!(exchanged.book.adds_up(), "{:?}", exchanged.book);
        prop_assert_eq!(exchanged.book.lost, 0);
        prop_assert_eq!(exchanged.responses.len(), exchanged.questions.answered);
    }
}
