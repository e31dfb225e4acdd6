//! Rules by the number, for both sides of a comparison: policies for weir, chains and sets for the kernel.
//!
//! ```text
//!  weir     rule-00000 … rule-N: ingress from 172.16.x.y/32, UDP 9999;   zz-allow: ingress from every pod
//!  chain    established: accept │ to the pod: source 172.16.x.y, UDP 9999: accept, N times │ from pods: accept │ drop
//!  set      established: accept │ to the pod: source in a set of N: accept │ drop
//! ```
//! A packet of the measured traffic meets no rule but the last. A one-way UDP flow never becomes established for the
//! kernel, so each packet walks the chain: the worst case. Chains are those of `iptables` where it is installed, else
//! `nft` has the same rules in the same order; sets are measured with `ipset` and with `nft`, as installed. The report says
//! which.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use dataplane::sys::netns::Netns;
use dataplane::sys::process;

use super::subject::Rules;
use crate::lab::LabError;
use crate::lab::plan::Side;

/// What there is to set the kernel's rules with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tools {
    /// `iptables-restore`.
    pub iptables: bool,
    /// `ipset`, which needs `iptables` as well.
    pub ipset: bool,
    /// `nft`.
    pub nft: bool,
}

impl Tools {
    /// What is installed.
    pub fn find() -> Self {
        let iptables = version("iptables-restore").is_some();
        Self { iptables, ipset: iptables && version("ipset").is_some(), nft: version("nft").is_some() }
    }

    /// What the kernel's rules are set with, for the report.
    pub fn describe(self) -> String {
        let chains = match (self.iptables, self.nft) {
            (true, _) => version("iptables-restore").unwrap_or_default(),
            (false, true) => "nft, rules one after the other as iptables has them".to_owned(),
            (false, false) => return "none: neither iptables nor nft is installed".to_owned(),
        };
        let sets = [("ipset", self.ipset, "hash:net of "), ("nft", self.nft, "set of addresses of ")];
        let sets = sets.into_iter().filter(|(_, there, _)| *there);
        let sets = sets.map(|(name, _, what)| format!("{what}{}", version(name).unwrap_or_default()));
        let sets = sets.collect::<Vec<_>>().join(" and ");
        format!("chains: {chains}; sets: {}", if sets.is_empty() { "none" } else { &sets })
    }
}

/// The first line of what a program says of its version; none where there is no such program.
fn version(program: &str) -> Option<String> {
    let mut command = Command::new(program);
    let output = command.arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    output.status.success().then(|| text.lines().next().unwrap_or(program).trim().to_owned())
}

/// The network policies that select the measured pods, by file name.
pub(super) fn policies(count: usize) -> Vec<(String, String)> {
    const PER_FILE: usize = 1000;
    let mut files = Vec::new();
    for (number, first) in (0..count.saturating_sub(1)).step_by(PER_FILE).enumerate() {
        let mut text = String::new();
        for rule in first..first.saturating_add(PER_FILE).min(count.saturating_sub(1)) {
            let _ = write!(
                text,
                "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: rule-{rule:05}, \
                 namespace: bench}}\nspec:\n  podSelector: {{matchLabels: {{app: target}}}}\n  policyTypes: \
                 [Ingress]\n  ingress:\n    - from: [{{ipBlock: {{cidr: {}/32}}}}]\n      ports: [{{protocol: UDP, \
                 port: {PORT}}}]\n",
                stranger(rule)
            );
        }
        files.push((format!("policies-{number:03}.yaml"), text));
    }
    let last = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: zz-allow, namespace: bench}\n\
                spec:\n  podSelector: {matchLabels: {app: target}}\n  policyTypes: [Ingress]\n  ingress:\n    - from: \
                [{namespaceSelector: {}}]\n";
    files.push(("policies-last.yaml".to_owned(), last.to_owned()));
    files
}

/// Port of the measured datagrams.
pub(super) const PORT: u16 = 9999;

/// The address of nobody that the rule of that number allows.
fn stranger(number: usize) -> Ipv4Addr {
    const FIRST: u32 = 0xac10_0001;
    Ipv4Addr::from(FIRST.wrapping_add(number as u32 & 0x000f_ffff))
}

/// Puts the kernel's rules in force at the node that receives.
pub(super) fn enforce(node: &Netns, rules: Rules, tools: Tools) -> Result<(), LabError> {
    const ADVICE: &str = "install iptables and ipset, or nftables, or measure with `--rules 0`";
    match rules {
        Rules::None | Rules::Policies(_) => Ok(()),
        Rules::Chain(count) if tools.iptables => run(node, &["iptables-restore"], &iptables_chain(count)),
        Rules::Chain(count) if tools.nft => run(node, &["nft", "-f", "-"], &nft_chain(count)),
        Rules::Ipset(count) if tools.ipset => {
            run(node, &["ipset", "restore"], &ipset(count))?;
            run(node, &["iptables-restore"], &iptables_set())
        }
        Rules::NftSet(count) if tools.nft => run(node, &["nft", "-f", "-"], &nft_set(count)),
        _ => Err(LabError::unmet("the kernel's rules cannot be set", &"no tool for it is installed", ADVICE)),
    }
}

fn run(node: &Netns, line: &[&str], input: &str) -> Result<(), LabError> {
    let Some((program, arguments)) = line.split_first() else { return Ok(()) };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    process::run_in(&mut command, node)?;
    let mut child = command.spawn()?;
    if let Some(mut pipe) = child.stdin.take() {
        pipe.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{}: {}", line.join(" "), said.lines().next().unwrap_or("failed"))).into())
}

/// The pod that is measured, and the subnet of the pods that may reach it.
fn ends() -> (Ipv4Addr, Ipv4Addr) {
    (Side::B.pod_v4(10), Side::A.pod_v4(0))
}

fn iptables_chain(count: usize) -> String {
    let (pod, pods) = ends();
    let mut text = format!(
        "*filter\n:POD - [0:0]\n-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n-A FORWARD -d \
         {pod}/32 -j POD\n"
    );
    for rule in 0..count.saturating_sub(1) {
        let from = stranger(rule);
        let _ = writeln!(text, "-A POD -s {from}/32 -p udp -m udp --dport {PORT} -j ACCEPT");
    }
    let _ = write!(text, "-A POD -s {pods}/24 -j ACCEPT\n-A POD -j DROP\nCOMMIT\n");
    text
}

fn ipset(count: usize) -> String {
    let mut text = format!("create allowed hash:net maxelem {}\n", count.max(65_536));
    for rule in 0..count.saturating_sub(1) {
        let _ = writeln!(text, "add allowed {}", stranger(rule));
    }
    let _ = writeln!(text, "add allowed {}/24", ends().1);
    text
}

fn iptables_set() -> String {
    let (pod, _) = ends();
    format!(
        "*filter\n:POD - [0:0]\n-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n-A FORWARD -d \
         {pod}/32 -j POD\n-A POD -m set --match-set allowed src -j ACCEPT\n-A POD -j DROP\nCOMMIT\n"
    )
}

fn nft_chain(count: usize) -> String {
    let (pod, pods) = ends();
    let mut text = "table ip weir_bench {\nchain pod {\n".to_owned();
    for rule in 0..count.saturating_sub(1) {
        let _ = writeln!(text, "ip saddr {} udp dport {PORT} counter accept", stranger(rule));
    }
    let _ = write!(text, "ip saddr {pods}/24 counter accept\ncounter drop\n}}\n{}}}\n", forward(pod));
    text
}

fn nft_set(count: usize) -> String {
    let (pod, pods) = ends();
    let mut text =
        "table ip weir_bench {\nset allowed { type ipv4_addr; flags interval; elements = {".to_owned();
    for rule in 0..count.saturating_sub(1) {
        let _ = write!(text, " {},", stranger(rule));
    }
    let _ = write!(
        text,
        " {pods}/24 }} }}\nchain pod {{ ip saddr @allowed counter accept; counter drop; }}\n{}}}\n",
        forward(pod)
    );
    text
}

fn forward(pod: Ipv4Addr) -> String {
    format!(
        "chain forward {{ type filter hook forward priority 0; ct state established,related accept; ip daddr {pod} \
         jump pod; }}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_has_as_many_rules_as_asked_for() {
        for count in [1, 100, 2500] {
            let files = policies(count);
            let all: usize = files.iter().map(|(_, text)| text.matches("kind: NetworkPolicy").count()).sum();
            assert_eq!(all, count);
            for (name, text) in &files {
                let parsed = policy_compiler::parse(name, text);
                assert!(parsed.diagnostics.is_empty(), "{:?}", parsed.diagnostics.first());
            }
            assert_eq!(nft_chain(count).matches("accept").count() - 1, count);
            assert_eq!(iptables_chain(count).matches("-A POD").count() - 1, count);
            assert_eq!(ipset(count).matches("add ").count(), count);
        }
        assert_eq!(stranger(0), Ipv4Addr::new(172, 16, 0, 1));
    }
}
