//! From a worker's counters to what the status shows of them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use policy_compiler::{Direction, PodName};

use super::status::{Denial, PacketCounts};
use crate::drop_reason::DropReason;
use crate::telemetry::{DenialLog, PacketCounters};

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
