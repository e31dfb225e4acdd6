//! What is valid but probably not what its writer meant, beside everything that is invalid.
//!
//! ```text
//!  model: policies, rules ─┬─► selectors   selects nobody, names no port, covers pods
//!                          ├─► meaning     one peer or two, what policyTypes and empty lists do
//!  live pods, by kind ─────┼─► shadow      rules that never decide
//!                          └─► dns         egress that forgets DNS
//! ```
//! Found in the model, so in every policy language, but for what is a trap of one of them. Selectors and port names are
//! held against the live pods of the state, so a finding may also mean that the state lacks pods. Cost: rules × kinds
//! of pods, and the probes of `shadow` and `dns`.

mod dns;
mod meaning;
mod scene;
mod selectors;
mod shadow;

use super::judge::Judge;
use crate::api::{Diagnostic, Object, Origin, Severity};
use crate::model::{Policy, PolicyName};
use scene::Scene;
use serde::Serialize;

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Lint {
    /// It cannot be enforced as written.
    Invalid,
    /// A remark of the reader.
    Remark,
    /// A policy that selects no pod.
    SelectsNoPod,
    /// A policy for a namespace that has no pods.
    NamespaceWithoutPods,
    /// A peer of a rule that matches nobody.
    PeerMatchesNoPod,
    /// A named port that no pod at that end defines for that protocol.
    PortNameUndefined,
    /// Rules in a section that `policyTypes` leaves out.
    SectionIgnored,
    /// A policy about egress that isolates its pods for ingress too, because it does not name `policyTypes`.
    IsolatesIngressToo,
    /// An empty `egress` that isolates nobody, because `policyTypes` does not name it.
    EgressNotIsolated,
    /// A policy that isolates and then allows everything, which makes other policies of its pods pointless.
    AllowsEverything,
    /// A section whose rules select nobody: everything is denied.
    AllowsNobody,
    /// A policy that applies to no direction.
    SaysNothing,
    /// Two peers, namespaces here and pods there, that were probably meant as one.
    PeersProbablyOne,
    /// A peer with both selectors that matches nobody, and was probably meant as two.
    PeersProbablyTwo,
    /// A block of addresses that covers addresses of pods.
    IpBlockCoversPods,
    /// A policy that allows egress, and not to DNS, for a pod that no other policy lets reach it.
    DnsForgotten,
    /// A rule that never decides: whatever it is about has been decided before.
    RuleShadowed,
    /// A policy that a cluster with flannel alone accepts, and does not enforce.
    NotEnforcedByFlannel,
}

impl Lint {
    /// As it is printed: `selects_no_pod`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Remark => "remark",
            Self::SelectsNoPod => "selects_no_pod",
            Self::NamespaceWithoutPods => "namespace_without_pods",
            Self::PeerMatchesNoPod => "peer_matches_no_pod",
            Self::PortNameUndefined => "port_name_undefined",
            Self::SectionIgnored => "section_ignored",
            Self::IsolatesIngressToo => "isolates_ingress_too",
            Self::EgressNotIsolated => "egress_not_isolated",
            Self::AllowsEverything => "allows_everything",
            Self::AllowsNobody => "allows_nobody",
            Self::SaysNothing => "says_nothing",
            Self::PeersProbablyOne => "peers_probably_one",
            Self::PeersProbablyTwo => "peers_probably_two",
            Self::IpBlockCoversPods => "ip_block_covers_pods",
            Self::DnsForgotten => "dns_forgotten",
            Self::RuleShadowed => "rule_shadowed",
            Self::NotEnforcedByFlannel => "not_enforced_by_flannel",
        }
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub lint: Lint,
    /// Where, what, and what to do.
    pub diagnostic: Diagnostic,
}

/// What to look for beside what is always looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LintOptions {
    /// Name every policy that a cluster with flannel alone would not enforce.
    pub for_flannel: bool,
}

/// Everything worth a look in the state, by place. `remarks`: what its source found, files that could not be read
/// and the like. For a state with errors the judge's compiler has to isolate, else there is no judge. `done` is told
/// after each policy how many of them are done, and of how many.
pub fn lint(
    judge: &Judge,
    remarks: &[Diagnostic],
    options: LintOptions,
    mut done: impl FnMut(usize, usize),
) -> Vec<Finding> {
    let compiled = judge.compiled();
    let known = remarks.iter().chain(&compiled.degraded).chain(&compiled.warnings);
    let mut findings = Findings::default();
    for diagnostic in known {
        let lint = if diagnostic.is_error() { Lint::Invalid } else { Lint::Remark };
        findings.list.push(Finding { lint, diagnostic: diagnostic.clone() });
    }
    let namespaces = scene::namespaces(judge);
    let scene = Scene::new(judge, &namespaces);
    let mut dns = dns::Dns::new(&scene);
    let shadow = shadow::Shadow::new(&scene);
    let policies: Vec<&Policy> = judge.model().tiers.iter().flat_map(|tier| &tier.policies).collect();
    for (position, policy) in policies.iter().enumerate() {
        selectors::policy(&scene, policy, &mut findings);
        meaning::policy(&scene, policy, &mut findings);
        dns.policy(policy, &mut findings);
        shadow.policy(policy, &mut findings);
        done(position + 1, policies.len());
    }
    meaning::objects(&scene, &mut findings);
    if options.for_flannel {
        judge.compiler().objects().for_each(|object| for_flannel(object, &mut findings));
    }
    let mut findings = findings.list;
    let place = |finding: &Finding| (finding.diagnostic.origin.clone(), finding.lint);
    findings
        .sort_by(|a, b| place(a).cmp(&place(b)).then_with(|| a.diagnostic.field.cmp(&b.diagnostic.field)));
    findings.dedup();
    findings
}

fn for_flannel(object: &Object, findings: &mut Findings) {
    if !meaning::is_enforced(object.key().kind) {
        return;
    }
    findings.add(
        Lint::NotEnforcedByFlannel,
        object.key(),
        ("spec", object.origin()),
        "a cluster with flannel alone stores this policy and enforces nothing of it".to_owned(),
        "run weir on its nodes, or another enforcer of this kind of policy beside flannel",
    );
}

/// What has been found.
#[derive(Debug, Default)]
struct Findings {
    list: Vec<Finding>,
}

impl Findings {
    fn add(
        &mut self,
        lint: Lint,
        policy: &PolicyName,
        (field, origin): (&str, &Origin),
        message: String,
        help: &str,
    ) {
        let diagnostic = Diagnostic {
            severity: Severity::Warning,
            origin: origin.clone(),
            object: Some(policy.clone()),
            field: field.to_owned(),
            message,
            expected: None,
            help: Some(help.to_owned()),
        };
        self.list.push(Finding { lint, diagnostic });
    }
}

#[cfg(test)]
mod tests;
