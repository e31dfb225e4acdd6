//! Small clusters made from bytes: the flat engine, the linear engine and the reference agree on every probe.
//!
//! The compiler's property tests do the same with a fixed seed; here coverage leads to the corners of lowering, and
//! CIDRs and ports are free.

use std::fmt::Write;
use std::net::IpAddr;

use policy_compiler::{
    Compiler, Direction, Engine, Key, OnInvalid, Options, Scope, SubjectId, Verdict, parse,
};

use crate::script::Script;

const NAMESPACES: [&str; 2] = ["n1", "n2"];
const LABELS: [&str; 4] = ["", "app: a", "app: b", "app: a, tier: x"];
const SELECTORS: [&str; 8] = [
    "{}",
    "{matchLabels: {app: a}}",
    "{matchLabels: {app: b, tier: x}}",
    "{matchExpressions: [{key: app, operator: In, values: [a, c]}]}",
    "{matchExpressions: [{key: app, operator: NotIn, values: [a]}]}",
    "{matchExpressions: [{key: tier, operator: Exists}]}",
    "{matchExpressions: [{key: tier, operator: DoesNotExist}]}",
    "{matchLabels: 5}",
];
const SPACES: [&str; 3] =
    ["{}", "{matchLabels: {team: red}}", "{matchExpressions: [{key: team, operator: NotIn, values: [red]}]}"];
const FIXED: &str = "{apiVersion: v1, kind: Namespace, metadata: {name: n1, labels: {team: red}}}\n---\n\
    {apiVersion: v1, kind: Namespace, metadata: {name: n2}}\n---\n\
    {apiVersion: v1, kind: Node, metadata: {name: a}, spec: {podCIDRs: [10.42.0.0/24, \"fd00:42::/64\"]}, \
    status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}}\n";

/// One input.
pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let mut probes =
        Probes { addresses: vec![[192, 0, 2, 1].into(), [10, 42, 0, 99].into()], ports: vec![0, 80] };
    let text = cluster(&mut script, &mut probes);
    let parsed = parse("made.yaml", &text);
    let mut compiler = Compiler::new(Options { on_invalid: OnInvalid::Isolate, ..Options::default() });
    for object in parsed.objects {
        compiler.upsert(object);
    }
    let scope = if script.flag() { Scope::All } else { Scope::Node("a".into()) };
    let cluster = compiler.cluster(&scope);
    let reference = compiler.reference(&scope, &cluster);
    let compiled = Engine::ALL.map(|engine| match compiler.compile_with(&scope, engine) {
        Ok(compiled) => compiled,
        Err(problems) => panic!("{problems:?}\n{text}"),
    });
    let subjects: Vec<IpAddr> =
        cluster.subjects.iter().filter_map(|subject| subject.addresses.first().copied()).collect();
    let keys = probes.keys(&subjects);
    for compiled in &compiled {
        let mut verdicts = vec![Verdict::UNKNOWN_SUBJECT; keys.len()];
        compiled.classifier.classify_batch(&keys, &mut verdicts);
        for (key, verdict) in keys.iter().zip(verdicts) {
            let name = compiled.classifier.name();
            let judged = reference.judge(key);
            let (action, kind) = (judged.action, judged.kind);
            let info = compiled.rules.get(verdict.rule);
            assert_eq!(verdict.action, action, "{name} on {key:?}, by {:?}\n{text}", info.kind);
            assert_eq!((info.action, &info.kind), (action, &kind), "{name} on {key:?}\n{text}");
        }
    }
}

/// Where something begins or ends, gathered while the cluster is made.
struct Probes {
    addresses: Vec<IpAddr>,
    ports: Vec<u16>,
}

impl Probes {
    fn keys(&self, subjects: &[IpAddr]) -> Vec<Key> {
        let mut keys = Vec::new();
        for (position, &own) in subjects.iter().enumerate() {
            let subject = SubjectId(u32::try_from(position).expect("few"));
            for &remote in self.addresses.iter().filter(|remote| remote.is_ipv4() == own.is_ipv4()) {
                for direction in Direction::ALL {
                    let (src, dst) =
                        if direction == Direction::Egress { (own, remote) } else { (remote, own) };
                    let l4 = self.ports.iter().flat_map(|&port| [(6, port), (17, port)]);
                    for (protocol, dst_port) in l4.chain([(132, 80), (1, 0x0800), (47, 0)]) {
                        keys.push(Key { subject, direction, src, dst, protocol, src_port: 49152, dst_port });
                    }
                }
            }
        }
        keys
    }

    fn around(&mut self, address: [u8; 4]) {
        let number = u32::from_be_bytes(address);
        for number in [number.wrapping_sub(1), number, number.wrapping_add(1)] {
            self.addresses.push(IpAddr::from(number.to_be_bytes()));
        }
    }
}

fn cluster(script: &mut Script<'_>, probes: &mut Probes) -> String {
    let mut text = FIXED.to_owned();
    for number in 0..=script.below(4) {
        let host = script.below(8) + 1;
        let (namespace, labels) = (script.pick(&NAMESPACES), script.pick(&LABELS));
        let ports =
            script.pick(&["", "{name: http, containerPort: 80}", "{name: http, containerPort: 8080}"]);
        let phase = script.pick(&["Running", "Running", "Running", "Pending", "Succeeded"]);
        let host_network = script.byte() == 255;
        let ip = if script.byte() & 7 == 7 {
            probes.addresses.push(IpAddr::from([0xfd00, 0x42, 0, 0, 0, 0, 0, u16::from(host)]));
            format!("fd00:42::{host}")
        } else {
            probes.addresses.push(IpAddr::from([10, 42, 0, host]));
            format!("10.42.0.{host}")
        };
        let _ = write!(
            text,
            "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: p{number}, namespace: {namespace}, labels: {{{labels}}}}}, \
             spec: {{nodeName: a, hostNetwork: {host_network}, containers: [{{ports: [{ports}]}}]}}, \
             status: {{phase: {phase}, podIPs: [{{ip: \"{ip}\"}}]}}}}\n"
        );
    }
    for number in 0..script.below(4) {
        let (namespace, selector) = (script.pick(&NAMESPACES), script.pick(&SELECTORS));
        let types = script.pick(&["[Ingress]", "[Egress]", "[Ingress, Egress]", "[]"]);
        let ingress = rules("from", script, probes);
        let egress = rules("to", script, probes);
        let _ = write!(
            text,
            "---\n{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: q{number}, namespace: {namespace}}}, \
             spec: {{podSelector: {selector}, policyTypes: {types}, ingress: [{ingress}], egress: [{egress}]}}}}\n"
        );
    }
    text
}

fn rules(side: &str, script: &mut Script<'_>, probes: &mut Probes) -> String {
    let rule = |script: &mut Script<'_>, probes: &mut Probes| {
        let peers: Vec<String> = (0..script.below(3)).map(|_| peer(script, probes)).collect();
        let ports: Vec<String> = (0..script.below(3)).map(|_| port(script, probes)).collect();
        format!("{{{side}: [{}], ports: [{}]}}", peers.join(", "), ports.join(", "))
    };
    (0..script.below(3)).map(|_| rule(script, probes)).collect::<Vec<_>>().join(", ")
}

fn peer(script: &mut Script<'_>, probes: &mut Probes) -> String {
    match script.below(5) {
        0 => format!("{{podSelector: {}}}", script.pick(&SELECTORS)),
        1 => format!("{{namespaceSelector: {}}}", script.pick(&SPACES)),
        2 => format!(
            "{{namespaceSelector: {}, podSelector: {}}}",
            script.pick(&SPACES),
            script.pick(&SELECTORS)
        ),
        3 => script
            .pick(&[
                "{ipBlock: {cidr: \"::/0\", except: [\"fd00:42::4/126\"]}}",
                "{ipBlock: {cidr: 0.0.0.0/0}}",
            ])
            .to_owned(),
        _ => {
            // Mostly among the pods, where it cuts classes apart.
            let near = script.byte() & 3 != 0;
            let address = if near {
                [10, 42, 0, script.byte() & 15]
            } else {
                [script.byte(), script.byte(), script.byte(), script.byte()]
            };
            let prefix = if near { 24 + script.below(9) } else { script.below(33) };
            let longer = prefix + script.below(33 - prefix);
            let (cidr, except) = (network(address, prefix), network(address, longer));
            for edge in [cidr, except] {
                probes.around(edge);
            }
            let excepts = if longer > prefix {
                format!(", except: [{}/{longer}]", IpAddr::from(except))
            } else {
                String::new()
            };
            format!("{{ipBlock: {{cidr: {}/{prefix}{excepts}}}}}", IpAddr::from(cidr))
        }
    }
}

fn network(address: [u8; 4], prefix: u8) -> [u8; 4] {
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
    (u32::from_be_bytes(address) & mask).to_be_bytes()
}

fn port(script: &mut Script<'_>, probes: &mut Probes) -> String {
    let protocol = script.pick(&["", ", protocol: UDP", ", protocol: SCTP"]);
    match script.below(4) {
        0 => format!("{{port: http{protocol}}}"),
        1 => format!("{{port: 80{protocol}}}"),
        2 => protocol.strip_prefix(", ").map_or("{}".to_owned(), |protocol| format!("{{{protocol}}}")),
        _ => {
            let (first, more) = (script.word().max(1), script.word());
            let last = first.saturating_add(more);
            probes.ports.extend([first.saturating_sub(1), first, last, last.saturating_add(1)]);
            format!("{{port: {first}, endPort: {last}{protocol}}}")
        }
    }
}
