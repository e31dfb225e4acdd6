//! What the workers' stages take: the answer to `stages`, and what lies between two of them.
//!
//! The daemon answers with running counts ([`Stages`]); a client asks twice and subtracts ([`Stages::since`]). So any
//! number of clients watch at once and none of them resets what another counts. Stages are counted only while a
//! client has asked for it: the request says for how long, so a client that is killed leaves nothing running.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The longest that one request has the stages timed.
pub const LONGEST_LEASE: Duration = Duration::from_mins(2);

/// Running counts of all workers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stages {
    /// Name of the node.
    pub node: String,
    /// When these counts were read, in nanoseconds since the daemon's start.
    pub at_nanoseconds: u64,
    /// The workers, in their order.
    pub workers: Vec<WorkerCounts>,
}

/// Running counts of one worker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerCounts {
    /// `weir-worker-0`, …
    pub name: String,
    /// Packets it took in.
    pub received: u64,
    /// Batches it took them in.
    pub batches: u64,
    /// Times it went to sleep.
    pub sleeps: u64,
    /// Packets of flows that its flow cache knew.
    pub flow_hits: u64,
    /// Packets that went through all stages.
    pub flow_misses: u64,
    /// Its stages, in the order of a packet's path.
    pub stages: Vec<StageCounts>,
}

/// Running counts of one stage.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StageCounts {
    /// Its name.
    pub stage: String,
    /// Packets that came to it.
    pub packets: u64,
    /// Batches they came in.
    pub batches: u64,
    /// Packets that were timed.
    pub timed_packets: u64,
    /// The nanoseconds these took.
    pub timed_nanoseconds: u64,
}

/// What was done between two readings, in the form that `weir show stages -o json` prints.
///
/// The keys are a promise: more may come, none changes its meaning or goes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StageReport {
    /// Name of the node.
    pub node: String,
    /// Seconds between the readings.
    pub seconds: f64,
    /// The workers, in their order.
    pub workers: Vec<WorkerReport>,
}

/// What one worker did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerReport {
    /// `weir-worker-0`, …
    pub name: String,
    /// Packets it took in.
    pub packets: u64,
    /// Packets in the mean batch; absent where there was none.
    pub packets_per_batch: Option<f64>,
    /// Times it went to sleep.
    pub sleeps: u64,
    /// Packets of flows that its flow cache knew.
    pub flow_hits: u64,
    /// Packets that went through all stages.
    pub flow_misses: u64,
    /// Share of the time it spent in its stages, by those that were timed: 0 to 1.
    pub busy: f64,
    /// The stages that something came to, in the order of a packet's path.
    pub stages: Vec<StageRow>,
}

/// What one stage did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StageRow {
    /// Its name.
    pub stage: String,
    /// Packets that came to it.
    pub packets: u64,
    /// Packets in the mean batch, or the part of one, that came to it at once.
    pub packets_per_batch: Option<f64>,
    /// Nanoseconds it took for a packet; absent where none was timed.
    pub nanoseconds_per_packet: Option<f64>,
    /// Share of the worker's time it took: 0 to 1.
    pub share: Option<f64>,
}

impl Stages {
    /// What was done since an earlier reading of the same daemon.
    pub fn since(&self, earlier: &Self) -> StageReport {
        let nanoseconds = self.at_nanoseconds.saturating_sub(earlier.at_nanoseconds);
        let none = WorkerCounts::default();
        let workers = self.workers.iter().map(|worker| {
            let before = earlier.workers.iter().find(|before| before.name == worker.name);
            worker.since(before.unwrap_or(&none), nanoseconds)
        });
        StageReport {
            node: self.node.clone(),
            seconds: rounded(ratio(nanoseconds, 1_000_000_000).unwrap_or_default(), 1e6),
            workers: workers.collect(),
        }
    }
}

impl WorkerCounts {
    fn since(&self, earlier: &Self, nanoseconds: u64) -> WorkerReport {
        let none = StageCounts::default();
        let rows = self.stages.iter().map(|stage| {
            let before = earlier.stages.iter().find(|before| before.stage == stage.stage);
            stage.since(before.unwrap_or(&none), nanoseconds)
        });
        let stages: Vec<StageRow> = rows.filter(|row| row.packets > 0).collect();
        let packets = self.received.saturating_sub(earlier.received);
        let busy: f64 = stages.iter().filter_map(|row| row.share).sum();
        WorkerReport {
            name: self.name.clone(),
            packets,
            packets_per_batch: mean(packets, self.batches.saturating_sub(earlier.batches)),
            sleeps: self.sleeps.saturating_sub(earlier.sleeps),
            flow_hits: self.flow_hits.saturating_sub(earlier.flow_hits),
            flow_misses: self.flow_misses.saturating_sub(earlier.flow_misses),
            // What was timed stands for what was not, and may have been the dearer part.
            busy: rounded(busy.min(1.0), 1e4),
            stages,
        }
    }
}

impl StageCounts {
    fn since(&self, earlier: &Self, nanoseconds: u64) -> StageRow {
        let packets = self.packets.saturating_sub(earlier.packets);
        let timed = self.timed_packets.saturating_sub(earlier.timed_packets);
        let took = self.timed_nanoseconds.saturating_sub(earlier.timed_nanoseconds);
        let each = ratio(took, timed);
        let all = each.zip(ratio(packets, nanoseconds)).map(|(each, a_nanosecond)| each * a_nanosecond);
        StageRow {
            stage: self.stage.clone(),
            packets,
            packets_per_batch: mean(packets, self.batches.saturating_sub(earlier.batches)),
            nanoseconds_per_packet: each.map(|each| rounded(each, 10.0)),
            share: all.map(|share| rounded(share.min(1.0), 1e4)),
        }
    }
}

fn mean(count: u64, parts: u64) -> Option<f64> {
    ratio(count, parts).map(|mean| rounded(mean, 10.0))
}

#[allow(clippy::cast_precision_loss, reason = "a figure for people, far below 2^52")]
fn ratio(count: u64, parts: u64) -> Option<f64> {
    (parts > 0).then(|| count as f64 / parts as f64)
}

/// To whole parts of one in `parts`.
fn rounded(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(at: u64, times: u64) -> Stages {
        let stage = |name: &str, nanoseconds: u64| StageCounts {
            stage: name.to_owned(),
            packets: 1000 * times,
            batches: 100 * times,
            timed_packets: 125 * times,
            timed_nanoseconds: nanoseconds * times,
        };
        let worker = WorkerCounts {
            name: "weir-worker-0".to_owned(),
            received: 1000 * times,
            batches: 100 * times,
            sleeps: 7 * times,
            flow_hits: 900 * times,
            flow_misses: 100 * times,
            stages: vec![stage("receive", 125_000), stage("parse", 12_500), StageCounts::default()],
        };
        Stages { node: "node-a".to_owned(), at_nanoseconds: at, workers: vec![worker] }
    }

    #[test]
    fn a_report_is_what_lies_between_two_readings() {
        let report = reading(3_000_000_000, 3).since(&reading(1_000_000_000, 1));
        let [worker] = &report.workers[..] else { panic!("{report:?}") };
        assert!((report.seconds - 2.0).abs() < f64::EPSILON);
        assert_eq!((worker.packets, worker.packets_per_batch, worker.sleeps), (2000, Some(10.0), 14));
        assert_eq!((worker.flow_hits, worker.flow_misses), (1800, 200));
        let [receive, parse] = &worker.stages[..] else { panic!("stages that nothing came to: {worker:?}") };
        assert_eq!((receive.packets, receive.packets_per_batch), (2000, Some(10.0)));
        assert_eq!([receive, parse].map(|row| row.nanoseconds_per_packet), [Some(1000.0), Some(100.0)]);
        // 2,000 packets of a microsecond each in 2 seconds.
        assert_eq!([receive, parse].map(|row| row.share), [Some(0.001), Some(0.0001)]);
    }

    #[test]
    fn a_daemon_that_was_started_anew_meanwhile_makes_no_nonsense() {
        let report = reading(5, 1).since(&reading(1_000_000_000, 3));
        assert_eq!(report.workers[0].packets, 0);
        assert_eq!(report.workers[0].stages, []);
    }

    #[test]
    fn a_stage_that_was_not_timed_has_no_time() {
        let mut later = reading(2_000_000_000, 1);
        later.workers[0].stages[0].timed_packets = 0;
        let report = later.since(&Stages::default());
        assert_eq!(report.workers[0].stages[0].nanoseconds_per_packet, None);
        assert_eq!(report.workers[0].stages[0].share, None);
    }
}
