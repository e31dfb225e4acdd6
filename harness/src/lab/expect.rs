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
use super::scenario::{Place, Probe, Service};

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
    pub fn judge(&self, probe: &Probe, src: (&Place, IpAddr), dst: (&Place, IpAddr)) -> Expected {
        let denial = self
            .verdict(Direction::Egress, src.0, probe.service, src.1, dst.1)
            .or_else(|| self.verdict(Direction::Ingress, dst.0, probe.service, src.1, dst.1));
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
