//! Rules that never decide, because whatever they are about has been decided before.
//!
//! Found by asking the classifier: of everything a rule is about, one connection of every kind of pods at both ends
//! and every stretch of ports, until it decides (or is passed through) once; usually that is the first. So it is exact
//! for the pods of the state, and says nothing about pods to come. Bound: [`MAX_PROBES`] per rule as it was written;
//! of one that would take more nothing is said.
//!
//! Where rules only add up (NetworkPolicy, Cilium's allows), two that allow the same are no mistake: there only a rule
//! that something denies before, or that its own policy makes pointless, is reported.

use super::meaning::is_additive;
use super::scene::{Remote, Scene, Seen, covers};
use super::{Findings, Lint};
use crate::api::Provenance;
use crate::classifier::{RuleInfo, RuleKind, Step};
use crate::model::{Action, Direction, Peer, Policy, PolicyName, Ports, Rule, RuleAction};
use crate::query::end::{End, EndKind};
use crate::query::ports::{PortSpace, Sample};
use crate::query::sweep::Sweep;
use crate::query::words::rule_in_words;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Most connections that are tried for a rule.
const MAX_PROBES: usize = 1 << 20;

pub(super) struct Shadow<'s> {
    scene: &'s Scene<'s>,
    space: PortSpace,
    /// Everyone at the other end, with the pod where it is one. None of them is judged there.
    remotes: Vec<(Remote<'s>, End)>,
}

/// What decided in place of a rule.
#[derive(Debug, Default)]
struct Search {
    probes: usize,
    /// Policies, places and actions.
    before: BTreeSet<(PolicyName, Provenance, Action)>,
    passed: BTreeSet<(PolicyName, Provenance)>,
}

/// How a search ended.
enum Outcome {
    Decides,
    /// Everything was tried that there is.
    Never,
    TooMany,
}

impl<'s> Shadow<'s> {
    pub(super) fn new(scene: &'s Scene<'s>) -> Self {
        let remotes = scene.remotes().filter_map(|remote| {
            let end = match remote {
                Remote::Pod(seen) => scene.judge.end(&seen.name()).ok()?,
                Remote::End(end) => end.clone(),
            };
            Some((remote, End { kind: EndKind::Outside, ..end }))
        });
        Self { space: PortSpace::new(&[scene.judge]), remotes: remotes.collect(), scene }
    }

    pub(super) fn policy(&self, policy: &Policy, findings: &mut Findings) {
        let readable = policy.rules.iter().filter(|rule| rule.hole.is_none());
        let mut rules: Vec<&Rule> = readable.collect();
        // What was written as one rule may be several of the model.
        rules.sort_by_key(|rule| (rule.direction, &rule.provenance));
        for written in rules.chunk_by(|a, b| a.direction == b.direction && a.provenance == b.provenance) {
            let mut search = Search::default();
            let decides =
                written.iter().any(|rule| !matches!(self.search(policy, rule, &mut search), Outcome::Never));
            let Some(rule) = written.first() else { continue };
            if !decides {
                report(policy, rule, &search, findings);
            }
        }
    }

    fn search(&self, policy: &Policy, rule: &Rule, search: &mut Search) -> Outcome {
        // A pod's own node reaches it whatever rules say, so a rule that lets it in is in the right and never decides.
        let atoms = rule.peers.listed().iter().flat_map(Peer::atoms);
        if rule.direction == Direction::Ingress && atoms.into_iter().any(|atom| *atom == Peer::OwnNode) {
            return Outcome::Decides;
        }
        let mut sweep = Sweep::new(self.scene.judge);
        for subject in self.scene.subjects(policy) {
            if !self.scene.is_local(rule, subject) {
                continue;
            }
            let Ok(end) = self.scene.judge.end(&subject.name()) else { continue };
            for (peer, remote) in self.remotes.iter().filter(|(peer, _)| self.scene.hold(&rule.peers, *peer))
            {
                for family in [4, 6] {
                    let (Some(own), Some(other)) = (end.address(family), remote.address(family)) else {
                        continue;
                    };
                    let samples = self.about(rule, family, (subject, own), (*peer, other));
                    search.probes += samples.len();
                    if search.probes > MAX_PROBES {
                        return Outcome::TooMany;
                    }
                    let (far, near) = ((remote, other), (&end, own));
                    match rule.direction {
                        Direction::Egress => sweep.ask(near, far, &samples),
                        Direction::Ingress => sweep.ask(far, near, &samples),
                    }
                    let verdicts = (0..samples.len()).filter_map(|sample| {
                        let [egress, ingress] = sweep.verdicts(sample);
                        egress.or(ingress)
                    });
                    for verdict in verdicts {
                        let info = self.scene.judge.rule_of(verdict);
                        if is_by(info, policy, rule) {
                            return Outcome::Decides;
                        }
                        search.note(info);
                    }
                }
            }
        }
        Outcome::Never
    }

    /// One connection of every stretch that the rule is about, between these two.
    fn about(
        &self,
        rule: &Rule,
        family: u8,
        (subject, own): (Seen<'_>, IpAddr),
        (peer, other): (Remote<'_>, IpAddr),
    ) -> Vec<Sample> {
        // Its own address is not judged; and a peer that is a pod by one address only is not by the other.
        let peer = match peer {
            Remote::Pod(seen) => Some(seen),
            Remote::End(_) => None,
        };
        let holds = peer.is_none_or(|seen| rule.peers.hold(&mut |atom| self.scene.is_at(atom, seen, other)));
        let local = |local: &Peer| local.holds(&mut |atom| self.scene.is_at(atom, subject, own));
        if own == other || !holds || !rule.local.as_ref().is_none_or(local) {
            return Vec::new();
        }
        let (subject, peer) = (Some(subject.pod), peer.map(|seen| seen.pod));
        let (source, destination) = match rule.direction {
            Direction::Egress => (subject, peer),
            Direction::Ingress => (peer, subject),
        };
        let listed = |ports: &Ports, protocol, port, pod| match ports {
            Ports::Any => true,
            Ports::OneOf(specs) => specs.iter().any(|spec| covers(spec, protocol, port, pod)),
        };
        let samples = self.space.samples(family).iter().copied();
        samples
            .filter(|&Sample { protocol, src_port, dst_port }| {
                listed(&rule.ports, protocol, dst_port, destination)
                    && !rule.not_ports.iter().any(|spec| covers(spec, protocol, dst_port, destination))
                    && listed(&rule.source_ports, protocol, src_port, source)
                    && !rule.not_source_ports.iter().any(|spec| covers(spec, protocol, src_port, source))
            })
            .collect()
    }
}

impl Search {
    fn note(&mut self, info: &RuleInfo) {
        // What stands for something unreadable goes away when that is mended: it has a finding of its own.
        if let RuleKind::Rule { policy, provenance } = &info.kind {
            self.before.insert((policy.clone(), provenance.clone(), info.action));
        }
        for step in &info.via {
            if let Step::Passed { policy, provenance, .. } = step {
                self.passed.insert((policy.clone(), provenance.clone()));
            }
        }
    }
}

/// Whether the verdict is this rule's, or went through it.
fn is_by(info: &RuleInfo, policy: &Policy, rule: &Rule) -> bool {
    let same =
        |name: &PolicyName, provenance: &Provenance| *name == policy.name && *provenance == rule.provenance;
    let decided = match &info.kind {
        RuleKind::Rule { policy, provenance } => same(policy, provenance),
        _ => false,
    };
    decided
        || info.via.iter().any(|step| match step {
            Step::Logged { policy, provenance } | Step::Passed { policy, provenance, .. } => {
                same(policy, provenance)
            }
            Step::Undecided { .. } => false,
        })
}

fn report(policy: &Policy, rule: &Rule, search: &Search, findings: &mut Findings) {
    let wanted = match rule.action {
        RuleAction::Allow => Some(Action::Allow),
        RuleAction::Deny => Some(Action::Deny),
        RuleAction::Pass | RuleAction::Log => None,
    };
    let matters = search.before.iter().any(|(by, _, action)| {
        !is_additive(policy.name.kind) || *by == policy.name || Some(*action) != wanted
    }) || !search.passed.is_empty();
    if !matters {
        return;
    }
    let deciding = search.before.iter().map(|(by, provenance, action)| {
        format!(
            "{by} {} ({}), which {}",
            provenance.field,
            provenance.origin,
            if *action == Action::Allow { "allows" } else { "denies" }
        )
    });
    let passing = search
        .passed
        .iter()
        .map(|(by, provenance)| format!("{by} {} ({}), which passes", provenance.field, provenance.origin));
    // A tier that was left says more than all that came after it.
    let before: Vec<String> = passing.chain(deciding).collect();
    let shown = match &before[..] {
        [one, two, rest @ ..] if !rest.is_empty() => format!("{one}; {two}; and {} more", rest.len()),
        all => all.join("; "),
    };
    let contradicts =
        search.before.iter().any(|(_, _, action)| wanted.is_some_and(|wanted| wanted != *action));
    let help = if contradicts {
        "move the rule before them, narrow them, or remove the rule"
    } else {
        "remove the rule, or check that it says what was meant"
    };
    findings.add(
        Lint::RuleShadowed,
        &policy.name,
        (&rule.provenance.field, &rule.provenance.origin),
        format!("the rule never decides ({}): before it comes {shown}", rule_in_words(rule)),
        help,
    );
}
