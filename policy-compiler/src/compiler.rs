//! Holds the objects of a cluster and compiles them into one generation's tables.
//!
//! Cost: `upsert` and `delete` are map operations; the first `compile` is a full build from the objects, later ones of the
//! same scope cost what changed, where that is pods and policies (see `incremental`). A [`Compiled`] never changes: the
//! next one shares the pieces that stayed the same.

mod fit;
mod incremental;
mod problems;

use crate::api::{Diagnostic, Kind, Object, ObjectKey, Origin, Severity};
use crate::classifier::{Classifier, RuleTable};
use crate::cluster::{Cluster, CutOff, View};
use crate::lower;
use crate::model::Model;
use crate::semantics::{self, Context, reference::Reference};
use incremental::{Changes, State, is_policy};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What to do about objects the API server would refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnInvalid {
    /// Compile nothing and report all problems.
    #[default]
    Refuse,
    /// Deny in place of what could not be read, publish the rest, and report what was isolated.
    Isolate,
}

/// What to do where the objects are sound and their tables would not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnTooLarge {
    /// Compile nothing and say what is too large.
    #[default]
    Refuse,
    /// Deny in place of the policies without which the rest fits, publish the rest, and report what was isolated.
    Isolate,
}

/// Settings of a compiler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// What to do about invalid objects.
    pub on_invalid: OnInvalid,
    /// What to do where not everything fits the ceiling.
    pub on_too_large: OnTooLarge,
    /// With [`Scope::Node`]: further addresses of the own node (its gateway addresses and the like).
    pub node_addresses: Vec<IpAddr>,
    /// Ceiling of the classifier's tables in bytes, and of what is kept beside them to change them. Held before each
    /// part is built or while it grows; the work of a compilation is bounded in proportion.
    pub memory_ceiling: usize,
    /// Judge as if staged policies were in force: to see beforehand what they would do.
    pub staged: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            on_invalid: OnInvalid::Refuse,
            on_too_large: OnTooLarge::Refuse,
            node_addresses: Vec::new(),
            memory_ceiling: 256 << 20,
            staged: false,
        }
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
    /// What was isolated: with [`OnInvalid::Isolate`] what could not be read or is in conflict, with
    /// [`OnTooLarge::Isolate`] what did not fit.
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
#[derive(Debug, Default)]
pub struct Compiler {
    options: Options,
    objects: BTreeMap<ObjectKey, Object>,
    last: Mutex<Last>,
}

/// The last compilation and what changed since.
#[derive(Debug, Default)]
struct Last {
    state: Option<State>,
    changes: Changes,
    full_builds: u64,
    /// Policies that were isolated for their size, and have not changed since.
    too_large: BTreeSet<ObjectKey>,
    /// Since the last compilation that led to something: what changed, and what was isolated then. None before the first.
    fresh: Option<BTreeSet<ObjectKey>>,
}

impl Clone for Compiler {
    /// The copy's first compilation is a full build.
    fn clone(&self) -> Self {
        Self { options: self.options.clone(), objects: self.objects.clone(), last: Mutex::default() }
    }
}

impl Compiler {
    /// A compiler without objects.
    pub fn new(options: Options) -> Self {
        Self { options, objects: BTreeMap::new(), last: Mutex::default() }
    }

    /// Its settings.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Adds an object, or replaces the one of the same kind, namespace and name. That two sources hold the
    /// same object is for the sources to find.
    pub fn upsert(&mut self, object: Object) {
        let key = object.key().clone();
        let before = self.objects.insert(key.clone(), object);
        self.note_change(key, before);
    }

    /// Removes an object; whether it was there.
    pub fn delete(&mut self, key: &ObjectKey) -> bool {
        let before = self.objects.remove(key);
        let known = before.is_some();
        if known {
            self.note_change(key.clone(), before);
        }
        known
    }

    fn note_change(&mut self, key: ObjectKey, before: Option<Object>) {
        let last = self.last.get_mut().unwrap_or_else(PoisonError::into_inner);
        last.too_large.remove(&key);
        if let Some(fresh) = &mut last.fresh {
            fresh.insert(key.clone());
        }
        if last.state.is_some() {
            // What counts is how it was when last compiled.
            last.changes.entry(key).or_insert(before);
        }
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many compilations built everything, rather than change what the one before had built.
    pub fn full_builds(&self) -> u64 {
        self.last().full_builds
    }

    /// All objects, sorted by kind, namespace and name.
    pub fn objects(&self) -> impl Iterator<Item = &Object> + Clone {
        self.objects.values()
    }

    /// Compiles for the packet path.
    ///
    /// # Errors
    /// With [`OnInvalid::Refuse`] all problems of all objects; with either, that no object knows the scope's node, or
    /// that the tables would not fit: with [`OnTooLarge::Isolate`] only if no policy is to blame.
    pub fn compile(&self, scope: &Scope) -> Result<Compiled, Vec<Diagnostic>> {
        self.compile_with(scope, Engine::default())
    }

    /// Compiles for a chosen engine. Each numbers the rules in its own way.
    ///
    /// # Errors
    /// As [`Self::compile`].
    pub fn compile_with(&self, scope: &Scope, engine: Engine) -> Result<Compiled, Vec<Diagnostic>> {
        let mut last = self.last();
        let changes = std::mem::take(&mut last.changes);
        if engine == Engine::Flat
            && let Some(state) = last.state.take()
            && let Some((state, compiled)) = state.apply(&self.objects, &changes, (scope, &self.options))
        {
            last.state = Some(state);
            last.fresh = Some(last.too_large.clone());
            return Ok(compiled);
        }
        last.state = None;
        // Not asked about plain changes: a node that no Node object names is always a full build.
        if let Scope::Node(name) = scope
            && let Some(problem) = problems::unknown_node(&self.objects, name)
        {
            return Err(vec![problem]);
        }
        last.full_builds += 1;
        let view = self.view(scope);
        let context = self.context();
        let mut conflicts: Vec<Diagnostic> =
            view.cut_offs.iter().filter_map(|cut_off| self.conflict(cut_off)).collect();
        conflicts
            .extend(view.cut_offs.iter().filter_map(|cut_off| problems::misplaced(&self.objects, cut_off)));
        conflicts.extend(view.contradictions.iter().cloned());
        let mut errors: Vec<Diagnostic> =
            self.problems().filter(|problem| problem.is_error()).cloned().collect();
        let (of_context, doubts): (Vec<_>, Vec<_>) =
            semantics::problems(self.objects(), &context).into_iter().partition(Diagnostic::is_error);
        errors.extend(of_context);
        errors.extend(conflicts.iter().cloned());
        errors.sort_by(|a, b| a.origin.cmp(&b.origin));
        if self.options.on_invalid == OnInvalid::Refuse && !errors.is_empty() {
            return Err(errors);
        }
        if engine == Engine::Flat {
            let (state, too_large) = self.fit(scope, view, &context, &conflicts, last.fresh.as_ref())?;
            last.fresh = Some(too_large.clone());
            last.too_large = too_large;
            return Ok(last.state.insert(state).compiled());
        }
        // Of another engine's size nobody knows: what the last flat compilation isolated is isolated.
        let model = semantics::model(self.objects(), &context, &last.too_large);
        let (classifier, rules) = lower::linear(&view, &model);
        let warnings = self.problems().filter(|problem| !problem.is_error()).cloned().chain(doubts).collect();
        Ok(Compiled { classifier, rules: Arc::new(rules), cluster: view.cluster, warnings, degraded: errors })
    }

    /// A full build, with policies isolated where not all of them fit; which these are.
    ///
    /// Blame: what has been in force and has not changed is isolated only where nothing else helps, so that nobody can push
    /// another's policies out; then who says most comes first.
    fn fit(
        &self,
        scope: &Scope,
        view: View<'_>,
        context: &Context<'_>,
        conflicts: &[Diagnostic],
        fresh: Option<&BTreeSet<ObjectKey>>,
    ) -> Result<(State, BTreeSet<ObjectKey>), Vec<Diagnostic>> {
        let mut first = Some(view);
        let mut build = |too_large: &BTreeSet<ObjectKey>| {
            let mut view = first.take().unwrap_or_else(|| self.view(scope));
            let model = semantics::model(self.objects(), context, too_large);
            let settings = (scope, &self.options);
            State::new(self.objects(), &mut view, &model, context, settings, conflicts.to_vec())
        };
        let reason = match build(&BTreeSet::new()) {
            Ok(state) => return Ok((state, BTreeSet::new())),
            Err(reason) => reason,
        };
        let ceiling = self.options.memory_ceiling;
        if self.options.on_too_large == OnTooLarge::Refuse {
            return Err(vec![problems::too_large(reason, ceiling)]);
        }
        let policies = self.objects().filter(|object| is_policy(Some(object)));
        let mut order: Vec<(bool, Reverse<usize>, &ObjectKey)> = policies
            .map(|object| {
                let key = object.key();
                let in_force = fresh.is_some_and(|fresh| !fresh.contains(key));
                (in_force, Reverse(semantics::weight(object, context)), key)
            })
            .collect();
        order.sort_unstable();
        let order: Vec<ObjectKey> = order.into_iter().map(|(.., key)| key.clone()).collect();
        let found = fit::search(&order, |too_large| build(too_large).ok());
        let (mut state, too_large) = found.ok_or_else(|| vec![problems::too_large(reason, ceiling)])?;
        let isolated = too_large.iter().filter_map(|key| self.objects.get(key));
        state.isolate(isolated.map(|object| problems::isolated(object, reason, ceiling)));
        Ok((state, too_large))
    }

    /// The policies of the objects as the model has them, what could not be read included, and what the last compilation
    /// isolated for its size.
    pub fn model(&self) -> Model {
        semantics::model(self.objects(), &self.context(), &self.last().too_large)
    }

    fn context(&self) -> Context<'_> {
        Context::new(self.objects(), self.options.staged)
    }

    /// Who is who, without compiling policies.
    pub fn cluster(&self, scope: &Scope) -> Cluster {
        self.view(scope).cluster
    }

    /// The slow evaluator over the same objects. `cluster` is [`Self::cluster`] or [`Compiled::cluster`] of the
    /// same scope.
    pub fn reference<'o>(&'o self, scope: &Scope, cluster: &'o Cluster) -> Reference<'o> {
        let node = match scope {
            Scope::Node(name) => Some((name.as_str(), &self.options.node_addresses[..])),
            Scope::All => None,
        };
        Reference::new(self.objects(), self.model(), cluster, node)
    }

    fn view<'o>(&'o self, scope: &'o Scope) -> View<'o> {
        match scope {
            Scope::Node(name) => View::new(self.objects(), Some(name), &self.options.node_addresses),
            Scope::All => View::new(self.objects(), None, &[]),
        }
    }

    fn problems(&self) -> impl Iterator<Item = &Diagnostic> {
        self.objects().flat_map(Object::diagnostics)
    }

    /// The diagnostic of an address conflict; what could not be read has its own already.
    fn conflict(&self, cut_off: &CutOff) -> Option<Diagnostic> {
        let CutOff::Conflict { address, pods } = cut_off else { return None };
        let places: Vec<(ObjectKey, Origin)> = pods
            .iter()
            .filter_map(|pod| {
                let (namespace, name) = (pod.namespace.clone(), pod.name.clone());
                let object = self.objects.get(&ObjectKey { kind: Kind::Pod, namespace, name })?;
                Some((object.key().clone(), object.origin().clone()))
            })
            .collect();
        let (object, origin) = places.last().cloned()?;
        let others: Vec<String> = places
            .iter()
            .filter(|(key, _)| *key != object)
            .map(|(key, origin)| format!("{key} ({origin})"))
            .collect();
        Some(Diagnostic {
            severity: Severity::Error,
            origin,
            object: Some(object),
            field: "status.podIPs".to_owned(),
            message: format!("{address} is also the address of {}", others.join(", ")),
            expected: Some("an address that no other live pod shows".to_owned()),
            help: None,
        })
    }
}

#[cfg(test)]
mod tests;
