//! The profile on devices whose figures are known, and on the pipeline itself.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use proptest::prelude::*;

use super::{MARGIN, MemoryBed, Order, Plan, ProfileError, Taken, Testbed, leaked, run};
use crate::bench::Direction;
use crate::load::{Ends, Kind, Rate, Shape, Sizes};
use crate::report::Run;

/// Forwards `knee` frames per second and holds `queue` more; the connection rate is a quarter of it.
struct Leaky {
    knee: f64,
    queue: f64,
    shape: Shape,
    trials: usize,
    /// Interrupts itself in this trial.
    ends: Option<usize>,
    /// What the generator can send.
    generator: f64,
    /// Lets half of what is to be denied pass.
    leaks: bool,
}

impl Leaky {
    fn new(knee: f64, queue: f64) -> Self {
        let mac = vxlan::mac::Mac([2, 0, 0, 0, 0, 1]);
        let ends = Ends {
            src_mac: mac,
            dst_mac: mac,
            src: "198.18.0.1/32".parse().unwrap(),
            dst: [198, 19, 0, 1].into(),
        };
        let generator = f64::INFINITY;
        Self { knee, queue, shape: Shape::between(ends), trials: 0, ends: None, generator, leaks: false }
    }
}

impl Testbed for Leaky {
    fn name(&self) -> String {
        "leaky bucket".to_owned()
    }

    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn largest(&self) -> usize {
        1518
    }

    fn highest(&self, flood: &Taken) -> f64 {
        flood.rate() * MARGIN
    }

    fn burst_rate(&self, _most: f64) -> Rate {
        Rate::Max
    }

    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    fn run(&mut self, order: &Order<'_>) -> io::Result<Taken> {
        self.trials += 1;
        if self.ends == Some(self.trials) {
            order.stop.store(true, Ordering::SeqCst);
            return Err(io::ErrorKind::Interrupted.into());
        }
        let knee = if order.shape.kind == Kind::RandomFlows { self.knee / 4.0 } else { self.knee };
        let rate = match order.rate {
            Rate::PerSecond(rate) => rate,
            Rate::Max => knee * 3.0,
        };
        let sent = rate.min(self.generator);
        let offered = (sent * order.duration.as_secs_f64()).floor().min(order.frames as f64);
        let seconds = offered / sent;
        let forwarded = offered.min((knee * seconds + self.queue).floor()) as u64;
        // Of what it gets through its queue it denies what it was told to, or half of that.
        let meant = (forwarded as f64 * order.shape.denied).round() as u64;
        let (denied, leaked) = if self.leaks { (meant / 2, meant - meant / 2) } else { (meant, 0) };
        let received = forwarded - denied;
        let mut latency = Histogram::new(3).unwrap();
        latency.record_n(1_000, received).unwrap();
        let (offered, dropped) = (offered as u64, offered as u64 - forwarded);
        Ok(Taken {
            offered,
            refused: 0,
            received,
            duplicated: 0,
            reordered: 0,
            denied,
            leaked,
            dropped: vec![("policy_deny".to_owned(), denied), ("full".to_owned(), dropped)],
            seconds,
            latency,
        })
    }
}

fn plan(sizes: &[usize]) -> Plan {
    let sizes = sizes.iter().map(|&size| Sizes::Fixed(size)).collect();
    Plan { sizes, ..Plan::rfc2544().shortened(Duration::from_secs(1)) }
}

fn figure(run: &Run, group: &str, subject: &str, quantity: &str) -> f64 {
    let series = run.find(group, subject, quantity);
    series.unwrap_or_else(|| panic!("{group}: {subject}: {quantity}: {:?}", run.notes)).rounds[0]
}

#[test]
fn every_figure_of_a_known_device_is_found() {
    let mut bed = Leaky::new(250_000.0, 100.0);
    let run = run(&mut bed, &plan(&[64, 512]), &AtomicBool::new(false), &mut |_| {}).unwrap();
    for group in ["64 bytes", "512 bytes"] {
        let ndr = figure(&run, "throughput", group, "NDR");
        assert!((0.975..=1.001).contains(&(ndr / 250_000.0)), "{ndr}");
        let pdr = figure(&run, "throughput", group, "PDR");
        assert!((0.975..=1.01).contains(&(pdr / 250_000.0)), "{pdr}");
    }
    let connections = figure(&run, "connection rate", "64 bytes", "NDR");
    assert!((0.97..=1.01).contains(&(connections / 62_500.0)), "{connections}");
    assert!(figure(&run, "64 bytes, latency", "at 90 % of NDR", "p99") <= 1.1e-6);
    // At three times the knee two thirds of a burst have to wait, of which the queue holds 100.
    let burst = figure(&run, "back-to-back", "64 bytes", "longest burst");
    assert!((144.0..=150.0).contains(&burst), "{burst}");
    assert!(run.adds_up() && run.books.iter().all(|book| book.lost == 0));
    assert!(run.notes.iter().any(|note| note.contains("Not conformant")));
    assert!(run.title.contains("not conformant"));
    let loss = run.curves.iter().find(|curve| curve.group == "64 bytes, frame loss rate").unwrap();
    assert!(loss.points[0].loss_ratio > 0.05);
    let clean = loss.points.iter().rev().take(2);
    assert!(clean.into_iter().all(|point| point.loss_ratio == 0.0), "{loss:?}");
}

#[test]
fn an_interrupt_keeps_what_was_measured() {
    for ends in [3, 10, 40] {
        let mut bed = Leaky { ends: Some(ends), ..Leaky::new(1e5, 10.0) };
        let run = run(&mut bed, &plan(&[64, 128]), &AtomicBool::new(false), &mut |_| {}).unwrap();
        assert!(run.interrupted && run.adds_up());
        assert_eq!(run.books.len(), ends - 1, "every trial that ended is in the books");
    }
    let mut bed = Leaky { ends: Some(1), ..Leaky::new(1e5, 10.0) };
    let nothing = run(&mut bed, &plan(&[64]), &AtomicBool::new(false), &mut |_| {});
    assert!(matches!(nothing, Err(ProfileError::Nothing)));
}

#[test]
fn a_limit_of_the_generator_is_not_taken_for_one_of_the_device() {
    let mut bed = Leaky { generator: 50_000.0, ..Leaky::new(250_000.0, 10.0) };
    let run = run(&mut bed, &plan(&[64]), &AtomicBool::new(false), &mut |_| {}).unwrap();
    assert!(figure(&run, "throughput", "64 bytes", "NDR") <= 50_000.0);
    let said = run.notes.iter().filter(|note| note.contains("NDR ends where the generator could not send"));
    assert!(said.count() > 0, "{:?}", run.notes);
}

#[test]
fn what_was_to_be_denied_is_no_loss_when_it_is_and_a_loss_when_it_is_not() {
    let with = |denied: f64, leaks: bool| {
        let bed = Leaky::new(250_000.0, 100.0);
        let mut bed = Leaky { shape: Shape { denied, ..bed.shape.clone() }, leaks, ..bed };
        run(&mut bed, &plan(&[64]), &AtomicBool::new(false), &mut |_| {}).unwrap()
    };
    let strict = with(0.3, false);
    let ndr = figure(&strict, "throughput", "64 bytes", "NDR");
    assert!((0.975..=1.001).contains(&(ndr / 250_000.0)), "{ndr}");
    assert!(!leaked(&strict) && figure(&strict, "denied traffic", "device", "denied") > 0.0);
    assert!(strict.latencies.iter().all(|latency| latency.lost == 0), "denied probes are not lost");
    assert!(strict.adds_up() && strict.books.iter().all(|book| book.lost == 0));
    let open = with(0.3, true);
    assert!(leaked(&open) && open.adds_up());
    assert!(open.curves.iter().all(|curve| curve.found.is_empty()), "{:?}", open.curves);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_is_offered_the_pipeline_accounts_for_every_frame(
        (direction, kind, denied) in (0_usize..3, any::<bool>(), prop_oneof![Just(0.0), 0.0..0.9_f64]),
        (flows, seed, size) in (1_u32..5_000, any::<u64>(), 64_usize..1_400),
        rate in prop_oneof![Just(Rate::Max), (1e4..2e7_f64).prop_map(Rate::PerSecond)],
    ) {
        let mut bed = MemoryBed::new(Direction::ALL[direction], 5, flows, seed).unwrap().with_denied(denied);
        let kind = if kind { Kind::Flows } else { Kind::RandomFlows };
        let shape = Shape { sizes: Sizes::Fixed(size), kind, ..bed.shape().clone() };
        let stop = AtomicBool::new(false);
        let duration = Duration::from_millis(2);
        for _ in 0..2 {
            let taken = bed.run(&Order { shape: &shape, rate, duration, frames: 3_000, stop: &stop }).unwrap();
            let dropped: u64 = taken.dropped.iter().map(|(_, count)| count).sum();
            prop_assert_eq!(taken.offered, taken.received + dropped, "{:?}", taken.dropped);
            let denied = taken.dropped.iter().find(|(reason, _)| reason == "policy_deny");
            prop_assert_eq!(taken.denied, denied.map_or(0, |(_, count)| *count));
            prop_assert_eq!(taken.leaked, 0);
            prop_assert!(taken.as_meant() <= taken.offered);
        }
    }
}

#[test]
fn a_device_that_forwards_nothing_is_an_error() {
    let mut bed = Leaky::new(0.0, 0.0);
    let outcome = run(&mut bed, &plan(&[64]), &AtomicBool::new(false), &mut |_| {});
    assert!(matches!(outcome, Err(ProfileError::Deaf { .. })));
}

#[test]
fn the_pipeline_in_memory_forwards_what_it_can_and_accounts_for_the_rest() {
    for direction in Direction::ALL {
        let mut bed = MemoryBed::new(direction, 10, 100, 1).unwrap();
        let shape = Shape { sizes: Sizes::Fixed(128), ..bed.shape().clone() };
        let stop = AtomicBool::new(false);
        let duration = Duration::from_millis(5);
        let order = Order { shape: &shape, rate: Rate::Max, duration, frames: u64::MAX, stop: &stop };
        let flood = bed.run(&order).unwrap();
        assert!(flood.offered > 100 && flood.received == flood.offered, "{:?}", flood.dropped);
        assert_eq!(flood.reordered + flood.duplicated, 0);
        let capacity = flood.received as f64 / flood.seconds;
        let slow = bed.run(&Order { rate: Rate::PerSecond(capacity / 20.0), ..order }).unwrap();
        assert_eq!(slow.offered, (capacity / 20.0 * 0.005) as u64);
        assert_eq!(slow.latency.len(), slow.received);
        // More than any machine passes, however slow this one was a moment ago.
        let fast = bed.run(&Order { rate: Rate::PerSecond(1e8), ..order }).unwrap();
        let dropped: u64 = fast.dropped.iter().map(|(_, count)| count).sum();
        assert_eq!(fast.offered, fast.received + dropped, "{:?}", fast.dropped);
        assert!(
            fast.dropped.iter().any(|(reason, count)| reason == "queue_full" && *count > 0),
            "{:?}",
            fast.dropped
        );
    }
}
