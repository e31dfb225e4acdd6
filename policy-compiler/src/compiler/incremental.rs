//! From one compilation to the next without building everything anew.
//!
//! What changed since the last one is known object by object. A change of a pod that is its own affair, and of a policy, is
//! made in the tables there are; other objects may change in what no policy sees, and namespaces and service accounts that
//! nothing depends on may come and go. Everything else (nodes, namespaces with pods, tiers, network sets, unreadable pods,
//! two pods with one address) is a full build: rare, and the same result. When in doubt it is a full build: this file
//! only ever says that a change is plain. Where policies are isolated for their size, whatever may make room for them is a
//! full build too: they change, another policy says less, or much has changed.
//!
//! Cost of a plain change of a pod: what it touches, and a copy of the pieces of tables that it lies in. A change of
//! policies reads the tiers and the settings of all objects besides, and tries its selectors on the looks of the
//! namespaces they are about; the list of all that is wrong is written anew each time. Work that grows beyond that is
//! bounded (see `lower::budget`): what would take more is a full build as well.

mod plain;
mod pods;

pub(super) use plain::is_policy;

use super::{Compiled, Options, Scope};
use crate::api::{Diagnostic, Kind, Object, ObjectKey};
use crate::classifier::RuleTable;
use crate::cluster::{Cluster, NodeView, Places, PodName, View, pod_name, wait_reason};
use crate::lower::{PodNumber, Refused, Session, TooLarge};
use crate::model::Model;
use crate::semantics::tiers::Tiers;
use crate::semantics::{self, Context};
use ahash::{AHashMap, AHashSet};
use plain::{has_network_sets, pod, same_node, says_the_same};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Changes at once of which one in so many objects is too many for this way.
const SHARE_OF_OBJECTS: usize = 16;

/// Objects as they were when last compiled; none where there was none.
pub(super) type Changes = BTreeMap<ObjectKey, Option<Object>>;

/// The last compilation, ready to be changed.
#[derive(Debug)]
pub(super) struct State {
    scope: Scope,
    options: Options,
    session: Session,
    rules: Arc<RuleTable>,
    cluster: Cluster,
    /// Live pods that nothing is wrong with.
    plain: AHashMap<PodName, PodNumber>,
    /// The same the other way round.
    names: AHashMap<PodNumber, PodName>,
    /// What addresses of pods are held against.
    places: Places,
    /// Addresses of pods on the host network: a node's, unless a pod has one for its own.
    host_pods: AHashSet<IpAddr>,
    /// Namespaces of live pods, with how many.
    namespaces: AHashMap<String, usize>,
    circumstances: Circumstances,
    /// Objects about which something is to be said.
    diagnostics: BTreeMap<ObjectKey, Vec<Diagnostic>>,
    problems: BTreeMap<ObjectKey, Vec<Diagnostic>>,
    /// Other errors of the full build; no plain change touches what they are about.
    conflicts: Vec<Diagnostic>,
    /// Policies that are isolated for their size, and why.
    isolated: BTreeMap<ObjectKey, Diagnostic>,
    /// Objects that changed since the full build.
    changed: usize,
}

/// What policies of other languages depend on beside themselves.
#[derive(Debug, PartialEq)]
struct Circumstances {
    tiers: Tiers,
    calico: Option<ObjectKey>,
    cilium: Option<ObjectKey>,
    /// What staged policies replace.
    hidden: BTreeSet<ObjectKey>,
}

impl Circumstances {
    fn new(context: &Context<'_>) -> Self {
        Self {
            tiers: context.tiers.clone(),
            calico: context.calico.cloned(),
            cilium: context.cilium.cloned(),
            hidden: context.hidden.clone(),
        }
    }
}

impl State {
    /// A full build. The view's cluster is taken; `conflicts` are errors that are no single object's.
    pub(super) fn new<'o>(
        objects: impl Iterator<Item = &'o Object>,
        view: &mut View<'_>,
        model: &Model,
        context: &Context<'_>,
        (scope, options): (&Scope, &Options),
        conflicts: Vec<Diagnostic>,
    ) -> Result<Self, TooLarge> {
        let mut session = Session::new(view, model, options.memory_ceiling)?;
        let plain: AHashMap<PodName, PodNumber> = view
            .pods
            .iter()
            .enumerate()
            .filter(|(_, live)| live.cut_off.is_none())
            .map(|(number, live)| (live.name(), number))
            .collect();
        let mut diagnostics = BTreeMap::new();
        let mut problems = BTreeMap::new();
        let mut host_pods = AHashSet::new();
        for object in objects {
            if let Object::Pod(pod) = object
                && pod.host_network
            {
                host_pods.extend(&pod.pod_ips);
            }
            note(&mut diagnostics, object.key(), object.diagnostics().to_vec());
            note(&mut problems, object.key(), semantics::problems(std::iter::once(object), context));
        }
        let mut namespaces: AHashMap<String, usize> = AHashMap::new();
        for live in &view.pods {
            *namespaces.entry(live.namespace().to_owned()).or_default() += 1;
        }
        Ok(Self {
            scope: scope.clone(),
            options: options.clone(),
            rules: Arc::new(session.rules()),
            session,
            cluster: std::mem::take(&mut view.cluster),
            names: plain.iter().map(|(name, &number)| (number, name.clone())).collect(),
            plain,
            places: std::mem::take(&mut view.places),
            host_pods,
            namespaces,
            circumstances: Circumstances::new(context),
            diagnostics,
            problems,
            conflicts,
            isolated: BTreeMap::new(),
            changed: 0,
        })
    }

    /// Notes which policies something stands in the place of, because they did not fit.
    pub(super) fn isolate(&mut self, problems: impl Iterator<Item = Diagnostic>) {
        self.isolated = problems.filter_map(|problem| Some((problem.object.clone()?, problem))).collect();
    }

    /// Everything that is wrong with objects and between them.
    fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        let all = self.diagnostics.values().chain(self.problems.values()).flatten();
        all.filter(|one| one.is_error()).chain(&self.conflicts)
    }

    /// The compilation as it is now.
    pub(super) fn compiled(&mut self) -> Compiled {
        if self.session.rule_count() != self.rules.len() {
            self.rules = Arc::new(self.session.rules());
        }
        let all = self.diagnostics.values().chain(self.problems.values()).flatten();
        let mut degraded: Vec<Diagnostic> = self.errors().chain(self.isolated.values()).cloned().collect();
        degraded.sort_by(|a, b| a.origin.cmp(&b.origin));
        Compiled {
            classifier: Arc::new(self.session.flat()),
            rules: Arc::clone(&self.rules),
            cluster: self.cluster.clone(),
            warnings: all.filter(|one| !one.is_error()).cloned().collect(),
            degraded,
        }
    }

    /// Makes the changes, if all of them are plain; `None`: a full build has to follow. `objects`: as they are now.
    pub(super) fn apply(
        mut self,
        objects: &BTreeMap<ObjectKey, Object>,
        changes: &Changes,
        (scope, options): (&Scope, &Options),
    ) -> Option<(Self, Compiled)> {
        // A node that nothing but its pods speaks of may be unknown from one moment to the next.
        if let Scope::Node(node) = scope
            && self.node(node).is_none()
        {
            return None;
        }
        let few = 1 + objects.len() / SHARE_OF_OBJECTS;
        self.changed = self.changed.saturating_add(changes.len());
        // So much has changed that what did not fit may fit by now.
        let stale = !self.isolated.is_empty() && self.changed > few;
        if changes.len() > few
            || stale
            || self.scope != *scope
            || self.options != *options
            || self.session.is_worn()
        {
            return None;
        }
        if self.change_all(objects, changes).is_err() {
            return None;
        }
        if self.options.on_invalid == super::OnInvalid::Refuse && self.errors().next().is_some() {
            return None;
        }
        let compiled = self.compiled();
        Some((self, compiled))
    }

    fn change_all(
        &mut self,
        objects: &BTreeMap<ObjectKey, Object>,
        changes: &Changes,
    ) -> Result<(), Refused> {
        // Addresses move from one pod to another: all leave before any comes.
        let mut coming = Vec::new();
        let mut policies = Vec::new();
        for (key, before) in changes {
            let after = objects.get(key);
            note(&mut self.diagnostics, key, after.map(|one| one.diagnostics().to_vec()).unwrap_or_default());
            match (before, after) {
                (Some(Object::Pod(_)) | None, Some(Object::Pod(_)) | None) if key.kind == Kind::Pod => {
                    let (before, after) = (pod(before.as_ref()), pod(after));
                    if let (Some(before), Some(after)) = (before, after)
                        && says_the_same(before, after)
                        && (wait_reason(after).is_some() || self.plain.contains_key(&pod_name(after)))
                    {
                        continue;
                    }
                    if let Some(before) = before {
                        self.leave(before)?;
                    }
                    coming.extend(after);
                }
                (Some(Object::Namespace(before)), Some(Object::Namespace(after)))
                    if before.meta.labels == after.meta.labels
                        && !before.meta.has_errors()
                        && !after.meta.has_errors() => {}
                (Some(Object::Namespace(one)), None) | (None, Some(Object::Namespace(one))) => {
                    let pods = self.namespaces.get(&one.meta.key.name).copied().unwrap_or(0);
                    if pods > 0 || one.meta.has_errors() || has_network_sets(objects, &one.meta.key.name) {
                        return Err(Refused::NotHere);
                    }
                }
                (Some(Object::ServiceAccount(before)), Some(Object::ServiceAccount(after)))
                    if before.meta.labels == after.meta.labels
                        && !before.meta.has_errors()
                        && !after.meta.has_errors() => {}
                (Some(Object::ServiceAccount(one)), None) | (None, Some(Object::ServiceAccount(one)))
                    if one.meta.labels.is_empty() && !one.meta.has_errors() => {}
                (Some(Object::Node(before)), Some(Object::Node(after))) if same_node(before, after) => {}
                _ if is_policy(before.as_ref().or(after)) => policies.push((key, before.as_ref(), after)),
                _ => return Err(Refused::NotHere),
            }
        }
        for pod in coming {
            self.come(pod, objects)?;
        }
        if !policies.is_empty() {
            let context = Context::new(objects.values(), self.options.staged);
            if Circumstances::new(&context) != self.circumstances {
                return Err(Refused::NotHere);
            }
            for (key, before, after) in policies {
                self.change_policy(key, before, after, &context)?;
            }
        }
        self.session.finish()
    }

    fn change_policy(
        &mut self,
        key: &ObjectKey,
        before: Option<&Object>,
        after: Option<&Object>,
        context: &Context<'_>,
    ) -> Result<(), Refused> {
        let policies =
            |object: Option<&Object>| object.map(|one| semantics::policies(one, context)).unwrap_or_default();
        // What did not fit may fit, once it or another policy says less.
        let weight = |object: Option<&Object>| object.map_or(0, |one| semantics::weight(one, context));
        if !self.isolated.is_empty() && (self.isolated.contains_key(key) || weight(after) < weight(before)) {
            return Err(Refused::NotHere);
        }
        note(&mut self.problems, key, semantics::problems(after.into_iter(), context));
        let (before, after) = (policies(before), policies(after));
        if before == after {
            return Ok(());
        }
        if before.iter().chain(&after).any(|placed| placed.policy.name != *key) {
            return Err(Refused::NotHere);
        }
        let mut after = after;
        // As they stand in a tier: where two of one object have one order, as written.
        after.sort_by_key(|placed| placed.policy.order);
        let placed = after.iter().map(|placed| (placed.tier.as_str(), &placed.policy));
        let Self { session, names, cluster, .. } = self;
        session.replace_policies(key, placed, |number| {
            let name = names.get(&number)?;
            cluster.subjects.binary_search_by(|one| one.name.cmp(name)).ok()
        })
    }

    fn node(&self, name: &str) -> Option<&NodeView> {
        let nodes = &self.cluster.nodes;
        nodes.get(nodes.binary_search_by(|one| one.name.as_str().cmp(name)).ok()?)
    }
}

fn note(all: &mut BTreeMap<ObjectKey, Vec<Diagnostic>>, key: &ObjectKey, about: Vec<Diagnostic>) {
    if about.is_empty() {
        all.remove(key);
    } else {
        all.insert(key.clone(), about);
    }
}
