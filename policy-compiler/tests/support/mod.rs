//! What the integration tests share: loading manifests and asking every engine the same question.

#[allow(dead_code)]
pub(crate) mod calico_oracle;
#[allow(dead_code)]
pub(crate) mod corners;
#[allow(dead_code)]
pub(crate) mod generate;
#[allow(dead_code)]
pub(crate) mod generate_calico;
#[allow(dead_code)]
pub(crate) mod generate_cilium;
#[allow(dead_code)]
pub(crate) mod generate_cluster_policy;
#[allow(dead_code)]
pub(crate) mod generate_mixed;
#[allow(dead_code)]
pub(crate) mod probes;

use policy_compiler::semantics::reference::Reference;
use policy_compiler::{
    Action, Compiled, Compiler, Direction, Engine, Key, Options, RuleInfo, Scope, SubjectId, parse,
};
use std::net::IpAddr;

#[allow(dead_code)]
/// A compiler filled from texts; panics on error diagnostics unless `lenient`.
pub(crate) fn compiler(options: Options, texts: &[(&str, &str)], lenient: bool) -> Compiler {
    let mut compiler = Compiler::new(options);
    for (file, text) in texts {
        let parsed = parse(file, text);
        for diagnostic in &parsed.diagnostics {
            assert!(lenient || !diagnostic.is_error(), "{diagnostic}\n{text}");
        }
        for object in parsed.objects {
            compiler.upsert(object);
        }
    }
    compiler
}

/// All engines over one set of objects.
pub(crate) struct Engines<'o> {
    pub(crate) compiled: Vec<Compiled>,
    pub(crate) reference: Reference<'o>,
}

#[allow(dead_code)]
impl<'o> Engines<'o> {
    pub(crate) fn new(compiler: &'o Compiler, scope: &Scope, cluster: &'o policy_compiler::Cluster) -> Self {
        let compile = |engine| match compiler.compile_with(scope, engine) {
            Ok(compiled) => compiled,
            Err(errors) => panic!("{errors:?}"),
        };
        Self { compiled: Engine::ALL.map(compile).into(), reference: compiler.reference(scope, cluster) }
    }

    /// The verdict all agree on, with its reason and what was on the way to it.
    pub(crate) fn judge(&self, key: &Key) -> RuleInfo {
        let expected = self.reference.judge(key);
        for compiled in &self.compiled {
            let name = compiled.classifier.name();
            let verdict = compiled.classifier.classify(key);
            let info = compiled.rules.get(verdict.rule);
            assert_eq!(
                (info.action, &info.kind, &info.via),
                (expected.action, &expected.kind, &expected.via),
                "{name} against reference on {key:?}"
            );
            assert_eq!(info.action, verdict.action, "{name}: the rule says what the verdict says");
        }
        expected
    }
}

/// One end of a probe.
#[allow(dead_code)]
pub(crate) enum End {
    Pod(SubjectId, Vec<IpAddr>),
    Outside(IpAddr),
}

#[allow(dead_code)]
/// Both directions of a connection; deny if either end denies.
pub(crate) fn connect(
    engines: &Engines<'_>,
    ends: (&End, &End),
    protocol: u8,
    port: u16,
    family: Option<u8>,
) -> Action {
    let addresses = |end: &End| match end {
        End::Pod(_, addresses) => addresses.clone(),
        End::Outside(address) => vec![*address],
    };
    let wanted = |address: &IpAddr| family.is_none_or(|family| address.is_ipv6() == (family == 6));
    let (sources, destinations) = (addresses(ends.0), addresses(ends.1));
    let pair = sources.iter().filter(|address| wanted(address)).find_map(|src| {
        destinations.iter().find(|dst| dst.is_ipv6() == src.is_ipv6()).map(|dst| (*src, *dst))
    });
    let Some((src, dst)) = pair else { panic!("no family both ends have") };
    let ask = |end: &End, direction| match end {
        End::Outside(_) => Action::Allow,
        End::Pod(subject, _) => {
            let key =
                Key { subject: *subject, direction, src, dst, protocol, src_port: 49152, dst_port: port };
            engines.judge(&key).action
        }
    };
    if ask(ends.0, Direction::Egress) == Action::Allow {
        return ask(ends.1, Direction::Ingress);
    }
    Action::Deny
}
