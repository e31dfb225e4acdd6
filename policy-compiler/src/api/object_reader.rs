//! From a tree to an object: which kind it is, whether weir uses it, and who reads it.
//!
//! Kinds that weir does not use are counted; those that were probably meant to be one it uses are problems.

use super::ParseOutput;
use super::calico::{CalicoNetworkSet, CalicoTier, read_calico_policy};
use super::cilium;
use super::cluster_policy::read_cluster_policy;
use super::meta::read_meta;
use super::misspelled::{Meant, meant};
use super::namespace::Namespace;
use super::node::Node;
use super::object::{Kind, Object};
use super::pod::Pod;
use super::policy_reader::read_policy;
use super::reader::Reader;
use super::service_account::ServiceAccount;
use super::tree::{self, Problem, Value};
use super::words::{quoted, shortened};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What this release reads: everything it has a name for.
pub(super) const KINDS: [Kind; 19] = Kind::ALL;

/// Kind and apiVersion that a list gives its items.
pub(super) type Inherited<'t> = (&'t str, Option<&'t str>);

/// Kinds that are counted by name; the rest is counted together.
const MAX_SKIPPED_KINDS: usize = 1000;

fn skip(kind: &str, skipped: &mut BTreeMap<String, usize>) {
    let kind = shortened(kind);
    let kind = if skipped.len() < MAX_SKIPPED_KINDS || skipped.contains_key(&kind) {
        kind
    } else {
        "others".to_owned()
    };
    *skipped.entry(kind).or_default() += 1;
}

/// Whether the kind is a policy that somebody else's controller would enforce.
fn is_foreign_policy(kind: &str) -> bool {
    kind.ends_with("NetworkPolicy")
}

/// Says that an object is not read although it was probably to be.
fn refuse_misspelled<'t>(reader: &mut Reader<'t>, root: &'t tree::Node, was: (&str, &str), meant: Meant) {
    let (kind, api_version) = was;
    // In a list they may be the list's.
    let at = |field| root.child(field).map_or(root.mark, |child| child.mark);
    match meant {
        Meant::Kind(right) => reader.within("kind", |reader| {
            let message = format!("there is no kind {}", quoted(kind));
            reader.error_with_help(at("kind"), message, "", format!("did you mean {right:?}?"));
        }),
        Meant::ApiVersion(right) => reader.within("apiVersion", |reader| {
            let message = format!("there is no {kind} in apiVersion {}", quoted(api_version));
            reader.error(at("apiVersion"), message, right);
        }),
    }
}

/// Reads one object, of whose text there are `problems`; how many of its problems are of no object. `inherited`: kind and
/// apiVersion that its list gives it.
pub(super) fn read_object(
    file: &Arc<str>,
    (root, problems): (&tree::Node, &[Problem]),
    inherited: Option<Inherited<'_>>,
    output: &mut ParseOutput,
) -> usize {
    // Nothing between two `---`.
    if root.value == Value::Null && problems.is_empty() {
        return 0;
    }
    let mut reader = Reader::new(file);
    for problem in problems {
        reader.error(problem.mark, problem.message.clone(), problem.expected.as_deref().unwrap_or_default());
    }
    let is_doubtful = root.is_doubtful() || !problems.is_empty();
    if is_doubtful && problems.is_empty() {
        // By an alias, or in a list in a list.
        let message = "a key in this object is here twice, or is none; the place is reported beside this";
        reader.error(root.mark, message, "");
    }
    let Some(entries) = reader.mapping(root) else {
        return give_up(reader, output);
    };
    let kind = root.child("kind").and_then(tree::Node::text).or(inherited.map(|(kind, _)| kind));
    let api_version =
        root.child("apiVersion").and_then(tree::Node::text).or(inherited.and_then(|(_, version)| version));
    let (Some(kind), Some(api_version)) = (kind, api_version) else {
        let missing = if kind.is_none() { "kind" } else { "apiVersion" };
        let expected = "a Kubernetes object with apiVersion, kind and metadata";
        reader.error(root.mark, format!("there is no {missing}"), expected);
        return give_up(reader, output);
    };
    let known =
        KINDS.into_iter().find(|known| known.name() == kind && known.api_versions().contains(&api_version));
    let Some(known) = known else {
        skip(kind, &mut output.skipped);
        if let Some(meant) = meant(kind, api_version, &KINDS) {
            refuse_misspelled(&mut reader, root, (kind, api_version), meant);
        } else if is_foreign_policy(kind) {
            let name = root.child("metadata").and_then(|metadata| metadata.child("name"));
            let name = name.and_then(tree::Node::text).unwrap_or_default();
            let [api_version, kind] = [api_version, kind].map(shortened);
            let message = format!("{api_version} {kind} {} is not enforced by this release", quoted(name));
            reader.warning(root.mark, message, "networking.k8s.io/v1 NetworkPolicy");
        }
        return give_up(reader, output);
    };
    // What it is, or which one, is as uncertain as the rest.
    let names_it = |entry: &tree::Entry| matches!(entry.key.as_str(), "apiVersion" | "kind" | "metadata");
    if entries.iter().any(|entry| names_it(entry) && entry.doubtful) {
        return give_up(reader, output);
    }
    let Some(raw) = read_meta(&mut reader, known, root.mark, entries) else {
        return give_up(reader, output);
    };
    let mut object = match known {
        Kind::Namespace => Object::Namespace(Namespace::from_meta(raw)),
        Kind::Node => Object::Node(Node::read(&mut reader, raw, entries)),
        Kind::Pod => Object::Pod(Pod::read(&mut reader, raw, entries)),
        Kind::ServiceAccount => Object::ServiceAccount(ServiceAccount::from_meta(raw)),
        Kind::NetworkPolicy => Object::NetworkPolicy(read_policy(&mut reader, raw, root.mark, entries)),
        Kind::ClusterNetworkPolicy | Kind::AdminNetworkPolicy | Kind::BaselineAdminNetworkPolicy => {
            Object::ClusterPolicy(read_cluster_policy(&mut reader, raw, root.mark, entries))
        }
        Kind::CalicoTier => Object::CalicoTier(CalicoTier::read(&mut reader, raw, root.mark, entries)),
        Kind::CalicoNetworkPolicy
        | Kind::CalicoGlobalNetworkPolicy
        | Kind::CalicoStagedNetworkPolicy
        | Kind::CalicoStagedGlobalNetworkPolicy
        | Kind::CalicoStagedKubernetesNetworkPolicy => {
            Object::CalicoPolicy(read_calico_policy(&mut reader, raw, root.mark, entries))
        }
        Kind::CalicoNetworkSet | Kind::CalicoGlobalNetworkSet => {
            Object::CalicoNetworkSet(CalicoNetworkSet::read(&mut reader, raw, root.mark, entries))
        }
        Kind::CiliumNetworkPolicy | Kind::CiliumClusterwideNetworkPolicy => {
            Object::CiliumPolicy(cilium::read_policy(&mut reader, raw, root.mark, entries))
        }
        Kind::CiliumCidrGroup => {
            Object::CiliumCidrGroup(cilium::read_cidr_group(&mut reader, raw, root.mark, entries))
        }
    };
    if is_doubtful {
        doubt(&mut object);
    }
    let diagnostics = reader.into_diagnostics();
    output.diagnostics.extend(diagnostics.iter().cloned());
    object.meta_mut().diagnostics = diagnostics;
    output.objects.push(object);
    0
}

/// With a key that is there twice it is uncertain what any part of the object was to say: whom a policy is about and where it
/// stands no less than its rules. Objects that are not named here count as unreadable by their errors.
fn doubt(object: &mut Object) {
    match object {
        Object::Pod(pod) => pod.doubt(),
        Object::NetworkPolicy(policy) => policy.doubt(),
        Object::ClusterPolicy(policy) => policy.doubt(),
        Object::CalicoPolicy(policy) => policy.doubt(),
        Object::CiliumPolicy(policy) => policy.doubt(),
        Object::Namespace(_)
        | Object::Node(_)
        | Object::ServiceAccount(_)
        | Object::CalicoTier(_)
        | Object::CalicoNetworkSet(_)
        | Object::CiliumCidrGroup(_) => {}
    }
}

/// Reports what is wrong with something that could not be read as any object; how many errors that is.
pub(super) fn give_up(reader: Reader<'_>, output: &mut ParseOutput) -> usize {
    let errors = reader.error_count();
    output.diagnostics.extend(reader.into_diagnostics());
    errors
}
