//! Lines of `weir policy eval`: no panic, a problem says something, and answer and explanation agree.

use policy_compiler::query::{Judge, Probe};
use policy_compiler::{Compiler, Options, parse};

const STATE: &str = "{apiVersion: v1, kind: Node, metadata: {name: a}, status: {addresses: [{type: InternalIP, \
    address: 192.0.2.1}]}}\n---\n{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop, labels: {app: web}}, \
    spec: {nodeName: a}, status: {phase: Running, podIPs: [{ip: 10.42.0.5}, {ip: \"fd00:42::5\"}]}}\n---\n\
    {apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: web, namespace: shop}, spec: \
    {podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}}], ports: [{port: 80, endPort: 90}]}]}}\n";

thread_local! {
    static JUDGE: Judge = judge();
}

/// One input.
pub fn run(input: &[u8]) {
    let Ok(line) = std::str::from_utf8(input) else { return };
    let probe = match Probe::from_json(line) {
        Ok(probe) => probe,
        Err(error) => {
            assert!(!error.to_string().is_empty(), "a problem that says nothing");
            return;
        }
    };
    JUDGE.with(|judge| match (judge.answer(&probe), judge.explain(&probe)) {
        (Ok(answer), Ok(explanation)) => {
            assert_eq!((answer.verdict, answer.src_ip), (explanation.verdict, explanation.src_ip));
            assert_eq!(answer.src_ip.is_ipv4(), answer.dst_ip.is_ipv4());
        }
        (Err(error), Err(_)) => assert!(!error.to_string().is_empty()),
        (answer, explanation) => panic!("{:?} but {:?}", answer.is_ok(), explanation.is_ok()),
    });
}

fn judge() -> Judge {
    let mut compiler = Compiler::new(Options::default());
    for object in parse("fixed.yaml", STATE).objects {
        compiler.upsert(object);
    }
    let Ok(judge) = Judge::new(compiler) else { panic!("the fixed state is valid") };
    judge
}
