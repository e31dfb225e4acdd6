//! General rule sets: the engine, its bursts and its changes against the linear walk.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use policy_compiler::classifier::{General, Limits, LinearRules, LiveRules, TupleClassifier};
use policy_compiler::ruleset::{Ports, ProtocolMask, Rule, Tuple};

use crate::script::Script;

const RULES: usize = 200;
const PORTS: [u16; 8] = [0, 1, 80, 81, 1024, 32_768, 65_534, 65_535];

/// One input.
pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let count = usize::from(script.below(RULES as u8));
    let mut rules: Vec<Rule> = (0..count).filter_map(|_| rule(&mut script)).collect();
    let mut packets = Vec::new();
    while packets.len() < 70 && (!script.is_over() || packets.len() < 5) {
        packets.push(packet(&mut script, &rules));
    }
    compare(&rules, &packets);
    let Ok(mut live) = LiveRules::new(&rules, Limits::default()) else { panic!("so few rules fit") };
    let mut out = None;
    for _ in 0..script.below(16) {
        let place = usize::from(script.byte());
        match script.below(3) {
            0 => {
                let Some(new) = rule(&mut script) else { continue };
                let place = place % (rules.len() + 1);
                rules.insert(place, new);
                assert!(live.insert(place, new).is_ok(), "so few rules fit");
            }
            1 if !rules.is_empty() => {
                let place = place % rules.len();
                rules.remove(place);
                assert!(live.remove(place).is_some());
            }
            _ => match out.take() {
                None => out = live.merge_all(),
                Some(merge) => assert!(live.adopt(merge.run()).is_ok(), "so few rules fit"),
            },
        }
    }
    let (snapshot, linear) = (live.snapshot(), LinearRules::new(rules));
    for packet in &packets {
        let found = snapshot.lookup(packet).and_then(|handle| live.position(handle));
        assert_eq!(found, linear.lookup(packet).map(|index| index.0 as usize), "{packet:?}");
    }
}

fn compare(rules: &[Rule], packets: &[Tuple]) {
    let Ok(general) = General::new(rules, Limits::default()) else { panic!("so few rules fit") };
    let linear = LinearRules::new(rules.to_vec());
    let mut batch = vec![None; packets.len()];
    general.lookup_batch(packets, &mut batch);
    for (packet, batched) in packets.iter().zip(batch) {
        let expected = linear.lookup(packet);
        assert_eq!((general.lookup(packet), batched), (expected, expected), "{packet:?}");
    }
}

fn address(script: &mut Script<'_>, v4: bool) -> IpAddr {
    let number =
        script.pick(&[0, 0x0a00_0000, 0x0a01_0000, 0x0a01_0200, u32::MAX]) ^ u32::from(script.word());
    if v4 {
        return Ipv4Addr::from_bits(number).into();
    }
    let low = u128::from(script.byte());
    Ipv6Addr::from_bits(u128::from(number) << 96 | u128::from(number) << 64 | low).into()
}

fn rule(script: &mut Script<'_>) -> Option<Rule> {
    let v4 = script.byte() % 4 != 0;
    let mut side = || {
        let address = address(script, v4);
        let len = if v4 { script.below(33) } else { script.below(129) };
        IpNet::new(address, len).ok()
    };
    let (src, dst) = (side()?, side()?);
    let mut ports = || {
        if script.flag() {
            return Ports::ANY;
        }
        let (a, b) = (script.pick(&PORTS), script.pick(&PORTS));
        Ports::new(a.min(b), a.max(b)).unwrap_or(Ports::ANY)
    };
    let (src_ports, dst_ports) = (ports(), ports());
    let protocol = ProtocolMask::new(script.pick(&[6, 17, 0, 255]), script.pick(&[0xff, 0, 0x0f, 1]));
    Rule::new(src, dst, src_ports, dst_ports, protocol).ok()
}

/// A packet at a rule's corner, or anywhere.
fn packet(script: &mut Script<'_>, rules: &[Rule]) -> Tuple {
    let (src_port, dst_port) = (script.pick(&PORTS), script.pick(&PORTS));
    let protocol = script.pick(&[6, 17, 0, 255]);
    let at = usize::from(script.byte());
    let chosen = rules.get(at % rules.len().max(1)).filter(|_| script.flag());
    let (src, dst) = match chosen {
        Some(rule) => (rule.src().addr(), rule.dst().broadcast()),
        None => {
            let v4 = script.flag();
            (address(script, v4), address(script, v4))
        }
    };
    Tuple { src, dst, src_port, dst_port, protocol }
}
