//! Updates of a large rule set while packets are looked up: how soon they hold, and what the lookups notice of it.
//!
//! ```text
//!  writer: remove, insert ─► publish ─► retire what no reader holds          a third thread merges
//!  reader: every 8 us a burst of 32 is due, whether the last one is answered or not: 4 million lookups per second
//! ```
//! An update's time ends when readers have it. A burst has two times: from when it was due, so that waiting for bursts
//! before it counts as well, whatever held those up; and that of its lookups alone.
//! Quiet and busy phases alternate, and each kind has a histogram; before a quiet one all layers are put together.
//! A snapshot is freed by the writer, once no reader holds it: else the reader that let it go last would have to. The
//! thread that merges gives way to the others (`nice` 19), for on two cores it is the third.

mod figures;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use dataplane::sys::process::give_way;
use harness::generate::Rng;
use hdrhistogram::Histogram;
use policy_compiler::classifier::{General, Limits, LiveRules, Merge, Merged, Snapshot, TupleClassifier};
use policy_compiler::ruleset::{Rule, RuleSet, Tuple};

use figures::Compared;
pub(super) use figures::Updates;

use super::rate::Latency;

/// Time between two updates, so that merges have the share of it they would have in life.
const PAUSE: Duration = Duration::from_micros(250);
/// Lookups in a burst, and time from one to the next: 4 million lookups per second.
const BURST: usize = 32;
const PERIOD: Duration = Duration::from_micros(8);
/// Phases of either kind.
const PHASES: usize = 5;
/// Bursts of a quiet phase are looked at for so long.
const QUIET: Duration = Duration::from_millis(400);
/// Upper end of histograms, in nanoseconds.
const LONGEST: u64 = 10_000_000_000;

/// What the reader is to do with the bursts it answers.
const LEAVE_OUT: u8 = 0;
const COUNT_QUIET: u8 = 1;
const COUNT_BUSY: u8 = 2;
const END: u8 = 3;

/// What the two sides share.
struct Shared {
    snapshot: ArcSwap<Snapshot>,
    phase: AtomicU8,
}

/// Times of quiet and of busy phases.
type Phases = [Histogram<u64>; 2];

/// Bursts, one after the other, each at its time; from when they were due, and their lookups alone.
fn read(shared: &Shared, tuples: &[Tuple]) -> anyhow::Result<[Phases; 2]> {
    let histogram = || Histogram::<u64>::new_with_bounds(1, LONGEST, 3);
    let [mut from_due, mut lookups] = [[histogram()?, histogram()?], [histogram()?, histogram()?]];
    let mut out = [None; BURST];
    let mut due = Instant::now();
    let mut bursts = tuples.chunks_exact(BURST).cycle();
    loop {
        let phase = shared.phase.load(Ordering::Relaxed);
        if phase == END {
            return Ok([from_due, lookups]);
        }
        let begin = loop {
            let now = Instant::now();
            if now >= due {
                break now;
            }
            std::hint::spin_loop();
        };
        shared.snapshot.load().lookup_batch(bursts.next().unwrap_or_default(), &mut out);
        std::hint::black_box(&mut out);
        let end = Instant::now();
        let kind = match phase {
            COUNT_QUIET => Some(0),
            COUNT_BUSY => Some(1),
            _ => None,
        };
        for (histograms, since) in [(&mut from_due, due), (&mut lookups, begin)] {
            if let Some(histogram) = kind.and_then(|kind: usize| histograms.get_mut(kind)) {
                histogram.saturating_record(u64::try_from((end - since).as_nanos()).unwrap_or(u64::MAX));
            }
        }
        // Whatever happened outside of the phases is not owed by what follows.
        due = if kind.is_some() { due + PERIOD } else { end + PERIOD };
    }
}

/// The thread that merges.
struct Merger {
    jobs: Sender<Merge>,
    done: Receiver<Merged>,
    is_out: bool,
}

/// The writer, with what it has published and not yet freed.
struct Writer<'s> {
    live: LiveRules,
    shared: &'s Shared,
    retired: VecDeque<Arc<Snapshot>>,
    merger: Merger,
}

impl Writer<'_> {
    fn publish(&mut self) {
        let old = self.shared.snapshot.swap(self.live.snapshot());
        self.retired.push_back(old);
    }

    /// Frees what no reader holds. Not part of an update: readers have the new one already.
    fn free(&mut self) {
        while self.retired.front().is_some_and(|old| Arc::strong_count(old) == 1) {
            self.retired.pop_front();
        }
    }

    fn adopt(&mut self, merged: Merged) -> anyhow::Result<()> {
        self.live.adopt(merged)?;
        self.merger.is_out = false;
        self.publish();
        Ok(())
    }

    fn hand_out(&mut self, merge: Option<Merge>) -> anyhow::Result<()> {
        if let Some(merge) = merge {
            self.merger.jobs.send(merge).context("the thread that merges has ended")?;
            self.merger.is_out = true;
        }
        Ok(())
    }

    /// What is due besides updates.
    fn look_after_merges(&mut self) -> anyhow::Result<()> {
        if let Ok(merged) = self.merger.done.try_recv() {
            self.adopt(merged)?;
        }
        let due = self.live.merge();
        self.hand_out(due)?;
        self.free();
        Ok(())
    }

    /// Everything in one layer, and nothing under way.
    fn settle(&mut self) -> anyhow::Result<()> {
        for _ in 0..2 {
            if self.merger.is_out {
                let merged = self.merger.done.recv().context("the thread that merges has ended")?;
                self.adopt(merged)?;
            }
            if self.live.layers() > 1 {
                let all = self.live.merge_all();
                self.hand_out(all)?;
            }
        }
        self.free();
        Ok(())
    }

    /// Removals and insertions at random places, in turn; how long each took.
    fn update(&mut self, rng: &mut Rng, count: usize) -> anyhow::Result<Vec<Duration>> {
        let mut durations = Vec::with_capacity(count);
        let mut removed = None;
        for _ in 0..count {
            let place = rng.below(self.live.len() + usize::from(removed.is_some()));
            let rule = removed.take();
            if rule.is_none() {
                removed = self.live.rules().nth(place).map(|(_, rule)| *rule);
            }
            let begin = Instant::now();
            if let Some(rule) = rule {
                self.live.insert(place, rule)?;
            } else {
                self.live.remove(place);
            }
            self.publish();
            durations.push(begin.elapsed());
            self.look_after_merges()?;
            std::thread::sleep(PAUSE);
        }
        if let Some(rule) = removed {
            self.live.insert(0, rule)?;
            self.publish();
        }
        Ok(durations)
    }
}

/// Times `count` updates beside lookups, and compares the answers at the end with those of a fresh build.
pub(super) fn measure(rules: &[Rule], tuples: &[Tuple], count: usize) -> anyhow::Result<Option<Updates>> {
    if rules.is_empty() || count == 0 || tuples.len() < BURST {
        return Ok(None);
    }
    let live = LiveRules::new(rules, Limits::default())?;
    let shared = Shared { snapshot: ArcSwap::new(live.snapshot()), phase: AtomicU8::new(LEAVE_OUT) };
    let (jobs, to_do) = channel::<Merge>();
    let (finished, done) = channel::<Merged>();
    let (histograms, durations, live) = std::thread::scope(|scope| {
        scope.spawn(move || {
            // Where that is not allowed it is done all the same.
            drop(give_way());
            for job in to_do {
                if finished.send(job.run()).is_err() {
                    break;
                }
            }
        });
        let reader = scope.spawn(|| read(&shared, tuples));
        let merger = Merger { jobs, done, is_out: false };
        let mut writer = Writer { live, shared: &shared, retired: VecDeque::new(), merger };
        let durations = phases(&mut writer, count);
        shared.phase.store(END, Ordering::Relaxed);
        let histograms = reader.join().map_err(|_| anyhow::anyhow!("the thread that reads has ended"))??;
        anyhow::Ok((histograms, durations?, writer.live))
    })?;
    check(&live, tuples, count)?;
    let [from_due, lookups] = histograms.map(|phases| Compared::of(&phases));
    let Some(latency) = Latency::of(durations) else { return Ok(None) };
    Ok(Some(Updates {
        latency,
        // Both are small numbers.
        #[allow(clippy::cast_precision_loss)]
        lookups_millions_per_second: BURST as f64 / (PERIOD.as_secs_f64() * 1e6),
        burst: BURST,
        from_due,
        lookups,
    }))
}

fn phases(writer: &mut Writer<'_>, count: usize) -> anyhow::Result<Vec<Duration>> {
    let mut rng = Rng::new(1);
    let mut durations = Vec::with_capacity(count);
    for phase in 0..PHASES {
        let count = count * (phase + 1) / PHASES - count * phase / PHASES;
        let shared = writer.shared;
        let enter = |phase: u8| shared.phase.store(phase, Ordering::Relaxed);
        enter(LEAVE_OUT);
        writer.settle()?;
        std::thread::sleep(Duration::from_millis(20));
        enter(COUNT_QUIET);
        std::thread::sleep(QUIET);
        enter(COUNT_BUSY);
        let of_phase = writer.update(&mut rng, count);
        enter(LEAVE_OUT);
        durations.extend(of_phase?);
    }
    Ok(durations)
}

/// The answers are those of a fresh build of the rules as they are now.
fn check(live: &LiveRules, tuples: &[Tuple], count: usize) -> anyhow::Result<()> {
    let now: RuleSet = live.rules().map(|(_, rule)| *rule).collect();
    let fresh = General::new(&now, Limits::default())?;
    let snapshot = live.snapshot();
    for tuple in tuples {
        let found = snapshot.lookup(tuple).and_then(|handle| live.position(handle));
        let expected = fresh.lookup(tuple).map(|index| index.0 as usize);
        if found != expected {
            bail!("after {count} updates: a fresh build answers {expected:?}, the updated one {found:?}");
        }
    }
    Ok(())
}
