//! Processors that stay awake while packets follow each other closely.
//!
//! A request and its answer make many short pauses: each end, and each worker on the way, sleeps until the next packet
//! wakes it. Where its processor has gone idle in the meantime, waking that costs more than handling the packet. So a
//! worker whose sleeps are short and many is *restless*, and while enough of the workers are, the kernel is asked to
//! keep idle processors at hand ([`LatencyQos`]). Nobody loses by that but the electricity bill: what waits is the
//! kernel's idle loop, not a thread.
//!
//! ```text
//!   sleep ─► shorter than SHORT? ─► so many in a while: restless ─► one for four processors: LatencyQos
//! ```
//! The bound is for all processors of the machine, since nobody knows on which one the pod that waits will wake. That is
//! why one restless worker on many processors is not enough: what is spent stays in proportion to what is gained.
//! Decision 0031.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::sys::latency_qos::LatencyQos;
use crate::time::Timestamp;

/// A sleep that ends sooner was not worth an idle state: as long as the kernel's own polling before a halt
/// (`guest_halt_poll_ns`, Documentation/virt/guest-halt-polling.rst).
const SHORT: Duration = Duration::from_micros(200);
/// Sleeps are judged by no less than so much time.
const WHILE: Duration = Duration::from_millis(10);
/// One restless worker suffices for so many processors.
const PROCESSORS_EACH: usize = 4;

/// What the restless of all workers bring about.
#[derive(Debug)]
pub(super) struct Wakefulness {
    qos: LatencyQos,
    /// Restless workers that it takes.
    quorum: usize,
    /// Whoever changes what is known holds the lock until the kernel knows it too.
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Restless workers there are.
    restless: usize,
    /// The kernel would not hear of it, and that has been said.
    refused: bool,
}

impl Wakefulness {
    /// On a machine of so many processors.
    pub(super) fn new(qos: LatencyQos, processors: usize) -> Arc<Self> {
        let quorum = processors.div_ceil(PROCESSORS_EACH).max(1);
        Arc::new(Self { qos, quorum, known: Mutex::default() })
    }

    /// Changes how many are restless.
    fn change(&self, how: impl FnOnce(usize) -> usize) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.restless >= self.quorum;
        known.restless = how(known.restless);
        let after = known.restless >= self.quorum;
        if before != after
            && let Err(error) = self.qos.bound(after.then_some(Duration::ZERO))
            && !std::mem::replace(&mut known.refused, true)
        {
            tracing::warn!(%error, "processors sleep as they did: the kernel takes no bound on their latency");
        }
    }
}

/// The sleeps of one worker.
#[derive(Debug)]
pub(super) struct Sleeps {
    /// None where processors may sleep as they like.
    all: Option<Arc<Wakefulness>>,
    since: Timestamp,
    short: u32,
    restless: bool,
}

impl Sleeps {
    /// Of a worker that is not restless.
    pub(super) fn new(all: Option<Arc<Wakefulness>>) -> Self {
        Self { all, since: Timestamp::ZERO, short: 0, restless: false }
    }

    /// Whether anybody wants to know of sleeps.
    pub(super) fn matter(&self) -> bool {
        self.all.is_some()
    }

    /// One that is over.
    pub(super) fn add(&mut self, begin: Timestamp, end: Timestamp) {
        self.short = self.short.saturating_add(u32::from(end.since(begin) < SHORT));
    }

    /// Judges by the sleeps of late; whether the worker is restless. To be called every now and then.
    pub(super) fn judge(&mut self, now: Timestamp) -> bool {
        let passed = now.since(self.since);
        if let Some(all) = &self.all
            && passed >= WHILE
        {
            // Half as many keep it so: what flickers would cost more than it gains.
            let enough = if self.restless { SHORT * 2 } else { SHORT };
            let restless = enough * self.short >= passed;
            if restless != self.restless {
                all.change(|count| if restless { count + 1 } else { count.saturating_sub(1) });
            }
            (self.restless, self.since, self.short) = (restless, now, 0);
        }
        self.restless
    }
}

impl Drop for Sleeps {
    fn drop(&mut self) {
        if let Some(all) = self.all.as_ref().filter(|_| self.restless) {
            all.change(|count| count.saturating_sub(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// A file in place of the kernel's device, which shows all that was asked for.
    struct Device(tempfile::TempDir);

    impl Device {
        fn new() -> Self {
            let device = Self(tempfile::tempdir().unwrap());
            fs::write(device.path(), []).unwrap();
            device
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("cpu_dma_latency")
        }

        fn of(&self, processors: usize) -> Arc<Wakefulness> {
            Wakefulness::new(LatencyQos::open_at(&self.path()).unwrap(), processors)
        }

        fn asked(&self) -> Vec<i32> {
            let bytes = fs::read(self.path()).unwrap();
            bytes.as_chunks().0.iter().map(|bytes| i32::from_ne_bytes(*bytes)).collect()
        }
    }

    /// So many sleeps, all as long, one after the other and nothing in between; whether it is restless then.
    fn sleep(sleeps: &mut Sleeps, now: &mut Timestamp, count: u32, each: Duration) -> bool {
        for _ in 0..count {
            let begin = *now;
            *now = begin.plus(each);
            sleeps.add(begin, *now);
        }
        sleeps.judge(*now)
    }

    #[test]
    fn many_short_sleeps_make_restless_and_few_or_long_ones_do_not() {
        let device = Device::new();
        let mut sleeps = Sleeps::new(Some(device.of(2)));
        let mut now = Timestamp::ZERO;
        assert!(!sleep(&mut sleeps, &mut now, 100, 10 * MILLISECOND), "long ones");
        assert!(!sleep(&mut sleeps, &mut now, 100, SHORT), "none of them short");
        assert_eq!(device.asked(), [0; 0]);
        assert!(sleep(&mut sleeps, &mut now, 300, SHORT / 4), "short ones");
        assert_eq!(device.asked(), [0]);
        now = now.plus(20 * MILLISECOND);
        assert!(!sleep(&mut sleeps, &mut now, 20, SHORT / 4), "short ones far between");
        assert_eq!(device.asked(), [0, UNBOUND]);
    }

    #[test]
    fn half_the_sleeps_that_make_restless_keep_it_so() {
        let device = Device::new();
        let mut sleeps = Sleeps::new(Some(device.of(1)));
        let mut now = Timestamp::ZERO;
        let mut per_20_ms = |count| {
            now = now.plus(20 * MILLISECOND);
            sleep(&mut sleeps, &mut now, count, Duration::ZERO)
        };
        assert!(!per_20_ms(99));
        assert!(per_20_ms(100));
        assert!(per_20_ms(50));
        assert!(!per_20_ms(49));
        assert!(!per_20_ms(99));
        assert_eq!(device.asked(), [0, UNBOUND]);
    }

    #[test]
    fn nothing_is_judged_by_a_moment() {
        let device = Device::new();
        let mut sleeps = Sleeps::new(Some(device.of(1)));
        let mut now = Timestamp::ZERO;
        assert!(!sleep(&mut sleeps, &mut now, 199, SHORT / 4), "9.95 ms of short ones");
        assert!(sleep(&mut sleeps, &mut now, 1, SHORT / 4), "10 ms of them");
    }

    #[test]
    fn it_takes_one_worker_for_four_processors() {
        let device = Device::new();
        let all = device.of(9);
        let mut workers: Vec<Sleeps> = (0..9).map(|_| Sleeps::new(Some(Arc::clone(&all)))).collect();
        let mut asked = Vec::new();
        for sleeps in &mut workers[..4] {
            assert!(sleep(sleeps, &mut Timestamp::ZERO.clone(), 300, SHORT / 4));
            asked.push(device.asked().len());
        }
        assert_eq!(asked, [0, 0, 1, 1]);
        workers.truncate(3);
        assert_eq!(device.asked(), [0], "three of the four are left");
        workers.clear();
        assert_eq!(device.asked(), [0, UNBOUND], "workers that end are restless no more");
    }

    #[test]
    fn where_nobody_wants_to_know_nothing_is_restless() {
        let mut sleeps = Sleeps::new(None);
        assert!(!sleeps.matter());
        assert!(!sleep(&mut sleeps, &mut Timestamp::ZERO.clone(), 300, SHORT / 4));
    }

    /// No bound, as the device has it.
    const UNBOUND: i32 = -1;
}
