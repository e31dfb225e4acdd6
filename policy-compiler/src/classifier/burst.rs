//! Connections to be judged at both ends, in columns: what the packet path asks, as vector units read it.
//!
//! ```text
//!  packet ─► push(&Pair) ─► Place ─┐             PairBurst: groups of sixteen, IPv4 and IPv6 apart
//!  packet ─► push(&Pair) ─► Place ─┤ classify_burst(&mut burst)
//!                                  └─► answer(Place) ─► Answer: allows? · to be noted? · verdicts with rule ids
//! ```
//! A burst is filled, judged by [`Classifier::classify_burst`](super::Classifier::classify_burst) and read; then it is
//! cleared and filled again, and allocates nothing once it has grown to the largest batch. Families may be mixed in any
//! way: each is judged by itself. An answer is two words, one for each end, so that whether a connection may pass is one
//! test; rule ids are looked at only for what is denied, noted or asked about. What was never judged is denied.
//! Bytes: 500 for sixteen IPv4 connections, 900 for sixteen IPv6 ones.

use super::answer::{Answer, NOBODY, UNKNOWN, pack};
use super::group::{Address, Group, LANES, before};
use super::key::{Pair, PairVerdict, Verdict};
use std::net::IpAddr;

/// Where a connection stands in a [`PairBurst`], until that is cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(u32);

const V4: u32 = 0;
const V6: u32 = 1;
/// Ends of different families: no packet, but a question like others.
const MIXED: u32 = 2;

impl Place {
    const fn new(list: u32, position: usize) -> Self {
        Self((position as u32) << 2 | list)
    }

    const fn list(self) -> u32 {
        self.0 & 3
    }

    const fn position(self) -> usize {
        (self.0 >> 2) as usize
    }
}

/// Groups of one family; the first `groups` are in use, and of these all but the last are full.
#[derive(Debug, Clone)]
struct Column<A> {
    list: Vec<Group<A>>,
    len: usize,
}

impl<A> Default for Column<A> {
    fn default() -> Self {
        Self { list: Vec::new(), len: 0 }
    }
}

impl<A: Copy + Default> Column<A> {
    #[inline]
    fn push(&mut self, pair: &Pair, src: A, dst: A) -> usize {
        let position = self.len;
        let number = position / LANES;
        if number >= self.list.len() {
            self.list.push(Group::new());
        }
        if let Some(group) = self.list.get_mut(number) {
            if position.is_multiple_of(LANES) {
                group.used = 0;
            }
            group.push(pair, src, dst);
        }
        self.len = position + 1;
        position
    }

    fn groups(&mut self) -> &mut [Group<A>] {
        let groups = self.len.div_ceil(LANES);
        self.list.get_mut(..groups).unwrap_or_default()
    }

    #[inline]
    fn group(&self, position: usize) -> Option<(&Group<A>, usize)> {
        if position >= self.len {
            return None;
        }
        Some((self.list.get(position / LANES)?, position % LANES))
    }
}

/// A burst of connections to be judged at both ends: filled with [`Self::push`], judged by
/// [`Classifier::classify_burst`](super::Classifier::classify_burst), read with [`Self::answer`], cleared and filled
/// again. Allocates nothing once it has grown to the largest batch. Families may be mixed in any way.
///
/// ```
/// use policy_compiler::{Classifier, Pair, PairBurst, Verdict};
///
/// fn judge(classifier: &dyn Classifier, pairs: &[Pair], burst: &mut PairBurst) -> Vec<bool> {
///     burst.clear();
///     let places: Vec<_> = pairs.iter().map(|pair| burst.push(pair)).collect();
///     classifier.classify_burst(burst);
///     places.into_iter().map(|place| burst.answer(place).allows()).collect()
/// }
/// ```
#[derive(Debug, Clone, Default)]
pub struct PairBurst {
    v4: Column<u32>,
    v6: Column<u128>,
    mixed: Vec<(Pair, [u32; 2])>,
}

impl PairBurst {
    /// How many connections are in it.
    pub fn len(&self) -> usize {
        self.v4.len + self.v6.len + self.mixed.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all connections and keeps the memory.
    pub fn clear(&mut self) {
        self.v4.len = 0;
        self.v6.len = 0;
        self.mixed.clear();
    }

    /// Adds a connection. At most 2^30 of a family are told apart.
    #[inline]
    pub fn push(&mut self, pair: &Pair) -> Place {
        match (pair.src, pair.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                Place::new(V4, self.v4.push(pair, src.to_bits(), dst.to_bits()))
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                Place::new(V6, self.v6.push(pair, src.to_bits(), dst.to_bits()))
            }
            _ => {
                self.mixed.push((*pair, [before(pair.source), before(pair.destination)]));
                Place::new(MIXED, self.mixed.len() - 1)
            }
        }
    }

    /// The connection at a place; none at one from before the burst was cleared.
    pub fn pair(&self, place: Place) -> Option<Pair> {
        let position = place.position();
        match place.list() {
            V4 => self.v4.group(position).and_then(|(group, lane)| group.pair(lane)),
            V6 => self.v6.group(position).and_then(|(group, lane)| group.pair(lane)),
            _ => self.mixed.get(position).map(|(pair, _)| *pair),
        }
    }

    /// The answer at a place: denied unless the burst has been judged.
    #[inline]
    pub fn answer(&self, place: Place) -> Answer {
        let position = place.position();
        let words = match place.list() {
            V4 => self.v4.group(position).map(|(group, lane)| group.words.map(|words| words[lane])),
            V6 => self.v6.group(position).map(|(group, lane)| group.words.map(|words| words[lane])),
            _ => self.mixed.get(position).map(|(_, words)| *words),
        };
        Answer::new(words.unwrap_or([UNKNOWN; 2]))
    }

    pub(crate) fn v4(&mut self) -> &mut [Group<u32>] {
        self.v4.groups()
    }

    pub(crate) fn v6(&mut self) -> &mut [Group<u128>] {
        self.v6.groups()
    }

    /// Answers one by one what [`Self::v4`] and [`Self::v6`] do not have.
    pub(crate) fn judge_mixed(&mut self, mut judge: impl FnMut(&Pair) -> PairVerdict) {
        for (pair, words) in &mut self.mixed {
            *words = packed(judge(pair));
        }
    }

    /// Answers all of it one by one.
    pub(crate) fn judge_each(&mut self, mut judge: impl FnMut(&Pair) -> PairVerdict) {
        each(self.v4(), &mut judge);
        each(self.v6(), &mut judge);
        self.judge_mixed(judge);
    }
}

fn each<A>(groups: &mut [Group<A>], judge: &mut impl FnMut(&Pair) -> PairVerdict)
where
    A: Copy + Default + Into<Address>,
{
    for group in groups {
        for lane in 0..LANES {
            let Some(pair) = group.pair(lane) else { continue };
            let words = packed(judge(&pair));
            group.words[0][lane] = words[0];
            group.words[1][lane] = words[1];
        }
    }
}

/// The words of verdicts of which it is not known whether they are to be noted.
fn packed(verdicts: PairVerdict) -> [u32; 2] {
    let word = |verdict: Option<Verdict>| {
        verdict.map_or(NOBODY, |Verdict { action, rule }| pack(action, rule, true))
    };
    [word(verdicts.egress), word(verdicts.ingress)]
}

#[cfg(test)]
mod tests {
    use super::{LANES, Pair, PairBurst, PairVerdict, Verdict};
    use crate::classifier::RuleId;
    use crate::cluster::SubjectId;
    use crate::model::Action;
    use std::net::IpAddr;

    fn pair(number: u32) -> Pair {
        let v4 = |low: u32| IpAddr::from((0x0a00_0000 | low).to_be_bytes());
        let v6 = |low: u32| IpAddr::from((0xfd00_u128 << 112 | u128::from(low)).to_be_bytes());
        let (src, dst) = match number % 3 {
            0 => (v4(number), v4(number + 1)),
            1 => (v6(number), v6(number + 1)),
            _ => (v4(number), v6(number)),
        };
        Pair {
            source: (!number.is_multiple_of(2)).then_some(SubjectId(number)),
            destination: number.is_multiple_of(5).then_some(SubjectId(number)),
            src,
            dst,
            protocol: 6,
            src_port: number as u16,
            dst_port: !number as u16,
        }
    }

    #[test]
    fn every_connection_keeps_its_place_whatever_its_family() {
        let mut burst = PairBurst::default();
        for round in 0..3 {
            burst.clear();
            assert!(burst.is_empty());
            let places: Vec<_> = (0..100).map(|number| burst.push(&pair(number + round))).collect();
            assert_eq!(burst.len(), 100);
            for (&place, number) in places.iter().zip(round..) {
                assert_eq!(burst.pair(place), Some(pair(number)));
                let answer = burst.answer(place);
                assert_eq!(answer.allows(), number % 2 == 0 && number % 5 != 0, "not judged yet");
            }
            burst.judge_each(|pair| PairVerdict {
                egress: pair.source.map(|subject| Verdict { action: Action::Allow, rule: RuleId(subject.0) }),
                ingress: pair
                    .destination
                    .map(|subject| Verdict { action: Action::Deny, rule: RuleId(subject.0) }),
            });
            for (&place, number) in places.iter().zip(round..) {
                let answer = burst.answer(place);
                assert_eq!(answer.allows(), number % 5 != 0);
                let rule = RuleId(number);
                assert_eq!(
                    answer.egress(),
                    pair(number).source.map(|_| Verdict { action: Action::Allow, rule })
                );
                assert_eq!(
                    answer.ingress(),
                    pair(number).destination.map(|_| Verdict { action: Action::Deny, rule })
                );
            }
        }
    }

    #[test]
    fn a_place_of_a_burst_that_was_cleared_is_denied() {
        let mut burst = PairBurst::default();
        let place = (0..LANES as u32).map(|_| burst.push(&pair(0))).last();
        burst.clear();
        let Some(place) = place else { panic!("something was pushed") };
        assert_eq!(burst.pair(place), None);
        assert!(!burst.answer(place).allows());
    }
}
