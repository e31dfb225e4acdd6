//! From options to cases: which kinds of traffic run on which path, and who takes part.

use super::{Attach, Kind, NodeKind, Options, Rules, Workload};
use crate::lab::plan::Family;

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
pub(super) fn cases(options: &Options) -> Vec<Case> {
    let mut cases = Vec::new();
    for &path in &options.paths {
        for &workload in &options.workloads {
            let entries = entries(options, path);
            if !entries.is_empty() {
                cases.push(Case { path, workload, entries });
            }
        }
    }
    cases
}

fn entries(options: &Options, path: Path) -> Vec<Entry> {
    let mut entries = Vec::new();
    for kind in all(options) {
        if path == Path::OneNode && !kind.serves_one_node() {
            continue;
        }
        entries.push(Entry { kind, family: Family::V4 });
        if options.ipv6 && kind.serves_ipv6() && kind.attach == first_attach(options, kind) {
            entries.push(Entry { kind, family: Family::V6 });
        }
    }
    entries
}

/// IPv6 is measured on the first attachment alone.
fn first_attach(options: &Options, kind: Kind) -> Attach {
    match kind.nodes {
        [NodeKind::Weir, NodeKind::Weir] => options.attach.first().copied().unwrap_or(Attach::Tap),
        _ => kind.attach,
    }
}

/// Everybody there is: for each number of rules, weir and the kernel beside each other.
fn all(options: &Options) -> Vec<Kind> {
    let mut kinds = Vec::new();
    for &rules in &options.rules {
        for (number, &attach) in options.attach.iter().enumerate() {
            // Rules cost the same behind every attachment.
            if number == 0 || rules == 0 {
                kinds.push(Kind::weir(attach, rules));
            }
        }
        if !options.kernel {
            continue;
        }
        if rules == 0 {
            kinds.push(Kind::kernel(Rules::None));
            if options.mixed {
                kinds.push(Kind::mixed());
            }
            continue;
        }
        kinds.push(Kind::kernel(Rules::Chain(rules)));
        if options.sets {
            kinds.push(Kind::kernel(Rules::Set(rules)));
        }
    }
    kinds
}

/// The labs that are needed, each once.
pub(super) fn kinds(cases: &[Case], options: &Options) -> Vec<Kind> {
    let mut kinds = Vec::new();
    let measured = cases.iter().flat_map(|case| &case.entries).map(|entry| entry.kind);
    for kind in measured.chain(searched(options).into_iter().map(|(_, kind)| kind)) {
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds
}

/// Whose loads without loss are searched for: weir and the kernel without rules.
pub(super) fn searched(options: &Options) -> Vec<(Path, Kind)> {
    let mut searched = Vec::new();
    if !options.ndr {
        return searched;
    }
    for &path in &options.paths {
        for kind in all(options) {
            if kind.rules == Rules::None && kind != Kind::mixed() {
                searched.push((path, kind));
            }
        }
    }
    searched
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quick_measures_what_it_says_and_nothing_twice() {
        let cases = cases(&Options::quick());
        assert_eq!(cases.len(), 8);
        let names = |path| -> Vec<String> {
            let case = cases.iter().find(|case| case.path == path).unwrap();
            case.entries.iter().map(Entry::name).collect()
        };
        assert_eq!(names(Path::OneNode), ["weir tap", "kernel", "weir tap, 1000 policies"]);
        assert_eq!(
            names(Path::AcrossNodes),
            ["weir tap", "kernel", "weir tap, 1000 policies", "kernel, 1000 rules in a chain"]
        );
        assert_eq!(kinds(&cases, &Options::quick()).len(), 4);
    }

    #[test]
    fn everything_is_everything_once() {
        let cases = cases(&Options::full());
        assert_eq!(cases.len(), 10);
        let across = cases.iter().find(|case| case.path == Path::AcrossNodes).unwrap();
        let mut names: Vec<String> = across.entries.iter().map(Entry::name).collect();
        assert_eq!(names.len(), 16, "{names:#?}");
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 16);
    }
}
