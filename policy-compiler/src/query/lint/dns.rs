//! Egress policies that forget DNS: pods that may open connections, but resolve no names.
//!
//! Asked of the classifier for one pod of each kind: UDP 53 to the cluster's DNS pods where the state has some
//! (`k8s-app: kube-dns`, as every distribution labels them), else to any pod, and to nodes and the outside. A pod that
//! reaches one of them is not reported: it may have a resolver of its own.

use super::scene::{Scene, Seen};
use super::{Findings, Lint};
use crate::model::{Applies, Direction, Policy, Protocol, RuleAction};
use crate::query::end::{End, family_of};
use crate::query::probe::SOURCE_PORT;
use crate::query::sweep::allowed;
use crate::query::transport::Transport;
use ahash::AHashMap;

pub(super) struct Dns<'s> {
    scene: &'s Scene<'s>,
    /// Everyone who may be a resolver.
    resolvers: Vec<End>,
    /// Whether a pod reaches none of them, by name.
    deaf: AHashMap<String, bool>,
}

impl<'s> Dns<'s> {
    pub(super) fn new(scene: &'s Scene<'s>) -> Self {
        let is_dns =
            |seen: &&Seen<'_>| seen.pod.meta.labels.get("k8s-app").is_some_and(|app| app == "kube-dns");
        let known: Vec<&Seen<'_>> = scene.pods.iter().filter(is_dns).collect();
        let pods = if known.is_empty() { scene.pods.iter().collect() } else { known };
        let ends = pods.into_iter().filter_map(|seen| scene.judge.end(&seen.name()).ok());
        let resolvers = ends.chain(scene.ends.iter().cloned()).collect();
        Self { scene, resolvers, deaf: AHashMap::new() }
    }

    pub(super) fn policy(&mut self, policy: &Policy, findings: &mut Findings) {
        let allows = policy.rules.iter().any(|rule| {
            rule.direction == Direction::Egress && rule.action == RuleAction::Allow && rule.hole.is_none()
        });
        if policy.egress != Applies::Isolating || !allows {
            return;
        }
        let subjects = self.scene.subjects(policy);
        let Some(pod) = subjects.iter().map(Seen::name).find(|name| self.is_deaf(name)) else { return };
        let field = format!("{}.egress", policy.provenance.field);
        findings.add(
            Lint::DnsForgotten,
            &policy.name,
            (&field, &policy.provenance.origin),
            format!("{pod} may open connections, but DNS (UDP 53) to nobody"),
            "allow egress to the cluster's DNS on UDP and TCP 53, if the pod resolves names",
        );
    }

    fn is_deaf(&mut self, pod: &str) -> bool {
        if let Some(&known) = self.deaf.get(pod) {
            return known;
        }
        let Ok(source) = self.scene.judge.end(pod) else { return false };
        let reaches = source.addresses.iter().any(|&src| {
            self.resolvers.iter().filter(|end| end.name != pod).any(|end| {
                end.address(family_of(src)).is_some_and(|dst| {
                    let dns = Transport::Port(Protocol::UDP, 53);
                    let [egress, _] = self.scene.judge.verdicts((&source, src), (end, dst), dns, SOURCE_PORT);
                    allowed([egress, None])
                })
            })
        });
        self.deaf.insert(pod.to_owned(), !reaches);
        !reaches
    }
}
