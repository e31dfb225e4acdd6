//! The engine for general rule sets: prefixes to classes, classes to a record or two, least id wins.
//!
//! A packet's addresses become classes by tries that the rules' long prefixes make (`table_v4`, `table_v6`). Rules wait
//! at the class of one address, or at a pair of classes (`pairs`), as 16-byte records of ports and protocol; those with
//! two short prefixes are crossed by product (`wide`). Which rule waits where is planned by counting (`plan`); what would
//! blow up is looked up by pairs of prefixes instead (`chains`), so that memory is linear in the rules for any set.
//! Families have tables of their own (`half`). Nothing of a rule is lost, and the id found is the exact first match:
//! the property tests hold it equal to `linear`.
//!
//! Cost: some twenty loads a packet, independent within a burst; more only where lists go on or chains are used. Where
//! the processor has AVX-512 a burst of IPv4 goes through sixteen packets in step (`vector`). Bytes: 1 MiB, and for each
//! rule from about 130 (the public filter sets) to at most some 2,000 (hostile), computed before building.
//!
//! Known weakness: a set of which most rules are chained, thousands of nested prefixes on both sides, is looked up some
//! twenty times slower than others.

mod addresses;
mod chains;
mod half;
mod hints;
mod lists;
mod pairs;
mod paths;
mod plan;
mod prefixes;
mod record;
mod table_v4;
mod table_v6;
#[cfg(target_arch = "x86_64")]
mod vector;
mod wide;

use super::TupleClassifier;
#[cfg(target_arch = "x86_64")]
use super::arch::Avx512;
use crate::ruleset::{Rule, RuleIndex, Tuple};
use half::{BURST, Burst, Estimate, Half};
use plan::Entry;
use record::{Fields, NONE};
use std::net::IpAddr;
use table_v4::TableV4;
use table_v6::TableV6;

#[cfg(target_arch = "x86_64")]
pub(super) use {pairs::Slot, record::Record, table_v4::Line};

/// Rules of a set at most; ids have 31 bits, classes 30, and numbers of prefixes (from 1) 24.
const MAX_RULES: usize = (1 << 24) - 1;
/// What is left of a batch goes through in bursts of so many, and then one by one.
const SMALL_BURST: usize = 8;
/// Gathers count words with 31 bits; no table of less than this has as many.
#[cfg(target_arch = "x86_64")]
const VECTOR_MEMORY: usize = 4 << 30;
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
    /// Where the processor can look sixteen packets up in step, and the tables are not too large for that.
    #[cfg(target_arch = "x86_64")]
    vector: Option<Avx512>,
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
            #[cfg(target_arch = "x86_64")]
            vector: Avx512::detect().filter(|_| needed < VECTOR_MEMORY),
        })
    }

    /// Ids of the first matches of a burst, or [`NONE`].
    #[inline(always)]
    fn burst<const N: usize>(&self, tuples: &[Tuple; N]) -> [u32; N] {
        let mut v4 = Burst::<u32, N>::new();
        for (at, tuple) in tuples.iter().enumerate() {
            let (IpAddr::V4(src), IpAddr::V4(dst)) = (tuple.src, tuple.dst) else {
                return self.mixed_burst(tuples);
            };
            v4.set(at, src.to_bits(), dst.to_bits(), fields(tuple));
        }
        self.v4.as_ref().map_or([NONE; N], |half| half.first(&v4))
    }

    /// The same where not all packets are IPv4.
    #[inline(never)]
    fn mixed_burst<const N: usize>(&self, tuples: &[Tuple; N]) -> [u32; N] {
        // Places of the other family stay empty, and what is found for them is not looked at. A packet with addresses
        // of two families matches no rule: prefixes are of one.
        let (mut v4, mut v6) = (Burst::<u32, N>::new(), Burst::<u128, N>::new());
        let mut any_v4 = false;
        for (at, tuple) in tuples.iter().enumerate() {
            match (tuple.src, tuple.dst) {
                (IpAddr::V4(src), IpAddr::V4(dst)) => {
                    v4.set(at, src.to_bits(), dst.to_bits(), fields(tuple));
                    any_v4 = true;
                }
                (IpAddr::V6(src), IpAddr::V6(dst)) => {
                    v6.set(at, src.to_bits(), dst.to_bits(), fields(tuple));
                }
                _ => {}
            }
        }
        let v4 = self.v4.as_ref().filter(|_| any_v4).map_or([NONE; N], |half| half.first(&v4));
        let v6 = self.v6.as_ref().map_or([NONE; N], |half| half.first(&v6));
        let mut answers = [NONE; N];
        for (at, tuple) in tuples.iter().enumerate() {
            answers[at] = match (tuple.src, tuple.dst) {
                (IpAddr::V4(_), IpAddr::V4(_)) => v4[at],
                (IpAddr::V6(_), IpAddr::V6(_)) => v6[at],
                _ => NONE,
            };
        }
        answers
    }

    /// The first rule that matches among those that `skip` does not name; everything is looked at, one by one.
    pub(super) fn lookup_but(&self, tuple: &Tuple, skip: impl Fn(u32) -> bool + Copy) -> Option<u32> {
        let fields = fields(tuple);
        let found = match (tuple.src, tuple.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                self.v4.as_ref()?.first_but(src.to_bits(), dst.to_bits(), fields, skip)
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                self.v6.as_ref()?.first_but(src.to_bits(), dst.to_bits(), fields, skip)
            }
            _ => NONE,
        };
        (found != NONE).then_some(found)
    }

    /// Whole bursts in step, where that can be done; whether it could.
    #[cfg(target_arch = "x86_64")]
    fn vector_bursts(&self, bursts: &[[Tuple; BURST]], outs: &mut [[Option<RuleIndex>; BURST]]) -> bool {
        let Some(vector) = self.vector.filter(|_| !bursts.is_empty()) else { return false };
        vector.run(vector::Bursts { general: self, tuples: bursts, outs });
        true
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn vector_bursts(&self, _: &[[Tuple; BURST]], _: &mut [[Option<RuleIndex>; BURST]]) -> bool {
        false
    }

    #[inline(always)]
    fn batch(&self, tuples: &[Tuple], out: &mut [Option<RuleIndex>]) {
        let len = tuples.len().min(out.len());
        let (Some(tuples), Some(out)) = (tuples.get(..len), out.get_mut(..len)) else { return };
        let (bursts, tuples) = tuples.as_chunks::<BURST>();
        let (outs, out) = out.as_chunks_mut::<BURST>();
        if !self.vector_bursts(bursts, outs) {
            for (burst, out) in bursts.iter().zip(outs) {
                *out = self.burst(burst).map(index);
            }
        }
        let (bursts, tuples) = tuples.as_chunks::<SMALL_BURST>();
        let (outs, out) = out.as_chunks_mut::<SMALL_BURST>();
        for (burst, out) in bursts.iter().zip(outs) {
            *out = self.burst(burst).map(index);
        }
        for (tuple, out) in tuples.iter().zip(out) {
            *out = self.lookup(tuple);
        }
    }
}

impl TupleClassifier for General {
    fn lookup(&self, tuple: &Tuple) -> Option<RuleIndex> {
        let [answer] = self.burst(std::array::from_ref(tuple));
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

#[inline(always)]
fn fields(tuple: &Tuple) -> Fields {
    let &Tuple { src_port, dst_port, protocol, .. } = tuple;
    Fields { src_port, dst_port, protocol }
}

/// The rules with most copies.
fn largest(mut copies: Vec<(usize, u32)>) -> Vec<u32> {
    copies.sort_by_key(|&(copies, id)| (std::cmp::Reverse(copies), id));
    copies.into_iter().take(NAMED).map(|(_, id)| id).collect()
}
