//! What a change of the state would allow and deny: every pair of ends, every port, before and after.
//!
//! Pods that only one of the states has are named, not compared. The outside is compared in the parts that the
//! policies of either state tell apart. Cost: pairs × families × stretches of ports, four lookups each.

use super::answer::Side;
use super::end::{End, ends};
use super::judge::Judge;
use super::ports::{PortSpace, Reach, allowed};
use serde::Serialize;
use std::collections::BTreeMap;

/// Connections between two ends that are judged differently, for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What they become: `allow` or `deny`.
    pub becomes: &'static str,
    /// Who connects.
    pub src: String,
    /// To whom.
    pub dst: String,
    /// 4 or 6.
    pub family: u8,
    /// Which connections.
    pub ports: Reach,
    /// Why they are judged so now: what allows at the source, or what denies.
    pub by: String,
}

/// What is different between two states.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Difference {
    /// Pods of the new state alone.
    pub added_pods: Vec<String>,
    /// Pods of the old state alone.
    pub removed_pods: Vec<String>,
    /// What is judged differently, by pair.
    pub changes: Vec<Change>,
}

impl Difference {
    /// Whether the states judge alike.
    pub fn is_empty(&self) -> bool {
        self.added_pods.is_empty() && self.removed_pods.is_empty() && self.changes.is_empty()
    }
}

/// Compares two states.
pub fn diff(old: &Judge, new: &Judge) -> Difference {
    let by_name = |judge: &Judge| -> BTreeMap<String, End> {
        judge.pods().into_iter().map(|end| (end.name.clone(), end)).collect()
    };
    let (before, after) = (by_name(old), by_name(new));
    let mut difference = Difference {
        added_pods: after.keys().filter(|name| !before.contains_key(*name)).cloned().collect(),
        removed_pods: before.keys().filter(|name| !after.contains_key(*name)).cloned().collect(),
        changes: Vec::new(),
    };
    let mut pairs: Vec<(End, End)> =
        before.into_iter().filter_map(|(name, end)| Some((end, after.get(&name)?.clone()))).collect();
    let pods = pairs.len();
    pairs.extend(ends(&[old, new]).into_iter().map(|end| (end.clone(), end)));
    let space = PortSpace::new(&[old, new]);
    for (source, src) in pairs.iter().enumerate() {
        for (destination, dst) in pairs.iter().enumerate() {
            if source < pods || destination < pods {
                for family in [4, 6] {
                    compare((old, new), src, dst, family, &space, &mut difference.changes);
                }
            }
        }
    }
    difference
}

fn compare(
    (old, new): (&Judge, &Judge),
    src: &(End, End),
    dst: &(End, End),
    family: u8,
    space: &PortSpace,
    changes: &mut Vec<Change>,
) {
    let addresses = |end: &(End, End)| Some((end.0.address(family)?, end.1.address(family)?));
    let (Some(source), Some(destination)) = (addresses(src), addresses(dst)) else { return };
    let mut found: Vec<Change> = Vec::new();
    for (stretch, transport) in space.stretches() {
        let before = old.verdicts((&src.0, source.0), (&dst.0, destination.0), transport, 49152);
        let after = new.verdicts((&src.1, source.1), (&dst.1, destination.1), transport, 49152);
        if allowed(before) == allowed(after) {
            continue;
        }
        let becomes = if allowed(after) { "allow" } else { "deny" };
        let [egress, ingress] = after;
        let sides = [Side::new(new, &src.1, egress), Side::new(new, &dst.1, ingress)];
        let reasons: Vec<String> = sides
            .into_iter()
            .filter(|side| side.reason != "not_judged" && side.verdict == becomes)
            .map(|side| side.message)
            .collect();
        let by = reasons.join("; ");
        if let Some(same) = found.iter_mut().find(|change| change.becomes == becomes && change.by == by) {
            same.ports.add(stretch);
        } else {
            let mut ports = Reach::default();
            ports.add(stretch);
            let (src, dst) = (src.1.name.clone(), dst.1.name.clone());
            found.push(Change { becomes, src, dst, family, ports, by });
        }
    }
    changes.append(&mut found);
}
