//! What a lab should show: the verdicts of the compiled policies, for those nodes that enforce any.
//!
//! A connection between pods is judged twice: egress where its source is, ingress where its destination is.
//! A node of plain Linux judges nothing. The answers come from the compiler, over the very files that the
//! nodes read; what the lab observes comes from the kernels at both ends.

use std::net::IpAddr;

use policy_compiler::{
    Action, Compiled, Compiler, Direction, Key, Options, Scope, Severity, SubjectId, parse,
};

use super::LabError;
use super::cluster_state::ClusterState;
use super::plan::Side;
use super::scenario::{Place, Service};

/// Compiles the state as it is now. Files are known by their names alone, so that what is said of them does not
/// depend on where they are.
///
/// # Errors
/// The state is not valid.
pub fn compile(state: &ClusterState, options: Options, scope: &Scope) -> Result<Compiled, LabError> {
    let mut compiler = Compiler::new(options);
    let mut problems = Vec::new();
    for (name, text) in state.files()? {
        let parsed = parse(&name, &text);
        problems.extend(parsed.diagnostics.into_iter().filter(|found| found.severity == Severity::Error));
        for object in parsed.objects {
            compiler.upsert(object);
        }
    }
    let compiled = if problems.is_empty() { compiler.compile(scope) } else { Err(problems) };
    compiled.map_err(|problems| LabError::State(problems.iter().map(ToString::to_string).collect()))
}

/// Judges probes.
#[derive(Debug)]
pub struct Expectation {
    compiled: Option<Compiled>,
    enforces: [bool; 2],
}

/// A judgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Whether the probe should succeed.
    pub open: bool,
    /// What denies it.
    pub denied_by: Option<String>,
}

impl Expectation {
    /// Of the state as it is now, with these nodes enforcing it.
    ///
    /// # Errors
    /// The state is not valid.
    pub fn of(state: &ClusterState, enforces: [bool; 2]) -> Result<Self, LabError> {
        if enforces == [false; 2] {
            return Ok(Self { compiled: None, enforces });
        }
        let compiled = compile(state, Options::default(), &Scope::All)?;
        Ok(Self { compiled: Some(compiled), enforces })
    }

    /// What should become of a probe from `src` to `dst`, with the addresses it carries.
    pub fn judge(&self, service: Service, src: (&Place, IpAddr), dst: (&Place, IpAddr)) -> Expected {
        let denial = self
            .verdict(Direction::Egress, src.0, service, src.1, dst.1)
            .or_else(|| self.verdict(Direction::Ingress, dst.0, service, src.1, dst.1));
        Expected { open: denial.is_none(), denied_by: denial }
    }

    /// What denies the connection at one pod, if anything.
    fn verdict(
        &self,
        direction: Direction,
        place: &Place,
        service: Service,
        src: IpAddr,
        dst: IpAddr,
    ) -> Option<String> {
        let compiled = self.compiled.as_ref()?;
        let Place::Pod { name, side } = place else { return None };
        let [a, b] = self.enforces;
        if !(if *side == Side::A { a } else { b }) {
            return None;
        }
        let subject =
            compiled.cluster.subjects.iter().position(|subject| subject.name.to_string() == *name)?;
        let (protocol, src_port, dst_port) = service.key(dst.is_ipv6());
        let subject = SubjectId(u32::try_from(subject).ok()?);
        let verdict =
            compiled.classifier.classify(&Key { subject, direction, src, dst, protocol, src_port, dst_port });
        (verdict.action == Action::Deny)
            .then(|| format!("{direction} of {name}: {}", compiled.rules.get(verdict.rule).kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::cluster_state::POLICIES;
    use crate::lab::plan::{Family, OUTSIDE, default_pods};

    /// The ends of the demonstration without a lab, and the connections among them that are open.
    fn open(enforces: [bool; 2], family: Family) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let pods = default_pods();
        let state = ClusterState::create(directory.path(), &pods, &POLICIES).unwrap();
        let expectation = Expectation::of(&state, enforces).unwrap_or_else(|error| panic!("{error}"));
        let mut ends: Vec<(String, Place, IpAddr)> = pods
            .iter()
            .map(|pod| {
                (pod.full_name(), Place::Pod { name: pod.full_name(), side: pod.side }, pod.address(family))
            })
            .collect();
        ends.extend(OUTSIDE.iter().map(|host| (host.name.to_owned(), Place::Outside, host.address(family))));
        for side in Side::ALL {
            let gateway = match family {
                Family::V4 => side.pod_v4(1).into(),
                Family::V6 => side.pod_v6(1).into(),
            };
            ends.push((side.name().to_owned(), Place::Node(side), gateway));
        }
        let mut lines = Vec::new();
        for (src, from, src_address) in &ends {
            for (dst, to, dst_address) in &ends {
                // Of a node's own traffic only that to its own pods is looked at.
                let kubelet =
                    matches!((from, to), (Place::Node(node), Place::Pod { side, .. }) if node == side);
                let pods = !matches!(from, Place::Node(_)) && !matches!(to, Place::Node(_));
                if src == dst || !(kubelet || pods) || !(src.starts_with("shop/") || dst.starts_with("shop/"))
                {
                    continue;
                }
                let services: Vec<String> = Service::ALL
                    .into_iter()
                    .filter(|&service| {
                        expectation.judge(service, (from, *src_address), (to, *dst_address)).open
                    })
                    .map(|service| service.to_string())
                    .collect();
                if !services.is_empty() {
                    lines.push(format!("{src} -> {dst}: {}", services.join(", ")));
                }
            }
        }
        lines
    }

    /// Written by hand from the policies, not by the compiler that it is compared with.
    #[test]
    fn with_both_nodes_enforcing_the_shop_is_open_as_its_policies_say_and_no_further() {
        let expected = [
            "shop/frontend -> shop/backend-2: TCP 8080",
            "shop/frontend -> shop/backend: TCP 8080",
            "shop/frontend -> kube-system/dns: UDP 53",
            "shop/frontend -> outside: TCP 8080",
            "shop/backend-2 -> kube-system/dns: UDP 53",
            "shop/backend -> kube-system/dns: UDP 53",
            "shop/frontend-2 -> shop/backend-2: TCP 8080",
            "shop/frontend-2 -> shop/backend: TCP 8080",
            "shop/frontend-2 -> kube-system/dns: UDP 53",
            "shop/frontend-2 -> outside: TCP 8080",
            "outside -> shop/frontend: TCP 8080",
            "outside -> shop/frontend-2: TCP 8080",
            "node-a -> shop/frontend: TCP 8080, TCP 9090, UDP 53, ping",
            "node-a -> shop/backend-2: TCP 8080, TCP 9090, UDP 53, ping",
            "node-b -> shop/backend: TCP 8080, TCP 9090, UDP 53, ping",
            "node-b -> shop/frontend-2: TCP 8080, TCP 9090, UDP 53, ping",
        ];
        for family in Family::ALL {
            assert_eq!(open([true; 2], family), expected, "{family:?}");
        }
    }

    #[test]
    fn a_plain_linux_peer_leaves_open_what_only_it_could_close() {
        let all = "TCP 8080, TCP 9090, UDP 53, ping";
        for family in Family::ALL {
            let open = open([true, false], family);
            for line in [
                // Within node B nobody judges; towards B only A's egress is judged, from B only A's ingress.
                format!("shop/backend -> shop/frontend-2: {all}"),
                format!("default/intruder -> shop/backend: {all}"),
                "shop/frontend -> shop/backend: TCP 8080".to_owned(),
                "shop/frontend-2 -> shop/backend-2: TCP 8080".to_owned(),
            ] {
                assert!(open.contains(&line), "{line} in {open:#?}");
            }
            assert!(
                !open.iter().any(|line| line.starts_with("default/intruder-2 -> shop/backend-2")),
                "{open:#?}"
            );
        }
    }
}
