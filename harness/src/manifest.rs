//! Namespaces, nodes and pods as manifests, the way `kubectl get -o yaml` shows them where flannel is: each a YAML
//! document that begins with `---`, so that manifests are put one after the other.
//!
//! Labs, generated clusters, benches and tests make their clusters with these; what a text has to look like in a test
//! of its own (a mistake, another form) stands in that test.
//!
//! ```
//! use harness::manifest::Node;
//! use vxlan::Mac;
//!
//! let node = Node::new("node-a").pod_cidr("10.244.1.0/24").vtep([192, 0, 2, 1], Mac([2, 0, 0, 0, 0, 10]));
//! assert!(node.to_string().contains("flannel.alpha.coreos.com/public-ip: 192.0.2.1\n"));
//! ```

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

use vxlan::Mac;

/// What flannel's annotations begin with.
const FLANNEL: &str = "flannel.alpha.coreos.com";

/// A value in YAML: in quotes where it could be taken for something else than a string.
fn scalar(value: impl Display) -> String {
    let text = value.to_string();
    let is_word = text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_./".contains(letter));
    let other = ["true", "false", "null", "yes", "no", "on", "off"];
    let is_other = text.parse::<f64>().is_ok() || text.starts_with("0x") || text.starts_with("0o");
    if is_word && !is_other && !other.iter().any(|other| text.eq_ignore_ascii_case(other)) {
        text
    } else {
        format!("{text:?}")
    }
}

/// `a, b, c`.
fn list<T>(values: &[T], text: impl Fn(&T) -> String) -> String {
    values.iter().map(text).collect::<Vec<_>>().join(", ")
}

fn labels(labels: &[(String, String)]) -> String {
    list(labels, |(key, value)| format!("{key}: {}", scalar(value)))
}

/// A namespace.
#[derive(Debug, Clone)]
pub struct Namespace {
    name: String,
    labels: Vec<(String, String)>,
}

impl Namespace {
    /// A namespace without labels.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), labels: Vec::new() }
    }

    /// With one label more.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Display) -> Self {
        self.labels.push((key.into(), value.to_string()));
        self
    }
}

impl Display for Namespace {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {}, labels: {{{}}}}}",
            self.name,
            labels(&self.labels)
        )
    }
}

/// A node.
#[derive(Debug, Clone)]
pub struct Node {
    name: String,
    pod_cidrs: Vec<String>,
    vteps: Vec<(IpAddr, Mac)>,
}

impl Node {
    /// A node that has no pod subnet yet, and no VTEP.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), pod_cidrs: Vec::new(), vteps: Vec::new() }
    }

    /// With a subnet for its pods.
    #[must_use]
    pub fn pod_cidr(mut self, cidr: impl Display) -> Self {
        self.pod_cidrs.push(cidr.to_string());
        self
    }

    /// With the VTEP that flannel has announced for the family of that underlay address.
    #[must_use]
    pub fn vtep(mut self, underlay: impl Into<IpAddr>, mac: Mac) -> Self {
        self.vteps.push((underlay.into(), mac));
        self
    }
}

impl Display for Node {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        writeln!(f, "---\napiVersion: v1\nkind: Node\nmetadata:\n  name: {name}")?;
        if !self.vteps.is_empty() {
            writeln!(f, "  annotations:\n    {FLANNEL}/kube-subnet-manager: \"true\"")?;
            writeln!(f, "    {FLANNEL}/backend-type: vxlan")?;
        }
        for (underlay, mac) in &self.vteps {
            let (data, public) = if underlay.is_ipv4() {
                ("backend-data", "public-ip")
            } else {
                ("backend-v6-data", "public-ipv6")
            };
            writeln!(f, "    {FLANNEL}/{data}: '{{\"VNI\":1,\"VtepMAC\":\"{mac}\"}}'")?;
            writeln!(f, "    {FLANNEL}/{public}: {}", scalar(underlay))?;
        }
        match self.pod_cidrs.first() {
            Some(first) => {
                let all = list(&self.pod_cidrs, |cidr| scalar(cidr));
                writeln!(f, "spec: {{podCIDR: {}, podCIDRs: [{all}]}}", scalar(first))?;
            }
            None => writeln!(f, "spec: {{}}")?,
        }
        if self.vteps.is_empty() {
            return Ok(());
        }
        let address =
            |(address, _): &(IpAddr, Mac)| format!("{{type: InternalIP, address: {}}}", scalar(address));
        let addresses = list(&self.vteps, address);
        writeln!(f, "status: {{addresses: [{addresses}, {{type: Hostname, address: {name}}}]}}")
    }
}

/// A running pod.
#[derive(Debug, Clone)]
pub struct Pod {
    namespace: String,
    name: String,
    node: String,
    uid: Option<String>,
    labels: Vec<(String, String)>,
    port: Option<(&'static str, u16)>,
    addresses: Vec<IpAddr>,
}

impl Pod {
    /// A pod of that node, without labels and addresses.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>, node: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            node: node.into(),
            uid: None,
            labels: Vec::new(),
            port: None,
            addresses: Vec::new(),
        }
    }

    /// With the identity by which a pod differs from a later one of its name.
    #[must_use]
    pub fn uid(mut self, uid: impl Into<String>) -> Self {
        self.uid = Some(uid.into());
        self
    }

    /// With one label more.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Display) -> Self {
        self.labels.push((key.into(), value.to_string()));
        self
    }

    /// With a container whose TCP port has a name.
    #[must_use]
    pub fn named_port(mut self, name: &'static str, port: u16) -> Self {
        self.port = Some((name, port));
        self
    }

    /// With one address more.
    #[must_use]
    pub fn address(mut self, address: impl Into<IpAddr>) -> Self {
        self.addresses.push(address.into());
        self
    }
}

impl Display for Pod {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { namespace, name, node, uid, port, addresses, .. } = self;
        let uid = uid.as_ref().map_or_else(String::new, |uid| format!("uid: {uid}, "));
        let labels = labels(&self.labels);
        writeln!(f, "---\napiVersion: v1\nkind: Pod")?;
        writeln!(f, "metadata: {{name: {name}, namespace: {namespace}, {uid}labels: {{{labels}}}}}")?;
        write!(f, "spec: {{nodeName: {node}")?;
        if let Some((name, port)) = port {
            let ports = format!("[{{name: {name}, containerPort: {port}}}]");
            write!(f, ", containers: [{{name: main, image: example.org/main, ports: {ports}}}]")?;
        }
        write!(f, "}}\nstatus: {{phase: Running")?;
        if let Some(first) = addresses.first() {
            let all = list(addresses, |address| format!("{{ip: {}}}", scalar(address)));
            write!(f, ", podIP: {}, podIPs: [{all}]", scalar(first))?;
        }
        writeln!(f, "}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy_compiler::parse;

    #[test]
    fn manifests_are_readable_one_after_the_other_without_complaint() {
        let node = Node::new("a")
            .pod_cidr("10.244.1.0/24")
            .pod_cidr("fd00:244::/64")
            .vtep([192, 0, 2, 1], Mac([2, 0, 0, 0, 0, 1]))
            .vtep([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], Mac([2, 0, 0, 0, 0, 2]));
        let pod = Pod::new("shop", "web", "a").uid("u").label("app", "web").named_port("http", 8080);
        let pod = pod.address([10, 244, 1, 2]).address([0xfd00, 0x244, 0, 0, 0, 0, 0, 2]);
        let bare = [Node::new("b").to_string(), Pod::new("shop", "pending", "b").to_string()].concat();
        let text = format!("{}{node}{pod}{bare}", Namespace::new("shop").label("team", 7));
        let parsed = parse("manifests.yaml", &text);
        assert_eq!(parsed.diagnostics, [], "{text}");
        assert_eq!(parsed.objects.len(), 5);
    }

    #[test]
    fn values_that_yaml_takes_for_something_else_are_quoted() {
        for plain in ["web", "10.244.1.2", "10.244.1.0/24", "a-b_c.d", "kube-dns"] {
            assert_eq!(scalar(plain), plain);
        }
        for other in ["7", "1e3", "0x1f", "true", "No", "null", "fd00::1", "", "-", ".5", "a b", "inf"] {
            assert_eq!(scalar(other), format!("{other:?}"));
        }
    }
}
