//! A difference in few lines: changes of many pairs of which the same is true are one block.
//!
//! A block is exact: every source to every destination, over the same ports, for the same reason. Sources with equal
//! sets of destinations are found per kind of change; cost: changes, sorted.

use super::diff::Difference;
use super::owner::Roster;
use super::reach::Reach;
use ahash::AHashMap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Changes of many pairs that are alike: every source to every destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeBlock {
    /// What they become: `allow` or `deny`.
    pub becomes: &'static str,
    /// Who connects, in words.
    pub src: String,
    /// To whom, in words.
    pub dst: String,
    /// How many pairs that is.
    pub pairs: usize,
    /// `IPv4`, `IPv6` or `both`.
    pub families: &'static str,
    /// Which connections.
    pub ports: Arc<Reach>,
    /// Why they are judged so now.
    pub by: Arc<str>,
}

impl Difference {
    /// The changes in as few lines as say them all: pairs of which the same is true are taken together.
    pub fn blocks(&self) -> Vec<ChangeBlock> {
        let roster = Roster::new(&self.ends);
        let numbers: AHashMap<&str, usize> =
            self.ends.iter().enumerate().map(|(number, end)| (end.name.as_str(), number)).collect();
        // What changes ─► source ─► destination ─► families, as bits.
        let mut order: Vec<(&'static str, &Arc<Reach>, &Arc<str>)> = Vec::new();
        let mut known: AHashMap<(&'static str, &Arc<Reach>, &Arc<str>), usize> = AHashMap::new();
        let mut facts: Vec<BTreeMap<usize, BTreeMap<usize, u8>>> = Vec::new();
        for change in &self.changes {
            let what = (change.becomes, &change.ports, &change.by);
            let fact = *known.entry(what).or_insert_with(|| {
                order.push(what);
                facts.push(BTreeMap::new());
                facts.len() - 1
            });
            let ends = (numbers.get(&*change.src), numbers.get(&*change.dst));
            let (Some(fact), (Some(&src), Some(&dst))) = (facts.get_mut(fact), ends) else { continue };
            let family = if change.family == 4 { 1 } else { 2 };
            *fact.entry(src).or_default().entry(dst).or_default() |= family;
        }
        let mut blocks: Vec<ChangeBlock> = Vec::new();
        for ((becomes, ports, by), sources) in order.into_iter().zip(facts) {
            // Destinations of one family set ─► the sources that have exactly these.
            let mut same: BTreeMap<(u8, Vec<usize>), Vec<usize>> = BTreeMap::new();
            for (src, destinations) in sources {
                for families in 1..=3_u8 {
                    let dsts: Vec<usize> = destinations
                        .iter()
                        .filter(|(_, of)| **of == families)
                        .map(|(&destination, _)| destination)
                        .collect();
                    if !dsts.is_empty() {
                        same.entry((families, dsts)).or_default().push(src);
                    }
                }
            }
            let begin = blocks.len();
            // A pod's own address is never judged, so sets of destinations of otherwise equal sources lack one each.
            for ((families, dsts), srcs) in join_diagonals(same) {
                let pairs = srcs.iter().map(|src| dsts.iter().filter(|dst| *dst != src).count()).sum();
                blocks.push(ChangeBlock {
                    becomes,
                    src: roster.name(&srcs),
                    dst: roster.name(&dsts),
                    pairs,
                    families: ["", "IPv4", "IPv6", "both"].get(usize::from(families)).copied().unwrap_or(""),
                    ports: Arc::clone(ports),
                    by: Arc::clone(by),
                });
            }
            if let Some(of_one_kind) = blocks.get_mut(begin..) {
                of_one_kind.sort_by_key(|block| std::cmp::Reverse(block.pairs));
            }
        }
        blocks
    }
}

type Sets = BTreeMap<(u8, Vec<usize>), Vec<usize>>;

/// Joins sources whose destinations are the same but for the source itself.
fn join_diagonals(sets: Sets) -> Sets {
    let mut joined = Sets::new();
    for ((families, dsts), srcs) in sets {
        if let ([src], false) = (&srcs[..], srcs.iter().any(|src| dsts.contains(src))) {
            let mut whole = dsts.clone();
            whole.push(*src);
            whole.sort_unstable();
            joined.entry((families, whole)).or_default().push(*src);
        } else {
            joined.entry((families, dsts)).or_default().extend(srcs);
        }
    }
    // Whoever found nobody to join gets its own set back.
    let mut done = Sets::new();
    for ((families, mut dsts), mut srcs) in joined {
        if let [src] = srcs[..] {
            dsts.retain(|dst| *dst != src);
        }
        srcs.sort_unstable();
        done.entry((families, dsts)).or_default().extend(srcs);
    }
    done
}
