//! Live rule sets against fresh ones.

use super::{LiveRules, Merge, RECENT};
use crate::classifier::{General, Limits, LinearRules, TupleClassifier};
use crate::ruleset::{Rule, Tuple, text};
use proptest::prelude::*;

fn rule(choice: (u8, u8, u16)) -> Rule {
    let (src, dst, port) = choice;
    let line = format!(
        "@10.{src}.0.0/{} 10.0.{dst}.0/{} 0 : 65535 {} : {} 0x06/0x{}",
        [0, 8, 14, 16][usize::from(src % 4)],
        [0, 20, 24, 32][usize::from(dst % 4)],
        port % 8,
        port % 8 + port % 3,
        ["00", "FF"][usize::from(src % 2)],
    );
    text::rules("rule", &line).expect("a rule")[0]
}

fn tuple((src, dst, port): (u8, u8, u16)) -> Tuple {
    let protocol = if port > 0x8000 { 6 } else { 17 };
    Tuple {
        src: [10, src, 0, 1].into(),
        dst: [10, 0, dst, 0].into(),
        src_port: 1,
        dst_port: port % 8,
        protocol,
    }
}

/// Every answer is that of a fresh build of the rules as they are now.
fn is_fresh(live: &LiveRules, asked: &[Tuple]) {
    let rules: Vec<Rule> = live.rules().map(|(_, rule)| *rule).collect();
    let (linear, snapshot) = (LinearRules::new(rules), live.snapshot());
    let mut batch = vec![None; asked.len()];
    snapshot.lookup_batch(asked, &mut batch);
    for (tuple, batched) in asked.iter().zip(batch) {
        let expected = linear.lookup(tuple).map(|index| index.0 as usize);
        let found = snapshot.lookup(tuple);
        assert_eq!(found, batched);
        assert_eq!(found.map(|handle| live.position(handle)), expected.map(Some), "{tuple:?}");
    }
}

proptest! {
    #[test]
    fn after_every_change_the_answers_are_those_of_a_fresh_build(
        start in prop::collection::vec(any::<(u8, u8, u16)>(), 0..40),
        changes in prop::collection::vec((0..6_u8, any::<u16>(), any::<(u8, u8, u16)>()), 1..60),
        asked in prop::collection::vec(any::<(u8, u8, u16)>(), 30),
    ) {
        let start: Vec<Rule> = start.into_iter().map(rule).collect();
        let asked: Vec<Tuple> = asked.into_iter().map(tuple).collect();
        let mut live = LiveRules::new(&start, Limits::default()).expect("fits");
        let mut out: Option<Merge> = None;
        for (kind, position, choice) in changes {
            let position = usize::from(position);
            match kind {
                0..3 => {
                    let place = position % (live.len() + 1);
                    let handle = live.insert(place, rule(choice)).expect("fits");
                    assert_eq!(live.position(handle), Some(place));
                }
                3 | 4 if !live.is_empty() => {
                    let place = position % live.len();
                    assert!(live.remove(place).is_some());
                }
                // Merges are handed out, and adopted later, when other things have happened.
                _ => match out.take() {
                    None => out = live.merge_all(),
                    Some(merge) => live.adopt(merge.run()).expect("fits"),
                },
            }
            is_fresh(&live, &asked);
        }
    }
}

#[test]
fn insertions_at_one_place_never_run_out_of_keys() {
    let mut live = LiveRules::new(&[rule((0, 0, 0)), rule((1, 1, 1))], Limits::default()).expect("fits");
    for number in 0..300 {
        live.insert(1, rule((number as u8, 7, number))).expect("fits");
        if let Some(merge) = live.merge() {
            live.adopt(merge.run()).expect("fits");
        }
    }
    is_fresh(&live, &(0..200).map(|n| tuple((n as u8, 7, n))).collect::<Vec<_>>());
}

#[test]
fn memory_returns_to_that_of_a_fresh_build() {
    let rules: Vec<Rule> = (0..300).map(|n| rule((n as u8, (n / 3) as u8, n))).collect();
    let mut live = LiveRules::new(&rules, Limits::default()).expect("fits");
    let fresh = live.snapshot().memory_bytes();
    for round in 0..3_000_usize {
        let place = round * 7919 % live.len();
        live.remove(place);
        live.insert(place, rules[round % rules.len()]).expect("fits");
        if let Some(merge) = live.merge() {
            live.adopt(merge.run()).expect("fits");
        }
    }
    let merge = live.merge_all().expect("none is out");
    live.adopt(merge.run()).expect("fits");
    assert_eq!(live.len(), rules.len());
    assert!(live.stored.len() <= rules.len() + 1);
    let now: Vec<Rule> = live.rules().map(|(_, rule)| *rule).collect();
    let expected = LiveRules::new(&now, Limits::default()).expect("fits").snapshot().memory_bytes();
    assert_eq!(live.snapshot().memory_bytes(), expected);
    assert!(expected <= 2 * fresh);
}

#[test]
fn a_rule_that_does_not_fit_changes_nothing() {
    let rules: Vec<Rule> = (0..50).map(|n| rule((n, n, 5))).collect();
    let memory = General::new(&rules, Limits::default()).expect("fits").memory_bytes() + (200 << 10);
    let Ok(mut live) = LiveRules::new(&rules, Limits { memory: 8 * memory }) else { panic!("fits") };
    live.limits = Limits { memory };
    assert!(live.insert(3, rule((9, 9, 9))).is_err());
    assert_eq!(live.len(), 50);
    is_fresh(&live, &(0..100).map(|n| tuple((n, n, 5))).collect::<Vec<_>>());
}

#[test]
fn while_a_merge_is_out_changes_go_on() {
    let mut live = LiveRules::new(&[], Limits::default()).expect("fits");
    for number in 0..RECENT {
        live.insert(0, rule((number as u8, 3, number as u16))).expect("fits");
    }
    let merge = live.merge_all().expect("none is out");
    assert!(live.merge_all().is_none(), "one at a time");
    for number in 0..RECENT {
        live.remove(number / 2);
        live.insert(number, rule((3, number as u8, number as u16))).expect("fits");
    }
    live.adopt(merge.run()).expect("fits");
    is_fresh(&live, &(0..200).map(|n| tuple((n as u8, 3, n))).collect::<Vec<_>>());
}
