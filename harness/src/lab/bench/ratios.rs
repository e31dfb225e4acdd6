//! Which figures are set against which.
//!
//! weir against everybody without rules; weir with policies or among idle pods also against weir without, and with
//! policies against the kernel with as many rules; other underlays against sockets; IPv6 against IPv4.

use dataplane::config::UnderlayKind;

use super::Rules;
use super::plan::{Case, Entry};
use crate::lab::NodeKind;
use crate::lab::plan::Family;
use crate::report::Run;

/// Adds the ratios of all cases.
pub(super) fn relate(run: &mut Run, cases: &[Case]) {
    for case in cases {
        let group = case.name();
        for (subject, baseline) in pairs(&case.entries) {
            for quantity in case.workload.main_quantities() {
                run.relate(&group, quantity, &subject.name(), &baseline.name());
            }
        }
    }
}

fn pairs(entries: &[Entry]) -> Vec<(Entry, Entry)> {
    let mut pairs = Vec::new();
    for subject in entries {
        for baseline in entries {
            if belong(subject, baseline) {
                pairs.push((*subject, *baseline));
            }
        }
    }
    pairs
}

fn belong(subject: &Entry, baseline: &Entry) -> bool {
    if subject == baseline {
        return false;
    }
    if subject.kind == baseline.kind {
        return subject.family == Family::V6;
    }
    if subject.family != baseline.family {
        return false;
    }
    let peer = |entry: &Entry| !entry.kind.nodes.contains(&NodeKind::Weir);
    match (peer(subject), peer(baseline)) {
        // weir against others without rules, and with as many.
        (false, true) => match (subject.kind.rules, baseline.kind.rules) {
            (_, Rules::None) => true,
            (Rules::Policies(ours), theirs) => theirs.count() == ours,
            _ => false,
        },
        // Either with rules against itself without.
        (true, true) => baseline.kind.nodes == subject.kind.nodes && baseline.kind.rules == Rules::None,
        (false, false) => {
            baseline.kind.rules == Rules::None
                && baseline.kind.idle == 0
                && subject.kind.attach == baseline.kind.attach
                && subject.kind.nodes == baseline.kind.nodes
                && (subject.kind.underlay == baseline.kind.underlay
                    || baseline.kind.underlay == UnderlayKind::Udp)
        }
        (true, false) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::rules::Tools;
    use super::super::{Options, Peer, plan};
    use super::*;

    const TOOLS: Tools = Tools { iptables: true, ipset: false, nft: true };

    fn named(entries: &[Entry]) -> Vec<String> {
        let name = |(subject, baseline): (Entry, Entry)| format!("{} / {}", subject.name(), baseline.name());
        pairs(entries).into_iter().map(name).collect()
    }

    #[test]
    fn quick_compares_weir_with_the_kernel_and_rules_with_none() {
        let cases = plan::cases(&Options::quick(), TOOLS);
        let across = cases.last().unwrap();
        assert_eq!(
            named(&across.entries),
            [
                "weir tap / kernel",
                "weir tap, 1000 policies / weir tap",
                "weir tap, 1000 policies / kernel",
                "weir tap, 1000 policies / kernel, 1000 rules in a chain",
                "kernel, 1000 rules in a chain / kernel",
            ]
        );
    }

    #[test]
    fn a_trivial_forwarder_and_idle_pods_are_set_against_weir_without_rules() {
        let against = vec![Peer::Kernel, Peer::Forwarder];
        let options = Options { against, rules: vec![0], idle_pods: 3, ..Options::quick() };
        let cases = plan::cases(&options, TOOLS);
        assert_eq!(
            named(&cases.first().unwrap().entries),
            [
                "weir tap / kernel",
                "weir tap / forwarder",
                "weir tap, 3 idle pods / weir tap",
                "weir tap, 3 idle pods / kernel",
                "weir tap, 3 idle pods / forwarder",
            ]
        );
    }
}
