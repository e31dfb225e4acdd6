//! What a change of the state would allow and deny: every pair of ends, every port, before and after.
//!
//! Pods that only one of the states has are named, not compared. The outside is compared in the parts that the
//! policies of either state tell apart. Cost: pairs × families × stretches of ports, four lookups each in batches.

use super::answer::Side;
use super::end::{End, ends};
use super::judge::Judge;
use super::ports::PortSpace;
use super::reach::Reach;
use super::sweep::{Mask, Sweep, allowed};
use crate::classifier::Verdict;
use crate::model::{Action, Protocol};
use ahash::AHashMap;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Connections between two ends that are judged differently, for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What they become: `allow` or `deny`.
    pub becomes: &'static str,
    /// Who connects.
    #[serde(serialize_with = "text")]
    pub src: Arc<str>,
    /// To whom.
    #[serde(serialize_with = "text")]
    pub dst: Arc<str>,
    /// 4 or 6.
    pub family: u8,
    /// Which connections.
    #[serde(serialize_with = "reach")]
    pub ports: Arc<Reach>,
    /// Why they are judged so now: what allows at the ends that denied before, or what denies.
    #[serde(serialize_with = "text")]
    pub by: Arc<str>,
}

fn text<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

fn reach<S: Serializer>(reach: &Arc<Reach>, serializer: S) -> Result<S::Ok, S::Error> {
    reach.serialize(serializer)
}

/// What is different between two states.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Difference {
    /// Pods of the new state alone.
    pub added_pods: Vec<String>,
    /// Pods of the old state alone.
    pub removed_pods: Vec<String>,
    /// Protocols of which what is open may depend on the source port.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by_source: Vec<String>,
    /// What is judged differently, by pair.
    pub changes: Vec<Change>,
    /// Everyone that was compared.
    #[serde(skip)]
    pub(super) ends: Vec<End>,
}

impl Difference {
    /// Whether the states judge alike.
    pub fn is_empty(&self) -> bool {
        self.added_pods.is_empty() && self.removed_pods.is_empty() && self.changes.is_empty()
    }
}

/// Compares two states. `done` is told after each source how many of them are done, and of how many.
pub fn diff(old: &Judge, new: &Judge, mut done: impl FnMut(usize, usize)) -> Difference {
    let by_name = |judge: &Judge| -> BTreeMap<String, End> {
        judge.pods().into_iter().map(|end| (end.name.clone(), end)).collect()
    };
    let (before, after) = (by_name(old), by_name(new));
    let added_pods = after.keys().filter(|name| !before.contains_key(*name)).cloned().collect();
    let removed_pods = before.keys().filter(|name| !after.contains_key(*name)).cloned().collect();
    let mut pairs: Vec<(End, End)> =
        before.into_iter().filter_map(|(name, end)| Some((end, after.get(&name)?.clone()))).collect();
    let pods = pairs.len();
    pairs.extend(ends(&[old, new]).into_iter().map(|end| (end.clone(), end)));
    let space = PortSpace::new(&[old, new]);
    let names: Vec<Arc<str>> = pairs.iter().map(|(_, end)| Arc::from(end.name.as_str())).collect();
    let mut comparer = Comparer {
        new,
        sweeps: [Sweep::new(old), Sweep::new(new)],
        reasons: AHashMap::new(),
        reaches: AHashMap::new(),
        changes: Vec::new(),
        space: &space,
    };
    for (source, (src, src_name)) in pairs.iter().zip(&names).enumerate() {
        for (destination, (dst, dst_name)) in pairs.iter().zip(&names).enumerate() {
            if source < pods || destination < pods {
                for family in [4, 6] {
                    comparer.compare((src, src_name), (dst, dst_name), family);
                }
            }
        }
        done(source + 1, pairs.len());
    }
    let changes = comparer.changes;
    let by_source = space.by_source().map(|protocol: Protocol| protocol.to_string()).collect();
    let ends = pairs.into_iter().map(|(_, end)| end).collect();
    Difference { added_pods, removed_pods, by_source, changes, ends }
}

/// Verdicts of the ends that make a change, and what it becomes.
type Reason = (bool, [Option<Verdict>; 2]);

struct Comparer<'s> {
    new: &'s Judge,
    /// Before, after.
    sweeps: [Sweep<'s>; 2],
    space: &'s PortSpace,
    reasons: AHashMap<Reason, Arc<str>>,
    reaches: AHashMap<Mask, Arc<Reach>>,
    changes: Vec<Change>,
}

impl Comparer<'_> {
    fn compare(
        &mut self,
        (src, src_name): (&(End, End), &Arc<str>),
        (dst, dst_name): (&(End, End), &Arc<str>),
        family: u8,
    ) {
        let addresses = |end: &(End, End)| Some((end.0.address(family)?, end.1.address(family)?));
        let (Some(source), Some(destination)) = (addresses(src), addresses(dst)) else { return };
        let samples = self.space.samples(family);
        let [before, after] = &mut self.sweeps;
        before.ask((&src.0, source.0), (&dst.0, destination.0), samples);
        after.ask((&src.1, source.1), (&dst.1, destination.1), samples);
        let mut found: Vec<(bool, Arc<str>, Mask)> = Vec::new();
        for stretch in 0..samples.len() {
            let (was, mut verdicts) = (before.verdicts(stretch), after.verdicts(stretch));
            let becomes = allowed(verdicts);
            if allowed(was) == becomes {
                continue;
            }
            // An end that allowed before as it does now has not made the change; one that denies now has.
            for (verdict, was) in verdicts.iter_mut().zip(was) {
                let made = verdict.map(|verdict| verdict.action) != was.map(|was| was.action)
                    || verdict.is_some_and(|verdict| verdict.action == Action::Deny);
                if !made {
                    *verdict = None;
                }
            }
            let by = self
                .reasons
                .entry((becomes, verdicts))
                .or_insert_with(|| reason(self.new, becomes, (&src.1, &dst.1), verdicts));
            let same = found.iter_mut().find(|(known, of, _)| *known == becomes && of == by);
            if let Some((.., mask)) = same {
                mask.set(stretch);
            } else {
                let mut mask = Mask::default();
                mask.reset(samples.len());
                mask.set(stretch);
                found.push((becomes, Arc::clone(by), mask));
            }
        }
        for (becomes, by, mask) in found {
            let space = self.space;
            let reach = self.reaches.entry(mask);
            let ports = reach.or_insert_with_key(|mask| Arc::new(space.reach(|stretch| mask.has(stretch))));
            self.changes.push(Change {
                becomes: if becomes { "allow" } else { "deny" },
                src: Arc::clone(src_name),
                dst: Arc::clone(dst_name),
                family,
                ports: Arc::clone(ports),
                by,
            });
        }
    }
}

fn reason(
    new: &Judge,
    becomes: bool,
    (src, dst): (&End, &End),
    [egress, ingress]: [Option<Verdict>; 2],
) -> Arc<str> {
    let becomes = if becomes { "allow" } else { "deny" };
    let sides = [Side::new(new, src, egress), Side::new(new, dst, ingress)];
    let mut reasons: Vec<String> = sides
        .into_iter()
        .filter(|side| side.reason != "not_judged" && side.verdict == becomes)
        .map(|side| side.message)
        .collect();
    // Both ends may have it from one policy.
    reasons.dedup();
    reasons.join("; ").into()
}
