//! From a worker's counters to what the status shows of them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use policy_compiler::{Direction, PodName};

use super::stages::{StageCounts, WorkerCounts};
use super::status::{Denial, FlowCacheStatus, PacketCounts};
use crate::drop_reason::DropReason;
use crate::telemetry::{DenialLog, PacketCounters, Stage, StageCounters};
use crate::workers::WorkerView;

impl From<&PacketCounters> for PacketCounts {
    fn from(counters: &PacketCounters) -> Self {
        Self {
            received: counters.received.get(),
            forwarded: counters.forwarded.get(),
            answered: counters.answered.get(),
            dropped: counters.dropped_total(),
            icmp_errors: counters.icmp_errors.get(),
            vxlan_reserved: counters.vxlan_reserved.get(),
        }
    }
}

impl From<&PacketCounters> for FlowCacheStatus {
    fn from(counters: &PacketCounters) -> Self {
        Self { hits: counters.flow_hits.get(), misses: counters.flow_misses.get() }
    }
}

/// What a worker and its stages have done so far.
pub fn stages(name: String, worker: &WorkerView<'_>) -> WorkerCounts {
    WorkerCounts {
        name,
        received: worker.counters.received.get(),
        batches: worker.steps.batches.get(),
        sleeps: worker.steps.sleeps.get(),
        flow_hits: worker.counters.flow_hits.get(),
        flow_misses: worker.counters.flow_misses.get(),
        stages: Stage::ALL.into_iter().map(|stage| counts(stage, worker.stages)).collect(),
    }
}

fn counts(stage: Stage, counters: &StageCounters) -> StageCounts {
    let counter = counters.stage(stage);
    StageCounts {
        stage: stage.name().to_owned(),
        packets: counter.packets.get(),
        batches: counter.batches.get(),
        timed_packets: counter.timed_packets.get(),
        timed_nanoseconds: counter.timed_nanoseconds.get(),
    }
}

/// Dropped packets by reason; reasons that never occurred are left out.
pub fn drops(counters: &PacketCounters) -> BTreeMap<String, u64> {
    let all = DropReason::ALL.iter().map(|reason| (reason.name().to_owned(), counters.dropped(*reason)));
    all.filter(|(_, count)| *count > 0).collect()
}

/// What policies denied; `pod` tells the name of the pod that has an address.
pub fn denials<'n>(log: &DenialLog, pod: impl Fn(IpAddr) -> Option<&'n PodName>) -> Vec<Denial> {
    let name = |address: Option<IpAddr>| match address {
        None => "other".to_owned(),
        Some(address) => pod(address).map_or_else(|| address.to_string(), |pod| format!("{pod} ({address})")),
    };
    let rows = log.rows().into_iter();
    rows.map(|row| Denial {
        direction: match row.direction {
            Direction::Egress => "egress",
            Direction::Ingress => "ingress",
        }
        .to_owned(),
        src: name(row.src),
        dst: name(row.dst),
        rule: row.rule,
        policies: row.policies,
        packets: row.packets,
    })
    .collect()
}
