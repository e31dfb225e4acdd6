//! From options to cases: which kinds of traffic run on which path, and who takes part.

use dataplane::config::UnderlayKind;

use super::rules::Tools;
use super::{Kind, Options, Peer, Rules, Workload};
use crate::lab::plan::Family;
use crate::lab::{Attach, NodeKind};

/// Where the two pods are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// On one node.
    OneNode,
    /// On two nodes.
    AcrossNodes,
}

impl Path {
    /// What it is called in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OneNode => "one node",
            Self::AcrossNodes => "across nodes",
        }
    }
}

/// Someone who takes part in a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// On what it is measured.
    pub kind: Kind,
    /// Over which family.
    pub family: Family,
}

impl Entry {
    /// What it is called in reports.
    pub fn name(&self) -> String {
        let name = self.kind.name();
        if self.family == Family::V6 { format!("{name}, IPv6") } else { name }
    }
}

/// One kind of traffic on one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Where the pods are.
    pub path: Path,
    /// What flows.
    pub workload: Workload,
    /// Who takes part, in turn.
    pub entries: Vec<Entry>,
}

impl Case {
    /// What it is called in reports.
    pub fn name(&self) -> String {
        format!("{}, {}", self.path.name(), self.workload.name())
    }
}

/// All cases, with everybody who takes part.
pub(super) fn cases(options: &Options, tools: Tools) -> Vec<Case> {
    let mut cases = Vec::new();
    for &path in &options.paths {
        for &workload in &options.workloads {
            let entries = entries(options, tools, path);
            if !entries.is_empty() {
                cases.push(Case { path, workload, entries });
            }
        }
    }
    cases
}

fn entries(options: &Options, tools: Tools, path: Path) -> Vec<Entry> {
    let mut entries = Vec::new();
    for kind in all(options, tools) {
        let serves = match path {
            Path::OneNode => kind.serves_one_node() && !is_other_underlay(options, kind),
            Path::AcrossNodes => kind.serves_across_nodes(),
        };
        if !serves {
            continue;
        }
        entries.push(Entry { kind, family: Family::V4 });
        if options.ipv6 && kind.serves_ipv6() && kind.attach == first_attach(options, kind) {
            entries.push(Entry { kind, family: Family::V6 });
        }
    }
    entries
}

/// Within a node the underlay has no part, so one says what all do.
fn is_other_underlay(options: &Options, kind: Kind) -> bool {
    kind.nodes == [NodeKind::Weir; 2]
        && options.underlays.first().is_some_and(|first| *first != kind.underlay)
}

/// IPv6 is measured on the first attachment alone.
fn first_attach(options: &Options, kind: Kind) -> Attach {
    match kind.nodes {
        [NodeKind::Weir, NodeKind::Weir] => options.attach.first().copied().unwrap_or(Attach::Tap),
        _ => kind.attach,
    }
}

/// Everybody there is: for each number of rules, weir and the kernel beside each other; then what has no rules.
fn all(options: &Options, tools: Tools) -> Vec<Kind> {
    let against = |peer| options.against.contains(&peer);
    let attach = options.attach.first().copied().unwrap_or(Attach::Tap);
    let (underlay, others) = match options.underlays.as_slice() {
        [first, others @ ..] => (*first, others),
        [] => (UnderlayKind::Udp, options.underlays.as_slice()),
    };
    let mut kinds = Vec::new();
    for &rules in &options.rules {
        for (number, &attach) in options.attach.iter().enumerate() {
            // Rules cost the same behind every attachment.
            if number == 0 || rules == 0 {
                kinds.push(Kind::weir(attach, rules).over(underlay));
            }
        }
        if rules == 0 {
            kinds.extend(others.iter().map(|&other| Kind::weir(attach, 0).over(other)));
        }
        if !against(Peer::Kernel) {
            continue;
        }
        if rules == 0 {
            kinds.push(Kind::kernel(Rules::None));
            continue;
        }
        kinds.push(Kind::kernel(Rules::Chain(rules)));
        if options.sets {
            kinds.extend(tools.ipset.then(|| Kind::kernel(Rules::Ipset(rules))));
            kinds.extend(tools.nft.then(|| Kind::kernel(Rules::NftSet(rules))));
        }
    }
    kinds.extend(against(Peer::Ovs).then(Kind::ovs));
    kinds.extend(against(Peer::Forwarder).then(Kind::forwarder));
    kinds.extend(options.mixed.then(|| Kind::mixed().over(underlay)));
    let among =
        (options.idle_pods > 0).then(|| Kind::weir(attach, 0).over(underlay).among(options.idle_pods));
    kinds.extend(among);
    kinds
}

/// The labs that are needed, each once.
pub(super) fn kinds(cases: &[Case], options: &Options, tools: Tools) -> Vec<Kind> {
    let mut kinds = Vec::new();
    let measured = cases.iter().flat_map(|case| &case.entries).map(|entry| entry.kind);
    for kind in measured.chain(searched(options, tools).into_iter().map(|(_, kind)| kind)) {
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds
}

/// Whose loads without loss are searched for: weir and the kernel without rules.
pub(super) fn searched(options: &Options, tools: Tools) -> Vec<(Path, Kind)> {
    let mut searched = Vec::new();
    if !options.ndr {
        return searched;
    }
    for &path in &options.paths {
        for kind in all(options, tools) {
            let plain = kind.rules == Rules::None && kind.idle == 0;
            let alike = kind.nodes == [NodeKind::Weir; 2] || kind.nodes == [NodeKind::Kernel; 2];
            if plain && alike {
                searched.push((path, kind));
            }
        }
    }
    searched
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOLS: Tools = Tools { iptables: true, ipset: true, nft: true };

    fn names(cases: &[Case], path: Path) -> Vec<String> {
        let case = cases.iter().find(|case| case.path == path).unwrap();
        case.entries.iter().map(Entry::name).collect()
    }

    #[test]
    fn quick_measures_what_it_says_and_nothing_twice() {
        let cases = cases(&Options::quick(), TOOLS);
        assert_eq!(cases.len(), 8);
        assert_eq!(names(&cases, Path::OneNode), ["weir tap", "kernel", "weir tap, 1000 policies"]);
        assert_eq!(
            names(&cases, Path::AcrossNodes),
            ["weir tap", "kernel", "weir tap, 1000 policies", "kernel, 1000 rules in a chain"]
        );
        assert_eq!(kinds(&cases, &Options::quick(), TOOLS).len(), 4);
    }

    #[test]
    fn everything_is_everything_once() {
        let cases = cases(&Options::full(), TOOLS);
        assert_eq!(cases.len(), 12);
        let mut names = names(&cases, Path::AcrossNodes);
        assert_eq!(names.len(), 19, "{names:#?}");
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 19);
    }

    #[test]
    fn others_take_part_where_they_can() {
        let options = Options {
            against: vec![Peer::Kernel, Peer::Ovs, Peer::Forwarder],
            rules: vec![0],
            mixed: true,
            idle_pods: 108,
            ..Options::quick()
        };
        let cases = cases(&options, TOOLS);
        assert_eq!(
            names(&cases, Path::OneNode),
            ["weir tap", "kernel", "ovs", "forwarder", "weir tap, 108 idle pods"]
        );
        assert_eq!(
            names(&cases, Path::AcrossNodes),
            ["weir tap", "kernel", "ovs", "weir to kernel", "weir tap, 108 idle pods"]
        );
    }

    #[test]
    fn another_underlay_is_measured_across_nodes_alone() {
        let underlays = vec![UnderlayKind::Udp, UnderlayKind::AfPacket];
        let options = Options { against: Vec::new(), underlays, rules: vec![0, 5], ..Options::quick() };
        let cases = cases(&options, TOOLS);
        assert_eq!(names(&cases, Path::OneNode), ["weir tap", "weir tap, 5 policies"]);
        assert_eq!(
            names(&cases, Path::AcrossNodes),
            ["weir tap", "weir tap, af_packet underlay", "weir tap, 5 policies"]
        );
    }

    #[test]
    fn tools_that_are_missing_are_not_planned_for() {
        let options = Options { sets: true, ..Options::quick() };
        let cases = cases(&options, Tools { ipset: false, ..TOOLS });
        let names = names(&cases, Path::AcrossNodes);
        assert!(names.contains(&"kernel, 1000 rules in an nft set".to_owned()), "{names:?}");
        assert!(!names.contains(&"kernel, 1000 rules in an ipset".to_owned()), "{names:?}");
    }
}
