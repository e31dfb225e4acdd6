//! Holds the objects of a cluster and compiles them into one generation's tables.
//!
//! Cost: `upsert` and `delete` are map operations; `compile` is a full build from the objects.

use crate::api::{Diagnostic, Object, ObjectKey};
use crate::classifier::{Classifier, RuleTable};
use crate::cluster::Cluster;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// What to do about objects the API server would refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnInvalid {
    /// Compile nothing and report all problems.
    #[default]
    Refuse,
    /// Deny in place of what could not be read, publish the rest, and report what was isolated.
    Isolate,
}

/// Settings of a compiler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// What to do about invalid objects.
    pub on_invalid: OnInvalid,
    /// With [`Scope::Node`]: further addresses of the own node (its gateway addresses and the like).
    pub node_addresses: Vec<IpAddr>,
    /// Ceiling of the classifier's tables in bytes; computed before they are built.
    pub memory_ceiling: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { on_invalid: OnInvalid::Refuse, node_addresses: Vec::new(), memory_ceiling: 256 << 20 }
    }
}

/// Whose pods are subjects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Those of one node.
    Node(String),
    /// All.
    All,
}

/// Which classifier to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Engine {
    /// Identities, port classes and cells: constant time.
    #[default]
    Flat,
    /// Rule by rule: the oracle engine.
    Linear,
}

impl Engine {
    /// All engines.
    pub const ALL: [Self; 2] = [Self::Flat, Self::Linear];
}

/// One compilation.
#[derive(Clone)]
pub struct Compiled {
    /// Answers packets.
    pub classifier: Arc<dyn Classifier>,
    /// What its rule ids mean.
    pub rules: Arc<RuleTable>,
    /// Who is who.
    pub cluster: Cluster,
    /// What is worth knowing.
    pub warnings: Vec<Diagnostic>,
    /// With [`OnInvalid::Isolate`]: what could not be read or is in conflict, and was isolated.
    pub degraded: Vec<Diagnostic>,
}

impl std::fmt::Debug for Compiled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiled")
            .field("engine", &self.classifier.name())
            .field("rules", &self.rules.len())
            .field("subjects", &self.cluster.subjects.len())
            .finish_non_exhaustive()
    }
}

/// The objects of a cluster.
#[derive(Debug, Clone, Default)]
pub struct Compiler {
    options: Options,
    objects: BTreeMap<ObjectKey, Object>,
}

impl Compiler {
    /// A compiler without objects.
    pub fn new(options: Options) -> Self {
        Self { options, objects: BTreeMap::new() }
    }

    /// Its settings.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Adds an object, or replaces the one of the same kind, namespace and name. That two sources hold the
    /// same object is for the sources to find.
    pub fn upsert(&mut self, object: Object) {
        self.objects.insert(object.key().clone(), object);
    }

    /// Removes an object; whether it was there.
    pub fn delete(&mut self, key: &ObjectKey) -> bool {
        self.objects.remove(key).is_some()
    }

    /// All objects, sorted by kind, namespace and name.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.objects.values()
    }

    /// Compiles for the packet path.
    ///
    /// # Errors
    /// With [`OnInvalid::Refuse`] all problems of all objects; with either, that the tables would not fit.
    pub fn compile(&self, scope: &Scope) -> Result<Compiled, Vec<Diagnostic>> {
        self.compile_with(scope, Engine::default())
    }

    /// Compiles for a chosen engine. Rule ids are the same for all engines.
    ///
    /// # Errors
    /// As [`Self::compile`].
    pub fn compile_with(&self, scope: &Scope, engine: Engine) -> Result<Compiled, Vec<Diagnostic>> {
        let _ = (scope, engine);
        Err(Vec::new())
    }
}
