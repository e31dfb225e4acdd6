//! Manifests: read, upserted and compiled in both modes.
//!
//! No panic, memory within the ceiling; problems lie within the text; what was read without an error compiles; in
//! isolate mode everything compiles that fits.

use policy_compiler::{Compiler, Diagnostic, Engine, Kind, OnInvalid, Options, Scope, parse};

const CEILING: usize = 16 << 20;

/// One input.
pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let parsed = parse("fuzzed.yaml", text);
    let lines = text.split(['\n', '\r']).count();
    for diagnostic in &parsed.diagnostics {
        assert!(!diagnostic.to_string().is_empty());
        assert!(diagnostic.origin.line as usize <= lines, "{diagnostic} beyond {lines} lines");
    }
    let sound = !parsed.diagnostics.iter().any(Diagnostic::is_error);
    for on_invalid in [OnInvalid::Refuse, OnInvalid::Isolate] {
        let options = Options { on_invalid, memory_ceiling: CEILING, ..Options::default() };
        let mut compiler = Compiler::new(options);
        for object in &parsed.objects {
            compiler.upsert(object.clone());
        }
        for engine in Engine::ALL {
            match compiler.compile_with(&Scope::All, engine) {
                Ok(compiled) => {
                    let bytes = compiled.classifier.memory_bytes();
                    assert!(engine == Engine::Linear || bytes <= CEILING, "{bytes} bytes");
                }
                Err(problems) => {
                    assert!(!problems.is_empty(), "refused without a reason");
                    let refusable = |problem: &Diagnostic| match on_invalid {
                        OnInvalid::Refuse => !sound || is_conflict(problem) || is_too_large(problem),
                        OnInvalid::Isolate => is_too_large(problem),
                    };
                    for problem in &problems {
                        assert!(refusable(problem), "{on_invalid:?}: {problem}");
                    }
                }
            }
        }
    }
}

/// Two live pods with one address, a pod with an address it cannot have, nodes that contradict each other: each is well
/// formed.
fn is_conflict(problem: &Diagnostic) -> bool {
    problem.field == "status.podIPs"
        || problem.object.as_ref().is_some_and(|object| object.kind == Kind::Node)
}

fn is_too_large(problem: &Diagnostic) -> bool {
    problem.object.is_none() && problem.origin.line == 0
}
