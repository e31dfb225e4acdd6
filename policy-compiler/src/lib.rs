//! From Kubernetes objects to a flat packet classifier.
//!
//! ```text
//!  YAML ─► api objects ─► semantics (model) ─► lower ─────────────► classifier ─► generation n ─► workers
//!          located errors  reference.rs        identities, port      flat.rs
//!                          (the oracle)        classes, rows, cells  linear.rs (the oracle engine)
//! ```
//!
//! * [`api`] reads manifests as `kubectl get -o yaml` prints them, and keeps file, line and field of every rule.
//! * [`model`] is the one shape every policy language becomes: ordered tiers, ordered policies, rules.
//! * [`semantics`] turns objects into the model; its `reference` walks the model slowly and obviously.
//! * [`cluster`] derives who is who: live pods, nodes, addresses, conflicts.
//! * `lower` groups addresses into identities and ports into port classes, and pods into rows of equal rules.
//! * [`classifier`] answers packets: constant time, whatever the number of rules.
//! * [`ruleset`] is the other input: general rules over both addresses, ports and protocol, first match wins.
//! * [`compiler`] holds the objects and drives the above: one [`Compiled`] result per call.
//! * [`query`] answers people and scripts from the classifier: eval, explain, matrix, lint, diff, dump.
//!
//! Out of scope: files, watching, sockets. This crate does no I/O. Its only unsafe code is `classifier::arch`, vector
//! instructions of the general engine. A [`Compiled`] result
//! is immutable and may be shared between threads; the [`Compiler`] belongs to one.
//!
//! ```
//! use policy_compiler::{Compiler, Options, Scope, parse};
//!
//! let parsed = parse("pods.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {nodeName: a}\n\
//!                                  status: {phase: Running, podIPs: [{ip: 10.42.0.5}]}\n");
//! let mut compiler = Compiler::new(Options::default());
//! for object in parsed.objects {
//!     compiler.upsert(object);
//! }
//! let Ok(compiled) = compiler.compile(&Scope::All) else { panic!("the pod is valid") };
//! assert_eq!(compiled.cluster.subjects.len(), 1);
//! ```

// Imports point down this list.
pub mod query;

pub mod compiler;

mod lower;

pub mod semantics;

pub mod classifier;

pub mod cluster;

pub mod ruleset;

pub mod model;

pub mod api;

pub use api::{Diagnostic, Kind, Object, ObjectKey, Origin, ParseOutput, Provenance, Severity, parse};
pub use classifier::{
    Answer, Classifier, Key, Pair, PairBurst, PairVerdict, Place, RuleId, RuleInfo, RuleKind, RuleTable,
    Step, Verdict,
};
pub use cluster::{
    ByAddress, Cluster, Misplacement, NodeView, PodName, Shelves, Subject, SubjectId, WaitReason, Waiting,
};
pub use compiler::{Compiled, Compiler, Engine, OnInvalid, OnTooLarge, Options, Scope};
pub use model::{Action, Direction, PolicyName};
