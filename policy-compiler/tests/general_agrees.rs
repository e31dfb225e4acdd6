//! Promise: the general engine answers as the linear walk over the rules does, on any rule set.

use ipnet::IpNet;
use policy_compiler::classifier::{General, Limits, LinearRules, TupleClassifier};
use policy_compiler::ruleset::{Ports, ProtocolMask, Rule, Tuple};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Prefixes that nest, repeat, touch and stand alone; both families.
fn prefix(v4: bool) -> impl Strategy<Value = IpNet> {
    let address = prop_oneof![
        3 => (0..4_u32, 0..4_u32, 0..6_u32).prop_map(|(a, b, c)| 0x0a00_0000 | a << 22 | b << 12 | c),
        1 => any::<u32>(),
        1 => prop::sample::select(vec![0, u32::MAX, 0x8000_0000, 0x0a00_ffff]),
    ];
    let len = prop_oneof![
        2 => 0..=8_u8,
        2 => 9..=24_u8,
        2 => prop::sample::select(vec![0_u8, 8, 9, 16, 24, 31, 32]),
    ];
    (address, len).prop_map(move |(address, len)| {
        if v4 {
            return net(Ipv4Addr::from_bits(address).into(), len);
        }
        let (high, low) = (u128::from(address) << 64 | u128::from(address) << 96, u128::from(address));
        net(Ipv6Addr::from_bits(high | low).into(), [len, len * 2, len * 4][usize::from(len % 3)].min(128))
    })
}

fn net(address: IpAddr, len: u8) -> IpNet {
    IpNet::new(address, len).expect("a length of the family")
}

fn ports() -> impl Strategy<Value = Ports> {
    let edge = prop::sample::select(vec![0_u16, 1, 79, 80, 81, 443, 65_534, 65_535]);
    prop_oneof![
        3 => Just(Ports::ANY),
        2 => edge.clone().prop_map(Ports::one),
        2 => (edge.clone(), edge).prop_map(|(a, b)| Ports::new(a.min(b), a.max(b)).expect("in order")),
        1 => (any::<u16>(), any::<u16>()).prop_map(|(a, b)| Ports::new(a.min(b), a.max(b)).expect("in order")),
    ]
}

fn protocol() -> impl Strategy<Value = ProtocolMask> {
    prop_oneof![
        2 => Just(ProtocolMask::ANY),
        3 => prop::sample::select(vec![0_u8, 1, 6, 17, 255]).prop_map(|value| ProtocolMask::new(value, 0xff)),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(value, mask)| ProtocolMask::new(value, mask)),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    any::<bool>().prop_flat_map(|v4| {
        (prefix(v4), prefix(v4), ports(), ports(), protocol()).prop_map(
            |(src, dst, src_ports, dst_ports, protocol)| {
                Rule::new(src, dst, src_ports, dst_ports, protocol).expect("one family")
            },
        )
    })
}

/// An address in a prefix, at its start, its end, or anywhere; or just beyond it.
fn near(prefix: IpNet, choice: u64) -> IpAddr {
    let step = |address: u128, max: u128| match choice % 6 {
        0 => address,
        1 => max,
        2 => address.wrapping_sub(1),
        3 => max.wrapping_add(1),
        _ => {
            address
                | (max ^ address) & u128::from(choice).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
        }
    };
    match prefix {
        IpNet::V4(net) => {
            Ipv4Addr::from_bits(step(net.network().to_bits().into(), net.broadcast().to_bits().into()) as u32)
                .into()
        }
        IpNet::V6(net) => {
            Ipv6Addr::from_bits(step(net.network().to_bits(), net.broadcast().to_bits())).into()
        }
    }
}

fn port(ports: Ports, choice: u64) -> u16 {
    match choice % 5 {
        0 => ports.first(),
        1 => ports.last(),
        2 => ports.first().wrapping_sub(1),
        3 => ports.last().wrapping_add(1),
        _ => (choice >> 8) as u16,
    }
}

/// Packets near the corners of rules.
fn packets(rules: &[Rule], choices: &[u64]) -> Vec<Tuple> {
    let at = |choice: u64| rules.get((choice as usize) % rules.len().max(1));
    let packet = |&choice: &u64| {
        let (one, other) = (at(choice)?, at(choice >> 40).filter(|_| choice % 7 == 0).or(at(choice))?);
        Some(Tuple {
            src: near(one.src(), choice >> 3),
            dst: near(other.dst(), choice >> 13),
            src_port: port(one.src_ports(), choice >> 23),
            dst_port: port(other.dst_ports(), choice >> 33),
            protocol: if choice % 3 == 0 { (choice >> 50) as u8 } else { one.protocol().value() },
        })
    };
    choices.iter().filter_map(packet).collect()
}

fn agree(rules: &[Rule], packets: &[Tuple]) {
    let general = General::new(rules, Limits::default()).expect("fits");
    let linear = LinearRules::new(rules.to_vec());
    let mut batch = vec![None; packets.len()];
    general.lookup_batch(packets, &mut batch);
    for (packet, batched) in packets.iter().zip(batch) {
        let expected = linear.lookup(packet);
        assert_eq!(general.lookup(packet), expected, "{packet:?}");
        assert_eq!(batched, expected, "in a batch: {packet:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn general_answers_as_linear_does(
        rules in prop::collection::vec(rule(), 1..150),
        choices in prop::collection::vec(any::<u64>(), 1..200),
    ) {
        let packets = packets(&rules, &choices);
        agree(&rules, &packets);
    }
}

/// A stream of numbers; the tests below are the same on every run.
fn numbers(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state ^ state >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 3
    }
}

/// Nested prefixes of middle length on both sides, and a range of its own for nearly every rule.
fn hostile(count: usize, random_bits: u32) -> Vec<Rule> {
    let mut number = numbers(7);
    let mut side = || {
        let len = 9 + (number() % 16) as u8;
        net(Ipv4Addr::from_bits(0x0a00_0000 | number() as u32 & ((1 << random_bits) - 1)).into(), len)
    };
    let mut sides: Vec<_> = (0..count).map(|_| (side(), side())).collect();
    let mut number = numbers(8);
    let mut range = || {
        let (a, b) = (number() as u16, number() as u16);
        Ports::new(a.min(b), a.max(b)).expect("in order")
    };
    sides
        .drain(..)
        .map(|(src, dst)| {
            Rule::new(src, dst, range(), range(), ProtocolMask::new(6, 0xff)).expect("one family")
        })
        .collect()
}

#[test]
fn nested_prefixes_times_thousands_of_ranges_stay_within_bounds() {
    for random_bits in [24, 12, 1] {
        let rules = hostile(4000, random_bits);
        let mut number = numbers(9);
        let choices: Vec<_> = (0..1000).map(|_| number()).collect();
        agree(&rules, &packets(&rules, &choices));
        let memory = General::new(&rules, Limits::default()).expect("fits").memory_bytes();
        assert!(memory < 64 << 20, "{memory} bytes");
    }
}

#[test]
fn prefixes_of_every_length_around_one_address_on_both_sides() {
    let any: IpNet = "::/0".parse().expect("a prefix");
    let mut number = numbers(12);
    let mut side = |bits: u128| {
        let len = (number() % 129) as u8;
        net(Ipv6Addr::from_bits(bits).into(), len).trunc()
    };
    let sides: Vec<_> = (0..6000).map(|_| (side(u128::MAX / 3), side(u128::MAX / 5))).collect();
    let mut number = numbers(13);
    let mut range = || {
        let first = number() as u16;
        Ports::new(first, first.saturating_add(99)).expect("in order")
    };
    let rule = |(src, dst)| Rule::new(src, dst, range(), range(), ProtocolMask::ANY).expect("one family");
    let mut rules: Vec<_> = sides.into_iter().map(rule).collect();
    rules.push(Rule::new(any, any, Ports::ANY, Ports::ANY, ProtocolMask::ANY).expect("one family"));
    let mut number = numbers(14);
    let choices: Vec<_> = (0..1000).map(|_| number()).collect();
    agree(&rules, &packets(&rules, &choices));
}

#[test]
fn everything_wild_and_a_port_each() {
    let any: IpNet = "0.0.0.0/0".parse().expect("a prefix");
    let mut rules: Vec<_> = (0..=u16::MAX)
        .map(|port| Rule::new(any, any, Ports::ANY, Ports::one(port ^ 0x5a5a), ProtocolMask::new(6, 0xff)))
        .map(|rule| rule.expect("one family"))
        .collect();
    rules.truncate(20_000);
    let mut number = numbers(10);
    let choices: Vec<_> = (0..500).map(|_| number()).collect();
    agree(&rules, &packets(&rules, &choices));
}

#[test]
fn duplicates_and_shadowed_rules_leave_the_first() {
    let any: IpNet = "::/0".parse().expect("a prefix");
    let rule = |src: &str| {
        Rule::new(src.parse().expect("a prefix"), any, Ports::ANY, Ports::ANY, ProtocolMask::ANY)
            .expect("one family")
    };
    let rules: Vec<_> = ["2001:db8::/32", "::/0", "2001:db8:1::/48", "2001:db8::/32"].map(rule).repeat(50);
    let mut number = numbers(11);
    let choices: Vec<_> = (0..500).map(|_| number()).collect();
    agree(&rules, &packets(&rules, &choices));
}

#[test]
fn a_set_that_does_not_fit_is_refused_with_the_rules_that_take_most() {
    let rules = hostile(500, 24);
    let problem = General::new(&rules, Limits { memory: 100_000 }).expect_err("too large");
    assert_eq!(problem.allowed, 100_000);
    assert!(problem.needed > problem.allowed && problem.rules.len() == 8, "{problem}");
    assert!(problem.to_string().starts_with("the rule set needs up to "), "{problem}");
}

#[test]
fn no_rules_answer_nothing() {
    let general = General::new(&[], Limits { memory: 0 }).expect("nothing needs nothing");
    let packet = Tuple {
        src: Ipv4Addr::LOCALHOST.into(),
        dst: Ipv4Addr::LOCALHOST.into(),
        src_port: 0,
        dst_port: 0,
        protocol: 0,
    };
    let mixed = Tuple { dst: Ipv6Addr::LOCALHOST.into(), ..packet };
    let v6 = Tuple { src: Ipv6Addr::LOCALHOST.into(), ..mixed };
    assert_eq!([packet, mixed, v6].map(|packet| general.lookup(&packet)), [None; 3]);
}
