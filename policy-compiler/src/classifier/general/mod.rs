//! The engine for general rule sets: prefixes to classes, classes to a record or two, least id wins.
//!
//! A packet's addresses become classes by tries that the rules' long prefixes make (`table_v4`, `table_v6`). Rules wait
//! at the class of one address, or at a pair of classes (`pairs`), as 16-byte records of ports and protocol; those with
//! two short prefixes are crossed by product (`wide`). Which rule waits where is planned by counting (`plan`); what would
//! blow up is looked up by pairs of prefixes instead (`chains`), so that memory is linear in the rules for any set.
//! Families have tables of their own (`half`). Nothing of a rule is lost, and the id found is the exact first match:
//! the property tests hold it equal to `linear`.
//!
//! Cost: some twenty loads a packet, independent within a burst; more only where lists go on or chains are used. Bytes:
//! 1 MiB, and for each rule from about 60 (firewalls) to at most some 1,500 (hostile), computed before building.

mod addresses;
mod chains;
mod half;
mod lists;
mod pairs;
mod plan;
mod prefixes;
mod record;
mod table_v4;
mod table_v6;
mod wide;

use super::TupleClassifier;
use crate::ruleset::{Rule, RuleIndex, Tuple};
use half::{BURST, Burst, Estimate, Half};
use plan::Entry;
use record::{Fields, NONE};
use std::net::IpAddr;
use table_v4::TableV4;
use table_v6::TableV6;

/// Rules of a set at most; ids have 31 bits and classes 30.
const MAX_RULES: usize = 1 << 24;
/// Rules named as those that take most.
const NAMED: usize = 8;

/// What a compiled rule set may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all tables.
    pub memory: usize,
}

impl Default for Limits {
    /// 256 MiB.
    fn default() -> Self {
        Self { memory: 256 << 20 }
    }
}

/// A rule set that would not fit. Nothing has been built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the rule set needs up to {needed} bytes, {allowed} are allowed; rules {rules:?} take most: shorten the set, make \
     their prefixes less nested, or raise the limit"
)]
pub struct TooLarge {
    /// Bytes needed at most.
    pub needed: usize,
    /// Bytes allowed.
    pub allowed: usize,
    /// The rules with most copies, by index.
    pub rules: Vec<u32>,
}

/// A compiled rule set.
///
/// ```
/// use policy_compiler::classifier::{General, Limits, TupleClassifier};
/// use policy_compiler::ruleset::{RuleIndex, text};
///
/// let rules = text::rules("set", "@10.0.0.0/8 192.0.2.0/24 0 : 65535 80 : 80 0x06/0xFF\n\
///                                 @0.0.0.0/0 192.0.2.0/24 0 : 65535 0 : 65535 0x00/0x00")?;
/// let packets = text::trace("trace", "10.1.2.3 192.0.2.1 4711 80 6\n10.1.2.3 192.0.2.1 4711 81 6")?;
/// let Ok(general) = General::new(&rules, Limits::default()) else { panic!("two rules fit") };
/// let mut answers = [None; 2];
/// general.lookup_batch(&packets, &mut answers);
/// assert_eq!(answers, [Some(RuleIndex(0)), Some(RuleIndex(1))]);
/// # Ok::<(), Vec<text::Problem>>(())
/// ```
#[derive(Debug)]
pub struct General {
    v4: Option<Half<TableV4>>,
    v6: Option<Half<TableV6>>,
}

impl General {
    /// Compiles a rule set, if its tables are within the limits.
    pub fn new(rules: &[Rule], limits: Limits) -> Result<Self, TooLarge> {
        if rules.len() > MAX_RULES {
            let needed = rules.len().saturating_mul(size_of::<Rule>());
            return Err(TooLarge { needed, allowed: limits.memory, rules: Vec::new() });
        }
        let family = |v4: bool| -> Vec<Entry<'_>> {
            let rules = (0..).zip(rules).filter(|(_, rule)| rule.is_ipv4() == v4);
            rules.map(|(id, rule)| Entry::new(id, rule)).collect()
        };
        let (v4, v6) = (family(true), family(false));
        let of_v4 = (!v4.is_empty()).then(|| Estimate::new::<TableV4>(&v4));
        let of_v6 = (!v6.is_empty()).then(|| Estimate::new::<TableV6>(&v6));
        let bytes = |estimate: &Option<Estimate>| estimate.as_ref().map_or(0, |estimate| estimate.bytes);
        let needed = bytes(&of_v4).saturating_add(bytes(&of_v6));
        if needed > limits.memory {
            let entries = [(&v4, &of_v4), (&v6, &of_v6)];
            let copies = entries.into_iter().filter_map(|(entries, estimate)| {
                let copies = &estimate.as_ref()?.plan.copies;
                Some(entries.iter().zip(copies).map(|(entry, &copies)| (copies, entry.id)))
            });
            return Err(TooLarge {
                needed,
                allowed: limits.memory,
                rules: largest(copies.flatten().collect()),
            });
        }
        Ok(Self {
            v4: of_v4.map(|estimate| Half::new(&v4, estimate)),
            v6: of_v6.map(|estimate| Half::new(&v6, estimate)),
        })
    }

    /// Ids of the first matches of a burst that is not longer than `N`, or [`NONE`].
    #[inline(always)]
    fn burst<const N: usize>(&self, tuples: &[Tuple]) -> [u32; N] {
        let mut answers = [NONE; N];
        let (mut v4, mut v6) = (Burst::<u32, N>::new(), Burst::<u128, N>::new());
        let (mut v4_at, mut v6_at) = ([0_u32; N], [0_u32; N]);
        for (tuple, number) in tuples.iter().zip(0..) {
            let &Tuple { src_port, dst_port, protocol, .. } = tuple;
            let fields = Fields { src_port, dst_port, protocol };
            match (tuple.src, tuple.dst) {
                (IpAddr::V4(src), IpAddr::V4(dst)) => {
                    if let Some(at) = v4_at.get_mut(v4.len) {
                        *at = number;
                    }
                    v4.push(src.to_bits(), dst.to_bits(), fields);
                }
                (IpAddr::V6(src), IpAddr::V6(dst)) => {
                    if let Some(at) = v6_at.get_mut(v6.len) {
                        *at = number;
                    }
                    v6.push(src.to_bits(), dst.to_bits(), fields);
                }
                // No rule has prefixes of both families.
                _ => {}
            }
        }
        if let Some(half) = self.v4.as_ref().filter(|_| v4.len > 0) {
            spread(&half.first(&v4), &v4_at, v4.len, &mut answers);
        }
        if let Some(half) = self.v6.as_ref().filter(|_| v6.len > 0) {
            spread(&half.first(&v6), &v6_at, v6.len, &mut answers);
        }
        answers
    }

    #[inline(always)]
    fn batch(&self, tuples: &[Tuple], out: &mut [Option<RuleIndex>]) {
        for (tuples, out) in tuples.chunks(BURST).zip(out.chunks_mut(BURST)) {
            let answers = self.burst::<BURST>(tuples);
            // Zipped with the tuples as well, so that answers without a tuple stay as they were.
            for ((out, &answer), _) in out.iter_mut().zip(&answers).zip(tuples) {
                *out = index(answer);
            }
        }
    }
}

impl TupleClassifier for General {
    fn lookup(&self, tuple: &Tuple) -> Option<RuleIndex> {
        let [answer] = self.burst::<1>(std::slice::from_ref(tuple));
        index(answer)
    }

    fn lookup_batch(&self, tuples: &[Tuple], out: &mut [Option<RuleIndex>]) {
        self.batch(tuples, out);
    }

    fn memory_bytes(&self) -> usize {
        self.v4.as_ref().map_or(0, Half::memory_bytes) + self.v6.as_ref().map_or(0, Half::memory_bytes)
    }

    fn name(&self) -> &'static str {
        "general"
    }
}

#[inline(always)]
fn index(answer: u32) -> Option<RuleIndex> {
    (answer != NONE).then_some(RuleIndex(answer))
}

/// Puts the answers of one family where its packets stood in the burst.
#[inline(always)]
fn spread(answers: &[u32], at: &[u32], len: usize, out: &mut [u32]) {
    for (&answer, &at) in answers.iter().zip(at).take(len) {
        if let Some(place) = out.get_mut(at as usize) {
            *place = answer;
        }
    }
}

/// The rules with most copies.
fn largest(mut copies: Vec<(usize, u32)>) -> Vec<u32> {
    copies.sort_by_key(|&(copies, id)| (std::cmp::Reverse(copies), id));
    copies.into_iter().take(NAMED).map(|(_, id)| id).collect()
}
