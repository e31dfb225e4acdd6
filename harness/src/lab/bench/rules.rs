//! Rules by the number, for both sides of a comparison: policies for weir, chains and sets for the kernel.
//!
//! ```text
//!  weir     rule-00000 … rule-N: ingress from 172.16.x.y/32, UDP 9999;   zz-allow: ingress from every pod
//!  chain    established: accept │ to the pod: source 172.16.x.y, UDP 9999: accept, N times │ from pods: accept │ drop
//!  set      established: accept │ to the pod: source in a set of N + 1: accept │ drop
//! ```
//! A packet of the measured traffic meets no rule but the last. A one-way UDP flow never becomes established for the
//! kernel, so each packet walks the chain: the worst case. `iptables` and `ipset` are used where they are installed,
//! else `nft` with the same rules in the same order; the report says which.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use dataplane::sys::netns::Netns;
use dataplane::sys::process;

use super::subject::Rules;
use crate::lab::LabError;
use crate::lab::plan::Side;

/// What sets the kernel's rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// `iptables-restore` for chains and `ipset` for sets.
    Iptables,
    /// `nft`, rules one after the other and a hash set.
    Nft,
    /// Neither is installed: the kernel has no rules here.
    Nothing,
}

impl Tool {
    /// What is installed.
    pub fn find() -> Self {
        let works = |program: &str, argument: &str| {
            let mut command = Command::new(program);
            command.arg(argument).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        if works("iptables-restore", "--version") && works("ipset", "--version") {
            Self::Iptables
        } else if works("nft", "--version") {
            Self::Nft
        } else {
            Self::Nothing
        }
    }

    /// What it is, for the report.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Iptables => "iptables chains, ipset hash:ip",
            Self::Nft => "nft: rules one after the other as iptables has them, and a set of addresses",
            Self::Nothing => "none: neither iptables with ipset nor nft is installed",
        }
    }
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
pub(super) fn enforce(node: &Netns, rules: Rules, tool: Tool) -> Result<(), LabError> {
    let missing = || {
        let advice = "install iptables and ipset, or nftables, or measure with `--rules 0`";
        LabError::unmet("the kernel's rules cannot be set", &"no tool for it is installed", advice)
    };
    match (rules, tool) {
        (Rules::None | Rules::Policies(_), _) => Ok(()),
        (_, Tool::Nothing) => Err(missing()),
        (Rules::Chain(count), Tool::Iptables) => run(node, &["iptables-restore"], &iptables_chain(count)),
        (Rules::Chain(count), Tool::Nft) => run(node, &["nft", "-f", "-"], &nft_chain(count)),
        (Rules::Set(count), Tool::Iptables) => {
            run(node, &["ipset", "restore"], &ipset(count))?;
            run(node, &["iptables-restore"], &iptables_set())
        }
        (Rules::Set(count), Tool::Nft) => run(node, &["nft", "-f", "-"], &nft_set(count)),
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

/// The pod that is measured, and the pods that may reach it.
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
