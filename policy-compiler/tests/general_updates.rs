//! Promise: after any number of random updates a live rule set answers as a fresh build does, and takes as many bytes.
//!
//! Some answers are compared after every update, all of them and the bytes at intervals, with rules that the test keeps in
//! a list of its own. The long run takes some minutes:
//!
//! ```sh
//! cargo test --release -p policy-compiler --test general_updates -- --ignored --nocapture
//! ```

use ipnet::IpNet;
use policy_compiler::classifier::{General, Limits, LiveRules, Merge, RuleHandle, TupleClassifier};
use policy_compiler::ruleset::{Ports, ProtocolMask, Rule, RuleIndex, Tuple};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Updates for which a merge that was handed out is under way.
const UNDER_WAY: usize = 40;

/// A stream of numbers; the same on every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (((self.0 ^ self.0 >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 20) as usize) % bound
    }

    fn address(&mut self, v4: bool) -> IpAddr {
        let bits =
            10 << 24 | (self.below(24) as u32) << 16 | (self.below(8) as u32) << 8 | self.below(64) as u32;
        if v4 { Ipv4Addr::from_bits(bits).into() } else { Ipv6Addr::from_bits(u128::from(bits) << 64).into() }
    }

    /// Mostly hosts and networks, on each side now and then nothing, or one of nested prefixes of middle length.
    fn prefix(&mut self, v4: bool) -> IpNet {
        let len = [32, 32, 32, 30, 24, 24, 22, 16, 16, 12, 8, 0][self.below(12)];
        let len = if v4 || len == 0 { len } else { 32 + len };
        IpNet::new(self.address(v4), len).expect("a length of the family").trunc()
    }

    fn ports(&mut self) -> Ports {
        let port = self.below(200) as u16;
        match self.below(4) {
            0 => Ports::ANY,
            1 => Ports::new(port, port + self.below(300) as u16).expect("in order"),
            _ => Ports::one(port),
        }
    }

    fn rule(&mut self) -> Rule {
        let v4 = self.below(5) != 0;
        let protocol = if self.below(6) == 0 { ProtocolMask::ANY } else { ProtocolMask::new(6, 0xff) };
        let (src, dst) = (self.prefix(v4), self.prefix(v4));
        Rule::new(src, dst, self.ports(), self.ports(), protocol).expect("one family")
    }

    fn packet(&mut self) -> Tuple {
        let v4 = self.below(5) != 0;
        Tuple {
            src: self.address(v4),
            dst: self.address(v4),
            src_port: self.below(300) as u16,
            dst_port: self.below(300) as u16,
            protocol: [6, 6, 6, 17][self.below(4)],
        }
    }
}

/// The rules as they are, with the handles they were given.
#[derive(Default)]
struct Expected {
    rules: Vec<Rule>,
    handles: Vec<RuleHandle>,
}

impl Expected {
    fn handle(&self, index: Option<RuleIndex>) -> Option<RuleHandle> {
        Some(self.handles[index?.0 as usize])
    }

    /// Rule after rule.
    fn first(&self, packet: &Tuple) -> Option<RuleHandle> {
        let place = self.rules.iter().position(|rule| rule.matches(packet))?;
        Some(self.handles[place])
    }
}

fn settle(live: &mut LiveRules, out: &mut Option<(usize, Merge)>) {
    if let Some((_, merge)) = out.take() {
        live.adopt(merge.run()).expect("fits");
    }
    let all = live.merge_all().expect("none is out");
    live.adopt(all.run()).expect("fits");
}

/// All answers and the bytes are those of a fresh build.
fn is_fresh(live: &LiveRules, expected: &Expected, packets: &[Tuple]) {
    let fresh = General::new(&expected.rules, Limits::default()).expect("fits");
    let snapshot = live.snapshot();
    let mut answers = vec![None; packets.len()];
    snapshot.lookup_batch(packets, &mut answers);
    for (packet, answer) in packets.iter().zip(answers) {
        assert_eq!(answer, expected.handle(fresh.lookup(packet)), "{packet:?}");
        assert_eq!(answer, snapshot.lookup(packet), "one by one: {packet:?}");
    }
}

/// Random updates of a set of about so many rules; all answers are compared `full` times.
fn run(rules: usize, updates: usize, full: usize) {
    let mut numbers = Numbers(1);
    let mut expected = Expected { rules: (0..rules).map(|_| numbers.rule()).collect(), handles: Vec::new() };
    let mut live = LiveRules::new(&expected.rules, Limits::default()).expect("fits");
    expected.handles = live.rules().map(|(handle, _)| handle).collect();
    let packets: Vec<Tuple> = (0..2_000).map(|_| numbers.packet()).collect();
    let mut out: Option<(usize, Merge)> = None;
    let mut hits = 0;
    let begin = live.snapshot().memory_bytes();
    for update in 1..=updates {
        // As many removals as insertions in the long run, and the number of rules stays near where it was.
        if numbers.below(2 * rules) < expected.rules.len() {
            let place = numbers.below(expected.rules.len());
            assert_eq!(live.remove(place), Some(expected.handles.remove(place)));
            expected.rules.remove(place);
        } else {
            let (place, rule) = (numbers.below(expected.rules.len() + 1), numbers.rule());
            expected.handles.insert(place, live.insert(place, rule).expect("fits"));
            expected.rules.insert(place, rule);
        }
        if let Some((_, merge)) = out.take_if(|(since, _)| update - *since >= UNDER_WAY) {
            live.adopt(merge.run()).expect("fits");
        }
        if out.is_none() {
            out = live.merge().map(|merge| (update, merge));
        }
        let snapshot = live.snapshot();
        for _ in 0..4 {
            let packet = &packets[numbers.below(packets.len())];
            let found = snapshot.lookup(packet);
            assert_eq!(found, expected.first(packet), "update {update}: {packet:?}");
            hits += usize::from(found.is_some());
        }
        if update.is_multiple_of(updates / full) {
            is_fresh(&live, &expected, &packets);
            settle(&mut live, &mut out);
            is_fresh(&live, &expected, &packets);
            let fresh = LiveRules::new(&expected.rules, Limits::default()).expect("fits");
            let (now, fresh) = (live.snapshot().memory_bytes(), fresh.snapshot().memory_bytes());
            assert_eq!(now, fresh, "bytes after {update} updates");
        }
    }
    assert!(hits > updates, "{hits} of {} packets matched a rule", 4 * updates);
    println!(
        "{updates} updates, {} rules: {} bytes at the beginning, {} now, as a fresh build has; {hits} of {} answers were rules",
        expected.rules.len(),
        begin,
        live.snapshot().memory_bytes(),
        4 * updates
    );
}

#[test]
fn random_updates_leave_the_answers_and_the_bytes_of_a_fresh_build() {
    run(1_000, 2_000, 8);
}

#[test]
#[ignore = "takes some minutes"]
fn a_hundred_thousand_random_updates_leave_the_answers_and_the_bytes_of_a_fresh_build() {
    run(5_000, 100_000, 100);
}
