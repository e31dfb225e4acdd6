//! Answers probes from the compiled classifier of all pods.
//!
//! Built once per state: one compilation and a few maps. An answer costs two lookups in the classifier and the
//! writing of its reasons.

use super::answer::{Answer, Side};
use super::end::{End, EndKind, family_of};
use super::explanation::Explanation;
use super::owner::owner;
use super::probe::{Probe, ProbeError};
use super::transport::Transport;
use crate::api::{Diagnostic, Object, Provenance};
use crate::classifier::{Key, RuleInfo, Verdict};
use crate::cluster::SubjectId;
use crate::compiler::{Compiled, Compiler, Scope};
use crate::model::{Direction, Model, Policy, PolicyName, Rule, RuleAction, Tier};
use ahash::AHashMap;
use ipnet::IpNet;
use std::net::IpAddr;

/// A state of the cluster that can be asked about connections.
#[derive(Debug)]
pub struct Judge {
    compiler: Compiler,
    compiled: Compiled,
    model: Model,
    /// Every pod of the state by `ns/name`: its end, or why it has none.
    pods: AHashMap<String, Result<End, ProbeError>>,
    /// Live pods by address.
    subjects: AHashMap<IpAddr, SubjectId>,
    /// Addresses of nodes and of pods on the host network.
    nodes: AHashMap<IpAddr, String>,
    /// Positions in the model, tier and policy, of what each object became.
    policies: AHashMap<PolicyName, Vec<(usize, usize)>>,
}

impl Judge {
    /// Compiles everything for all pods.
    ///
    /// # Errors
    /// As [`Compiler::compile`].
    pub fn new(compiler: Compiler) -> Result<Self, Vec<Diagnostic>> {
        let compiled = compiler.compile(&Scope::All)?;
        let model = compiler.model();
        let mut judge = Self {
            model,
            pods: AHashMap::new(),
            subjects: AHashMap::new(),
            nodes: AHashMap::new(),
            policies: AHashMap::new(),
            compiler,
            compiled,
        };
        for (tier, of) in judge.model.tiers.iter().enumerate() {
            for (position, policy) in of.policies.iter().enumerate() {
                judge.policies.entry(policy.name.clone()).or_default().push((tier, position));
            }
        }
        for (number, subject) in (0..).map(SubjectId).zip(&judge.compiled.cluster.subjects) {
            let name = subject.name.to_string();
            for &address in &subject.addresses {
                judge.subjects.insert(address, number);
            }
            let end = End {
                name: name.clone(),
                kind: EndKind::Pod(number),
                addresses: subject.addresses.clone(),
                owner: None,
            };
            judge.pods.insert(name, Ok(end));
        }
        for node in &judge.compiled.cluster.nodes {
            for &address in &node.addresses {
                judge.nodes.insert(address, format!("node {}", node.name));
            }
        }
        judge.add_other_pods();
        Ok(judge)
    }

    /// Pods that are no subjects: finished, without address, on the host network.
    fn add_other_pods(&mut self) {
        for object in self.compiler.objects() {
            let Object::Pod(pod) = object else { continue };
            let name = format!("{}/{}", pod.meta.key.namespace, pod.meta.key.name);
            if let Some(end) = self.pods.get_mut(&name) {
                if let Ok(end) = end {
                    end.owner = Some(owner(pod));
                }
                continue;
            }
            let mut addresses = pod.pod_ips.clone();
            if addresses.is_empty() && pod.host_network {
                let node = self.compiled.cluster.nodes.iter().find(|node| node.name == pod.node_name);
                addresses = node.map(|node| node.addresses.clone()).unwrap_or_default();
            }
            let end = if pod.is_finished() {
                Err(ProbeError::Finished(name.clone()))
            } else if addresses.is_empty() {
                Err(ProbeError::NoAddress(name.clone()))
            } else {
                for &address in &addresses {
                    self.nodes.entry(address).or_insert_with(|| format!("node of {name}"));
                }
                Ok(End { name: name.clone(), kind: EndKind::Node, addresses, owner: None })
            };
            self.pods.insert(name, end);
        }
    }

    /// The objects.
    pub fn compiler(&self) -> &Compiler {
        &self.compiler
    }

    /// What they compiled to.
    pub fn compiled(&self) -> &Compiled {
        &self.compiled
    }

    /// The policies as the model has them.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The pods that are judged, by name.
    pub fn pods(&self) -> Vec<End> {
        let subjects = &self.compiled.cluster.subjects;
        let ends = subjects.iter().filter_map(|subject| self.pods.get(&subject.name.to_string()));
        ends.filter_map(|end| end.as_ref().ok()).cloned().collect()
    }

    /// The pod that is judged at this address.
    pub fn subject_at(&self, address: IpAddr) -> Option<SubjectId> {
        self.subjects.get(&address).copied()
    }

    pub(super) fn host_pods(&self) -> impl Iterator<Item = (&str, IpAddr)> {
        let ends = self.pods.values().filter_map(|end| end.as_ref().ok());
        ends.filter(|end| end.kind == EndKind::Node)
            .flat_map(|end| end.addresses.iter().map(|&address| (end.name.as_str(), address)))
    }

    /// What the object of this name became, with the tiers: one object may be several policies.
    pub(super) fn policies_named(&self, name: &PolicyName) -> impl Iterator<Item = (&Tier, &Policy)> {
        self.policies.get(name).into_iter().flatten().filter_map(|&(tier, policy)| {
            let tier = self.model.tiers.get(tier)?;
            Some((tier, tier.policies.get(policy)?))
        })
    }

    /// Where the policy was written.
    pub(super) fn place_of(&self, policy: &PolicyName) -> Option<&Provenance> {
        self.policies_named(policy).last().map(|(_, policy)| &policy.provenance)
    }

    /// The rule of the model that was written there, does this and is of this direction, and its tier. What was written
    /// once may be several rules: one that allows, and one that denies what it leaves out.
    pub(super) fn rule(
        &self,
        policy: &PolicyName,
        provenance: &Provenance,
        direction: Direction,
        action: RuleAction,
    ) -> Option<(&Tier, &Rule)> {
        self.policies_named(policy).find_map(|(tier, policy)| {
            let mut rules = policy.rules.iter();
            let rule = rules.find(|rule| {
                rule.direction == direction && rule.action == action && rule.provenance == *provenance
            })?;
            Some((tier, rule))
        })
    }

    /// Who is meant by `ns/name` or an address. An address that a live pod owns is that pod; one that nobody owns
    /// is outside.
    ///
    /// # Errors
    /// No live pod is called that, or the text is neither.
    pub fn end(&self, text: &str) -> Result<End, ProbeError> {
        if let Ok(address) = text.parse::<IpAddr>() {
            let subject = self.subject_at(address);
            let pod = subject.and_then(|subject| self.compiled.cluster.subjects.get(subject.0 as usize));
            if let Some(Ok(end)) = pod.and_then(|pod| self.pods.get(&pod.name.to_string())) {
                return Ok(End { addresses: vec![address], ..end.clone() });
            }
            let (name, kind) = match self.nodes.get(&address) {
                Some(node) => (format!("{node} ({address})"), EndKind::Node),
                None => (address.to_string(), EndKind::Outside),
            };
            return Ok(End { name, kind, addresses: vec![address], owner: None });
        }
        match self.pods.get(text) {
            Some(end) => end.clone(),
            None if text.parse::<IpNet>().is_ok() => Err(ProbeError::NotAnEnd(text.to_owned())),
            None if is_pod_name(text) => Err(ProbeError::UnknownPod(text.to_owned())),
            None => Err(ProbeError::NotAnEnd(text.to_owned())),
        }
    }

    /// The verdicts of both ends; `None` where no pod is judged.
    pub fn verdicts(
        &self,
        (source, src): (&End, IpAddr),
        (destination, dst): (&End, IpAddr),
        transport: Transport,
        src_port: u16,
    ) -> [Option<Verdict>; 2] {
        let (protocol, dst_port) = transport.in_key(dst);
        let ask = |end: &End, direction| {
            let key = Key { subject: end.subject()?, direction, src, dst, protocol, src_port, dst_port };
            Some(self.compiled.classifier.classify(&key))
        };
        [ask(source, Direction::Egress), ask(destination, Direction::Ingress)]
    }

    /// What the rule of a verdict means.
    pub fn rule_of(&self, verdict: Verdict) -> &RuleInfo {
        self.compiled.rules.get(verdict.rule)
    }

    /// Answers a probe.
    ///
    /// # Errors
    /// Why it has no answer.
    pub fn answer(&self, probe: &Probe) -> Result<Answer, ProbeError> {
        let (source, destination) = (self.end(&probe.src)?, self.end(&probe.dst)?);
        let wanted = |address: &&IpAddr| probe.family.is_none_or(|family| family_of(**address) == family);
        let pair = source.addresses.iter().filter(wanted).find_map(|&src| {
            let dst = destination.address(family_of(src))?;
            Some((src, dst))
        });
        let Some((src, dst)) = pair else {
            let family = match probe.family {
                Some(4) => "IPv4",
                Some(_) => "IPv6",
                None => "one family",
            };
            let (src, dst) = (probe.src.clone(), probe.dst.clone());
            return Err(ProbeError::NoFamily { src, dst, family });
        };
        let [egress, ingress] =
            self.verdicts((&source, src), (&destination, dst), probe.transport, probe.src_port);
        let egress = Side::new(self, &source, egress);
        let ingress = Side::new(self, &destination, ingress);
        Ok(Answer::new(src, dst, egress, ingress))
    }

    /// Answers a probe for people.
    ///
    /// # Errors
    /// As [`Self::answer`].
    pub fn explain(&self, probe: &Probe) -> Result<Explanation, ProbeError> {
        let answer = self.answer(probe)?;
        let (source, destination) = (self.end(&probe.src)?, self.end(&probe.dst)?);
        Ok(Explanation::new(self, probe, &source, &destination, answer))
    }
}

/// Whether the text has the form `ns/name`.
fn is_pod_name(text: &str) -> bool {
    let word = |word: &str| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.')
    };
    text.split_once('/').is_some_and(|(namespace, name)| word(namespace) && word(name))
}
