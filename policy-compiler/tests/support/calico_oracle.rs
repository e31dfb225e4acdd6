//! Calico's semantics a second time, the way Felix has it: every endpoint has one map of labels, a selector is a set of
//! addresses, and a packet is matched by addresses alone. It shares the reading of objects with the crate and nothing
//! behind it: no model, no reference. Policies of other languages are not known to it.

use policy_compiler::api::{
    CalicoAction, CalicoEntity, CalicoIcmp, CalicoNamespaces, CalicoPolicyBody, CalicoPolicySpec, CalicoPort,
    CalicoRuleBody, CalicoSelector, IpFamily, NamedPort, Pod,
};
use policy_compiler::{Action, Direction, Kind, Object};
use std::collections::BTreeMap;
use std::net::IpAddr;

type LabelMap = BTreeMap<String, String>;

/// What selectors find: labels and addresses.
struct Endpoint {
    labels: LabelMap,
    nets: Vec<ipnet::IpNet>,
    is_pod: bool,
}

pub(crate) struct Oracle {
    endpoints: Vec<Endpoint>,
    named: Vec<(IpAddr, NamedPort)>,
    pods: BTreeMap<String, LabelMap>,
    /// Order, name, whether it passes.
    tiers: Vec<(f64, String, bool)>,
    /// Order, bare name, its namespace, what it says.
    policies: Vec<(f64, String, Option<String>, CalicoPolicySpec)>,
}

/// A packet as rules see it.
pub(crate) struct Packet {
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    pub(crate) protocol: u8,
    pub(crate) src_port: u16,
    pub(crate) dst_port: u16,
}

fn set(labels: &mut LabelMap, key: &str, value: &str) {
    labels.insert(key.to_owned(), value.to_owned());
}

impl Oracle {
    pub(crate) fn new(objects: &[Object]) -> Self {
        let mut inherited: BTreeMap<String, LabelMap> = BTreeMap::new();
        let mut of_accounts: BTreeMap<(String, String), LabelMap> = BTreeMap::new();
        for object in objects {
            let meta = object.meta();
            let (prefix, labels) = match object {
                Object::Namespace(_) => ("pcns.", inherited.entry(meta.key.name.clone()).or_default()),
                Object::ServiceAccount(_) => {
                    let key = (meta.key.namespace.clone(), meta.key.name.clone());
                    ("pcsa.", of_accounts.entry(key).or_default())
                }
                _ => continue,
            };
            labels.extend(meta.labels.iter().map(|(key, value)| (format!("{prefix}{key}"), value.clone())));
        }
        let of_namespace = |name: &str| {
            let mut labels = inherited.get(name).cloned().unwrap_or_default();
            set(&mut labels, "pcns.kubernetes.io/metadata.name", name);
            set(&mut labels, "pcns.projectcalico.org/name", name);
            set(&mut labels, "projectcalico.org/namespace", name);
            labels
        };
        let mut oracle = Self {
            endpoints: Vec::new(),
            named: Vec::new(),
            pods: BTreeMap::new(),
            tiers: vec![
                (1e6, "default".into(), false),
                (1e3, "kube-admin".into(), true),
                (1e7, "kube-baseline".into(), true),
            ],
            policies: Vec::new(),
        };
        for object in objects {
            let meta = object.meta();
            match object {
                Object::Pod(pod) if pod.is_endpoint() => {
                    let mut labels = meta.labels.clone();
                    labels.extend(of_namespace(&meta.key.namespace));
                    let account = (meta.key.namespace.clone(), pod.service_account.clone());
                    labels.extend(of_accounts.get(&account).cloned().unwrap_or_default());
                    set(&mut labels, "pcsa.projectcalico.org/name", &pod.service_account);
                    set(&mut labels, "projectcalico.org/serviceaccount", &pod.service_account);
                    set(&mut labels, "projectcalico.org/orchestrator", "k8s");
                    oracle.add_pod(pod, labels);
                }
                Object::CalicoNetworkSet(set) => {
                    let mut labels = meta.labels.clone();
                    labels.extend(set.namespace().map(of_namespace).unwrap_or_default());
                    let nets = set.nets.clone().unwrap_or_default();
                    oracle.endpoints.push(Endpoint { labels, nets, is_pod: false });
                }
                Object::CalicoTier(tier) if meta.key.name != "default" => {
                    let order = tier.order.map_or(f64::NAN, policy_compiler::api::CalicoOrder::value);
                    oracle.tiers.push((order, meta.key.name.clone(), tier.passes));
                }
                Object::CalicoPolicy(policy) if policy.staged_for().is_none() => {
                    let CalicoPolicyBody::Calico(spec) = &*policy.body else { continue };
                    let namespace =
                        (meta.key.kind == Kind::CalicoNetworkPolicy).then(|| meta.key.namespace.clone());
                    oracle.policies.push((
                        spec.order.value(),
                        meta.key.name.clone(),
                        namespace,
                        spec.clone(),
                    ));
                }
                _ => {}
            }
        }
        oracle.tiers.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        oracle.policies.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        oracle
    }

    fn add_pod(&mut self, pod: &Pod, labels: LabelMap) {
        let addresses = || pod.pod_ips.iter().copied();
        self.pods.insert(format!("{}/{}", pod.meta.key.namespace, pod.meta.key.name), labels.clone());
        self.named
            .extend(addresses().flat_map(|at| pod.named_ports.iter().map(move |port| (at, port.clone()))));
        self.endpoints.push(Endpoint { labels, nets: addresses().map(Into::into).collect(), is_pod: true });
    }

    /// What becomes of the packet at the pod; nothing where no policy decides.
    pub(crate) fn judge(&self, pod: &str, direction: Direction, packet: &Packet) -> Action {
        let Some(labels) = self.pods.get(pod) else { panic!("no pod {pod}") };
        'tiers: for (_, tier, passes) in &self.tiers {
            let mut applied = false;
            for (_, _, namespace, spec) in &self.policies {
                let applies = match direction {
                    Direction::Egress => spec.applies_egress,
                    Direction::Ingress => spec.applies_ingress,
                };
                if spec.tier.as_ref() != Some(tier)
                    || !applies
                    || !selects(spec, namespace.as_deref(), labels)
                {
                    continue;
                }
                applied = true;
                let rules = if direction == Direction::Egress { &spec.egress } else { &spec.ingress };
                for rule in rules.iter().filter_map(|rule| rule.body.as_ref()) {
                    if !self.matches(rule, namespace.as_deref(), packet) {
                        continue;
                    }
                    match rule.action {
                        CalicoAction::Allow => return Action::Allow,
                        CalicoAction::Deny => return Action::Deny,
                        CalicoAction::Pass => continue 'tiers,
                        CalicoAction::Log => {}
                    }
                }
            }
            if applied && !passes {
                return Action::Deny;
            }
        }
        Action::Allow
    }

    fn matches(&self, rule: &CalicoRuleBody, namespace: Option<&str>, packet: &Packet) -> bool {
        let v6 = packet.src.is_ipv6();
        let icmp = |icmp: CalicoIcmp| {
            let [kind, code] = packet.dst_port.to_be_bytes();
            matches!(packet.protocol, 1 | 58)
                && rule.protocol.is_none_or(|protocol| protocol == packet.protocol)
                && icmp.kind == kind
                && icmp.code.is_none_or(|wanted| wanted == code)
        };
        rule.family.is_none_or(|family| (family == IpFamily::V6) == v6)
            && rule.protocol.is_none_or(|protocol| protocol == packet.protocol)
            && rule.not_protocol.is_none_or(|protocol| protocol != packet.protocol)
            && rule.icmp.is_none_or(icmp)
            && !rule.not_icmp.is_some_and(icmp)
            && self.is_end(&rule.source, namespace, packet.src, packet.src_port, packet.protocol)
            && self.is_end(&rule.destination, namespace, packet.dst, packet.dst_port, packet.protocol)
    }

    fn is_end(
        &self,
        end: &CalicoEntity,
        own: Option<&str>,
        address: IpAddr,
        port: u16,
        protocol: u8,
    ) -> bool {
        let is_port = |wanted: &CalicoPort| match wanted {
            CalicoPort::Range(first, last) => (*first..=*last).contains(&port),
            CalicoPort::Named(name) => self.named.iter().any(|(at, named)| {
                *at == address && named.name == *name && named.protocol == protocol && named.port == port
            }),
        };
        let accounts = &end.service_accounts;
        let asks_accounts = !accounts.names.is_empty() || accounts.selector.is_some();
        let scoped = end.namespaces.is_some()
            || (own.is_some() && (end.selector.is_some() || end.not_selector.is_some() || asks_accounts));
        let is_selected = |endpoint: &Endpoint| {
            let namespace = endpoint.labels.get("projectcalico.org/namespace");
            let in_scope = match &end.namespaces {
                _ if !scoped => true,
                Some(CalicoNamespaces::Global) => namespace.is_none(),
                Some(CalicoNamespaces::Matching(selector)) => {
                    namespace.is_some() && holds(Some(selector), "pcns.", &endpoint.labels)
                }
                None => namespace.map(String::as_str) == own,
            };
            let account = endpoint.labels.get("projectcalico.org/serviceaccount");
            let is_account = !asks_accounts
                || (endpoint.is_pod
                    && (accounts.names.is_empty()
                        || account.is_some_and(|name| accounts.names.contains(name)))
                    && holds(accounts.selector.as_ref(), "pcsa.", &endpoint.labels));
            in_scope && is_account && holds(end.selector.as_ref(), "", &endpoint.labels)
        };
        let among = |wanted: &dyn Fn(&Endpoint) -> bool| {
            let mut found = self.endpoints.iter().filter(|endpoint| wanted(endpoint));
            found.any(|endpoint| endpoint.nets.iter().any(|net| net.contains(&address)))
        };
        let taken = |endpoint: &Endpoint| holds(end.not_selector.as_ref(), "", &endpoint.labels);
        let asks = scoped || end.selector.is_some() || asks_accounts;
        (end.nets.is_empty() || end.nets.iter().any(|net| net.contains(&address)))
            && !end.not_nets.iter().any(|net| net.contains(&address))
            && (!asks || among(&is_selected))
            && !(end.not_selector.is_some() && among(&taken))
            && (end.ports.is_empty() || end.ports.iter().any(is_port))
            && !end.not_ports.iter().any(is_port)
    }
}

fn holds(selector: Option<&CalicoSelector>, prefix: &str, labels: &LabelMap) -> bool {
    let label = |key: &str| labels.get(&format!("{prefix}{key}")).map(String::as_str);
    selector.is_none_or(|selector| selector.matches(&label))
}

fn selects(spec: &CalicoPolicySpec, namespace: Option<&str>, labels: &LabelMap) -> bool {
    let Some(subject) = &spec.subject else { return false };
    namespace.is_none_or(|name| labels.get("projectcalico.org/namespace").map(String::as_str) == Some(name))
        && holds(subject.selector.as_ref(), "", labels)
        && holds(subject.namespaces.as_ref(), "pcns.", labels)
        && holds(subject.service_accounts.as_ref(), "pcsa.", labels)
}
