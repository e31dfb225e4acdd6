//! A burst's way through the tables of IPv4, sixteen packets in step. The same steps as `half`, the same tables.
//!
//! Lists that go on, chains, wide rules that have bits for a table, and IPv6 are left to the scalar form.

use super::half::{BURST, Half, Left};
use super::record::{FieldLanes, Fields, MORE, NONE, Record};
use super::table_v4::TableV4;
use super::{General, index};
use crate::classifier::arch::{Avx512, Lanes, Mask, Work};
use crate::ruleset::{RuleIndex, Tuple};
use std::net::IpAddr;

const LANES: usize = 16;
const STEPS: usize = BURST / LANES;

/// Whole bursts to be looked up.
pub(super) struct Bursts<'a> {
    pub(super) general: &'a General,
    pub(super) tuples: &'a [[Tuple; BURST]],
    pub(super) outs: &'a mut [[Option<RuleIndex>; BURST]],
}

impl Work for Bursts<'_> {
    #[inline(always)]
    fn run(self, vector: Avx512) {
        for (burst, out) in self.tuples.iter().zip(self.outs) {
            let answers = match (Packets::new(burst), &self.general.v4) {
                (Some(packets), Some(half)) => half.first_in_step(vector, &packets),
                (Some(_), None) => [NONE; BURST],
                (None, _) => self.general.mixed_burst(burst),
            };
            *out = answers.map(index);
        }
    }
}

/// Packets of a burst, a row for each field.
struct Packets {
    src: [[u32; LANES]; STEPS],
    dst: [[u32; LANES]; STEPS],
    src_port: [[u32; LANES]; STEPS],
    dst_port: [[u32; LANES]; STEPS],
    protocol: [[u32; LANES]; STEPS],
}

impl Packets {
    /// Rows of a burst, if all its packets are IPv4.
    #[inline(always)]
    fn new(burst: &[Tuple; BURST]) -> Option<Self> {
        let zero = [[0; LANES]; STEPS];
        let mut packets = Self { src: zero, dst: zero, src_port: zero, dst_port: zero, protocol: zero };
        for at in 0..BURST {
            let tuple = &burst[at];
            let (IpAddr::V4(src), IpAddr::V4(dst)) = (tuple.src, tuple.dst) else { return None };
            let (step, lane) = (at / LANES, at % LANES);
            packets.src[step][lane] = src.to_bits();
            packets.dst[step][lane] = dst.to_bits();
            packets.src_port[step][lane] = tuple.src_port.into();
            packets.dst_port[step][lane] = tuple.dst_port.into();
            packets.protocol[step][lane] = tuple.protocol.into();
        }
        Some(packets)
    }

    #[inline(always)]
    fn fields(&self, at: usize) -> Fields {
        let (step, lane) = (at / LANES % STEPS, at % LANES);
        Fields {
            src_port: self.src_port[step][lane] as u16,
            dst_port: self.dst_port[step][lane] as u16,
            protocol: self.protocol[step][lane] as u8,
        }
    }
}

/// What is known of a burst when the steps are done.
struct Found {
    best: [[u32; LANES]; STEPS],
    src_class: [[u32; LANES]; STEPS],
    dst_class: [[u32; LANES]; STEPS],
    position: [[u32; LANES]; STEPS],
    /// Packets for which a list goes on: by source, by destination, by pair.
    left: [u64; 3],
}

impl Half<TableV4> {
    #[inline(always)]
    fn first_in_step(&self, v: Avx512, packets: &Packets) -> [u32; BURST] {
        let zero = [[0; LANES]; STEPS];
        let mut found = Found {
            best: [[NONE; LANES]; STEPS],
            src_class: zero,
            dst_class: zero,
            position: zero,
            left: [0; 3],
        };
        for step in 0..STEPS {
            self.step(v, packets, &mut found, step);
        }
        self.rest(v, packets, &mut found);
        let mut answers = [NONE; BURST];
        for at in 0..BURST {
            answers[at] = found.best[at / LANES][at % LANES];
        }
        answers
    }

    #[inline(always)]
    fn step(&self, v: Avx512, packets: &Packets, found: &mut Found, step: usize) {
        let (src, dst) = (v.load(&packets.src[step]), v.load(&packets.dst[step]));
        let (src_port, dst_port) = (v.load(&packets.src_port[step]), v.load(&packets.dst_port[step]));
        let protocol = v.load(&packets.protocol[step]);
        let src_class = self.src.classes_of_lanes(v, src);
        let dst_class = self.dst.classes_of_lanes(v, dst);
        let mut best = v.splat(NONE);
        let (src_top, dst_top) = (v.right::<24>(src), v.right::<24>(dst));
        let above = |top: Lanes| v.or(v.left::<8>(top), protocol);
        let shift = step * LANES;
        let direct =
            [(&self.by_src, src_class, above(dst_top), 0), (&self.by_dst, dst_class, above(src_top), 1)];
        for (direct, class, value, which) in direct {
            if !direct.is_empty {
                let (a, b) = v.gather_pair::<_, 0>(&direct.first, class);
                let (c, id) = v.gather_pair::<_, 1>(&direct.first, class);
                let matched = Record::lanes_match(v, [a, b, c], FieldLanes { src_port, dst_port, value });
                let more = settle(v, matched, Mask::MAX, id, &mut best);
                found.left[which] |= u64::from(more) << shift;
            }
        }
        if !self.pairs.is_empty() {
            let position = self.pairs.positions(v, src_class, dst_class);
            let ([a, b, c, id], [key_dst, key_src]) = self.pairs.slots_of_lanes(v, position);
            let is_here = v.equal(key_dst, dst_class) & v.equal(key_src, src_class);
            let value = protocol;
            let matched =
                is_here & Record::lanes_match(v, [a, b, c], FieldLanes { src_port, dst_port, value });
            let more = settle(v, matched, is_here, id, &mut best);
            found.left[2] |= u64::from(more) << shift;
            v.store(position, &mut found.position[step]);
        }
        if let Some(wide) = &self.wide {
            let fields = (src_port, dst_port, protocol);
            if let Some(id) = wide.first_of_lanes(v, fields, (src_top, dst_top)) {
                best = v.min(best, id);
            }
        }
        v.store(src_class, &mut found.src_class[step]);
        v.store(dst_class, &mut found.dst_class[step]);
        v.store(best, &mut found.best[step]);
    }

    /// What is not the same for every packet.
    #[inline(always)]
    fn rest(&self, v: Avx512, packets: &Packets, found: &mut Found) {
        let Found { best, src_class, dst_class, position, left } = found;
        let [by_src, by_dst, by_pair] = *left;
        let top = |addresses: &[[u32; LANES]; STEPS], at: usize| {
            (addresses[at / LANES % STEPS][at % LANES] >> 24) as u8
        };
        for at in Left(by_src) {
            let (step, lane) = (at / LANES % STEPS, at % LANES);
            let list = self.by_src.rest.get(src_class[step][lane] as usize).copied().unwrap_or(0);
            let below = &mut best[step][lane];
            *below = self.lists.first_in_step(v, list, packets.fields(at), top(&packets.dst, at), *below);
        }
        for at in Left(by_dst) {
            let (step, lane) = (at / LANES % STEPS, at % LANES);
            let list = self.by_dst.rest.get(dst_class[step][lane] as usize).copied().unwrap_or(0);
            let below = &mut best[step][lane];
            *below = self.lists.first_in_step(v, list, packets.fields(at), top(&packets.src, at), *below);
        }
        for at in Left(by_pair) {
            let (step, lane) = (at / LANES % STEPS, at % LANES);
            let below = &mut best[step][lane];
            let list = self.pairs.slot(position[step][lane]).rest;
            *below = self.lists.first_in_step(v, list, packets.fields(at), 0, *below);
        }
        if let Some(wide) = self.wide.as_ref().filter(|wide| !wide.is_table()) {
            for at in 0..BURST {
                let below = &mut best[at / LANES][at % LANES];
                let tops = (top(&packets.src, at), top(&packets.dst, at));
                *below = (*below).min(wide.first(packets.fields(at), tops.0, tops.1));
            }
        }
        if let Some(chains) = &self.chains {
            for at in 0..BURST {
                let (step, lane) = (at / LANES, at % LANES);
                let classes = (src_class[step][lane], dst_class[step][lane]);
                let below = &mut best[step][lane];
                *below = chains.first_in_step(v, &self.lists, classes, packets.fields(at), *below);
            }
        }
    }
}

/// Takes the ids of records that match into account; what is returned is where a list goes on behind one that does
/// not, among lanes whose record is theirs.
#[inline(always)]
fn settle(v: Avx512, matched: Mask, is_here: Mask, id: Lanes, best: &mut Lanes) -> Mask {
    let found = v.select(matched, v.splat(NONE), v.and(id, v.splat(NONE)));
    *best = v.min(*best, found);
    v.any_of(id, v.splat(MORE)) & is_here & !matched
}
