//! Seeded clusters of Kubernetes' shape, and connections to try on them: input for benches and tests.
//!
//! ```text
//!  ClusterShape ─► manifests (YAML, as kubectl prints it) ─► policy_compiler::parse ─► Compiler ─► Compiled
//!                                                                       connections(Compiled) ─► Keys
//! ```
//! The cluster goes the way every cluster goes, through text, so that what is measured is what runs. Namespaces
//! hold several applications of three tiers each; the policies are of the kinds people write: default deny,
//! tier to tier on a port, a whole namespace let in, DNS, blocks of outside addresses with exceptions, port
//! ranges and named ports. The same shape and seed give the same cluster for ever.

mod capture;
mod pairs;
mod rng;
pub mod ruleset;

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use policy_compiler::{Cluster, Direction, Key, SubjectId};
use vxlan::Mac;

use crate::manifest::{Namespace, Node, Pod};

pub(crate) use capture::frame;
pub use capture::{CaptureShape, Made, MakeError};
pub use pairs::pod_pairs;
pub use rng::Rng;

/// How large a cluster is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterShape {
    /// Nodes, 1 to 250 (clamped), called `node-0`, `node-1` and so on.
    pub nodes: usize,
    /// Pods on each node, at most 250 (clamped).
    pub pods_per_node: usize,
    /// Namespaces, 1 at the least, called `team-0`, `team-1` and so on.
    pub namespaces: usize,
    /// Network policies.
    pub policies: usize,
    /// What chooses labels, peers and ports.
    pub seed: u64,
}

const TIERS: [&str; 3] = ["web", "api", "db"];
/// Applications of each namespace.
const APPLICATIONS: usize = 8;
const PORTS: [u16; 6] = [80, 443, 5432, 6379, 8080, 9090];

impl ClusterShape {
    /// A cluster with this many policies: 10 nodes, 50 pods on each, 20 namespaces.
    pub const fn with_policies(policies: usize) -> Self {
        Self { nodes: 10, pods_per_node: 50, namespaces: 20, policies, seed: 1 }
    }

    /// A cluster with this many pods and policies: 50 pods on a node, up to 250 where nodes would be more than that,
    /// and 25 or more in a namespace.
    pub fn with_pods(pods: usize, policies: usize) -> Self {
        let nodes = pods.div_ceil(50).clamp(1, 250);
        let namespaces = (pods / 100).max(20);
        Self { nodes, pods_per_node: pods.div_ceil(nodes).min(250), namespaces, policies, seed: 1 }
    }

    /// The cluster as one YAML file of many documents.
    pub fn manifests(&self) -> String {
        let mut rng = Rng::new(self.seed);
        let mut out = String::new();
        let nodes = self.nodes.clamp(1, 250);
        for number in 0..self.namespaces() {
            let environment = if number % 2 == 0 { "production" } else { "staging" };
            let namespace = Namespace::new(format!("team-{number}"));
            let _ = write!(out, "{}", namespace.label("environment", environment).label("team", number));
        }
        for number in 0..nodes {
            let _ = write!(out, "{}", node(number));
        }
        for node in 0..nodes {
            for place in 0..self.pods_per_node.min(250) {
                let _ = write!(out, "{}", self.pod(&mut rng, node, place));
            }
        }
        for number in 0..self.policies {
            self.policy(&mut out, &mut rng, number);
        }
        out
    }

    fn namespaces(&self) -> usize {
        self.namespaces.max(1)
    }

    fn pod(&self, rng: &mut Rng, node: usize, place: usize) -> Pod {
        let namespace = rng.below(self.namespaces());
        let application = rng.below(APPLICATIONS);
        let tier = TIERS[rng.below(TIERS.len())];
        let port = PORTS[rng.below(PORTS.len())];
        // Both are at most 250.
        let (subnet, host) = (node as u8, place as u8 + 2);
        Pod::new(format!("team-{namespace}"), format!("pod-{node}-{place}"), format!("node-{node}"))
            .uid(format!("uid-{node}-{place}"))
            .label("app", format!("app-{application}"))
            .label("tier", tier)
            .named_port("service", port)
            .address([10, 244, subnet, host])
            .address([0xfd00, 0x10, 0x244, u16::from(subnet), 0, 0, 0, u16::from(host)])
    }

    /// The kinds take turns; a namespace begins with its default deny.
    fn policy(&self, out: &mut String, rng: &mut Rng, number: usize) {
        let namespace = number % self.namespaces();
        let application = rng.below(APPLICATIONS);
        let tier = rng.below(TIERS.len());
        let (of, from) = (TIERS[tier], TIERS[(tier + TIERS.len() - 1) % TIERS.len()]);
        let port = PORTS[rng.below(PORTS.len())];
        let subject = format!("podSelector: {{matchLabels: {{app: app-{application}, tier: {of}}}}}");
        let spec = if number < self.namespaces() {
            "podSelector: {}, policyTypes: [Ingress, Egress]".to_owned()
        } else {
            match number % 6 {
                0 => format!(
                    "{subject}, ingress: [{{from: [{{podSelector: {{matchLabels: {{tier: {from}}}}}}}], \
                     ports: [{{port: {port}}}]}}]"
                ),
                1 => format!(
                    "{subject}, ingress: [{{from: [{{namespaceSelector: {{matchLabels: {{team: \"{}\"}}}}}}], \
                     ports: [{{port: service}}]}}]",
                    rng.below(self.namespaces())
                ),
                2 => "podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: 53, protocol: UDP}, \
                      {port: 53}]}]"
                    .to_owned(),
                3 => format!(
                    "{subject}, policyTypes: [Egress], egress: [{{to: [{{ipBlock: {{cidr: 198.51.{}.0/24, \
                     except: [198.51.{0}.128/25]}}}}], ports: [{{port: 443}}]}}]",
                    rng.below(256)
                ),
                4 => format!(
                    "{subject}, ingress: [{{from: [{{namespaceSelector: {{matchLabels: {{environment: production}}}}, \
                     podSelector: {{matchExpressions: [{{key: tier, operator: In, values: [{from}, {of}]}}]}}}}], \
                     ports: [{{port: 8000, endPort: {}}}]}}]",
                    8000 + rng.below(1000)
                ),
                _ => format!(
                    "{subject}, policyTypes: [Ingress, Egress], ingress: [{{ports: [{{port: {port}}}]}}], \
                     egress: [{{to: [{{podSelector: {{}}}}]}}]"
                ),
            }
        };
        let _ = writeln!(
            out,
            "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n\
             metadata: {{name: policy-{number}, namespace: team-{namespace}}}\nspec: {{{spec}}}"
        );
    }
}

/// Numbers are below 250.
fn node(number: usize) -> Node {
    let node = Node::new(format!("node-{number}")).pod_cidr(format!("10.244.{number}.0/24"));
    let (number, node) = (number as u8, node.pod_cidr(format!("fd00:10:244:{number:x}::/64")));
    node.vtep([192, 0, 2, number + 1], Mac([2, 0, 0x5e, 0x10, 0, number]))
}

/// `count` connections to be judged: half between pods of the cluster, a quarter from and a quarter to outside
/// addresses, on ports that policies speak of and on others, IPv4 and IPv6 where both ends have it. None where the
/// cluster has no pods.
pub fn connections(cluster: &Cluster, seed: u64, count: usize) -> Vec<Key> {
    let mut rng = Rng::new(seed);
    let pods: Vec<IpAddr> = cluster.pod_addresses.keys().copied().collect();
    let mut keys = Vec::with_capacity(count);
    while keys.len() < count {
        let number = rng.below(cluster.subjects.len());
        let Some(subject) = cluster.subjects.get(number) else { break };
        let Some(&own) = rng.pick(&subject.addresses) else { break };
        let direction = if rng.below(2) == 0 { Direction::Egress } else { Direction::Ingress };
        let other = if rng.below(2) == 0 { rng.pick(&pods).copied() } else { None };
        let remote = other
            .filter(|other| other.is_ipv4() == own.is_ipv4())
            .unwrap_or_else(|| outside(&mut rng, own.is_ipv4()));
        let (src, dst) = match direction {
            Direction::Egress => (own, remote),
            Direction::Ingress => (remote, own),
        };
        let dst_port =
            if rng.below(4) == 0 { rng.below(65_536) as u16 } else { PORTS[rng.below(PORTS.len())] };
        keys.push(Key {
            subject: SubjectId(number as u32),
            direction,
            src,
            dst,
            protocol: if rng.below(8) == 0 { 17 } else { 6 },
            src_port: 32_768 + rng.below(28_232) as u16,
            dst_port,
        });
    }
    keys
}

/// An address outside the cluster, from the ranges for documentation (RFC 5737, RFC 3849).
fn outside(rng: &mut Rng, v4: bool) -> IpAddr {
    let low = rng.below(65_536) as u16;
    let [third, fourth] = low.to_be_bytes();
    if v4 {
        Ipv4Addr::new(198, 51, third, fourth).into()
    } else {
        IpAddr::from([0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, low])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy_compiler::{Kind, Severity, parse};

    fn kinds(text: &str, kind: Kind) -> usize {
        let parsed = parse("generated.yaml", text);
        parsed.objects.iter().filter(|object| object.key().kind == kind).count()
    }

    #[test]
    fn a_generated_cluster_reads_without_a_problem_and_has_the_size_asked_for() {
        let shape = ClusterShape::with_policies(100);
        let text = shape.manifests();
        let parsed = parse("generated.yaml", &text);
        let problems: Vec<_> =
            parsed.diagnostics.iter().filter(|found| found.severity == Severity::Error).collect();
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(kinds(&text, Kind::Namespace), 20);
        assert_eq!(kinds(&text, Kind::Node), 10);
        assert_eq!(kinds(&text, Kind::Pod), 500);
        assert_eq!(kinds(&text, Kind::NetworkPolicy), 100);
    }

    #[test]
    fn equal_seeds_give_equal_clusters_and_others_do_not() {
        let shape = ClusterShape::with_policies(50);
        assert_eq!(shape.manifests(), shape.manifests());
        assert_ne!(shape.manifests(), ClusterShape { seed: 2, ..shape }.manifests());
        assert_eq!(ClusterShape::with_pods(500, 50), shape);
    }

    #[test]
    fn a_cluster_without_pods_has_no_connections() {
        assert!(connections(&Cluster::default(), 1, 10).is_empty());
    }
}
