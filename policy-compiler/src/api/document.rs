//! From trees to objects: which kind it is, whether weir uses it, and what a `List` holds.

use super::ParseOutput;
use super::cilium;
use super::diagnostic::{Diagnostic, Severity};
use super::meta::read_meta;
use super::namespace::Namespace;
use super::node::Node;
use super::object::{Kind, Object};
use super::pod::Pod;
use super::policy_reader::read_policy;
use super::reader::Reader;
use super::service_account::ServiceAccount;
use super::tree::{self, Piece, Problem, Tree, Value};
use std::sync::Arc;

/// What this release reads.
const KINDS: [Kind; 8] = [
    Kind::Namespace,
    Kind::Node,
    Kind::Pod,
    Kind::ServiceAccount,
    Kind::NetworkPolicy,
    Kind::CiliumNetworkPolicy,
    Kind::CiliumClusterwideNetworkPolicy,
    Kind::CiliumCidrGroup,
];

/// Reads YAML or JSON: several documents, `List`s, output of `kubectl get -o yaml`.
///
/// Never fails as a whole: a document that is too broken to know its kind and name yields only diagnostics.
/// Cost is linear in the text; memory beyond the objects is bounded by one object and its aliases.
pub fn parse(file: &str, text: &str) -> ParseOutput {
    let mut documents =
        Documents { file: Arc::from(file), output: ParseOutput::default(), items: Items::default() };
    tree::read(text, &mut |piece| documents.take(piece));
    documents.output
}

/// Items of the document being read. Whether it is a list is only certain at its end: `kubectl` prints `items`
/// before `kind`.
#[derive(Default)]
struct Items {
    read: ParseOutput,
    /// Items without a kind of their own, as the API server prints them inside a `PodList`.
    unnamed: Vec<Tree>,
}

struct Documents {
    file: Arc<str>,
    output: ParseOutput,
    items: Items,
}

impl Documents {
    fn take(&mut self, piece: Piece) {
        match piece {
            Piece::Item(tree) if tree.root.child("kind").is_none() => self.items.unnamed.push(tree),
            Piece::Item(tree) => read_object(&self.file, &tree, None, &mut self.items.read),
            Piece::Document(tree) => self.document(&tree),
            Piece::Broken(problem) => {
                // What was read of a list before it broke is kept: it is reported, and the error stands beside it.
                let items = std::mem::take(&mut self.items);
                append(&mut self.output, items.read);
                self.output.diagnostics.push(without_object(&self.file, problem));
            }
        }
    }

    fn document(&mut self, tree: &Tree) {
        let items = std::mem::take(&mut self.items);
        let kind = tree.root.child("kind").and_then(tree::Node::text);
        let Some(item_kind) = kind.and_then(|kind| kind.strip_suffix("List")) else {
            return read_object(&self.file, tree, None, &mut self.output);
        };
        append(&mut self.output, items.read);
        for problem in &tree.problems {
            self.output.diagnostics.push(without_object(&self.file, problem.clone()));
        }
        let api_version = tree.root.child("apiVersion").and_then(tree::Node::text);
        let inherited = (!item_kind.is_empty()).then_some((item_kind, api_version));
        for item in &items.unnamed {
            read_object(&self.file, item, inherited, &mut self.output);
        }
    }
}

fn append(output: &mut ParseOutput, more: ParseOutput) {
    output.objects.extend(more.objects);
    output.diagnostics.extend(more.diagnostics);
    for (kind, count) in more.skipped {
        *output.skipped.entry(kind).or_default() += count;
    }
}

fn without_object(file: &Arc<str>, problem: Problem) -> Diagnostic {
    let origin = Reader::new(file).origin(problem.mark);
    let (message, expected) = (problem.message, problem.expected);
    Diagnostic {
        severity: Severity::Error,
        origin,
        object: None,
        field: String::new(),
        message,
        expected,
        help: None,
    }
}

/// Whether the kind is a policy that somebody else's controller would enforce.
fn is_foreign_policy(kind: &str) -> bool {
    kind.ends_with("NetworkPolicy")
}

/// The kind that was meant by one whose `apiVersion` the API server does not know for it. Skipping such an
/// object would leave open what it was to close.
fn misspelled(kind: &str, api_version: &str) -> Option<Kind> {
    let meant = KINDS.into_iter().find(|known| known.name() == kind)?;
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let own_group = meant.api_versions().first()?.split_once('/').map_or("", |(group, _)| group);
    // Other groups have kinds of the same names: Calico's NetworkPolicy, Longhorn's Node.
    (group == own_group || group.is_empty() || group == "extensions").then_some(meant)
}

/// Reads one object. `inherited`: kind and apiVersion that its list gives it.
fn read_object(
    file: &Arc<str>,
    tree: &Tree,
    inherited: Option<(&str, Option<&str>)>,
    output: &mut ParseOutput,
) {
    let root = &tree.root;
    // Nothing between two `---`.
    if root.value == Value::Null && tree.problems.is_empty() {
        return;
    }
    let mut reader = Reader::new(file);
    for problem in &tree.problems {
        reader.error(problem.mark, problem.message.clone(), problem.expected.as_deref().unwrap_or_default());
    }
    let Some(entries) = reader.mapping(root) else {
        output.diagnostics.extend(reader.into_diagnostics());
        return;
    };
    let kind = root.child("kind").and_then(tree::Node::text).or(inherited.map(|(kind, _)| kind));
    let api_version =
        root.child("apiVersion").and_then(tree::Node::text).or(inherited.and_then(|(_, version)| version));
    let (Some(kind), Some(api_version)) = (kind, api_version) else {
        let missing = if kind.is_none() { "kind" } else { "apiVersion" };
        let expected = "a Kubernetes object with apiVersion, kind and metadata";
        reader.error(root.mark, format!("there is no {missing}"), expected);
        output.diagnostics.extend(reader.into_diagnostics());
        return;
    };
    let known =
        KINDS.into_iter().find(|known| known.name() == kind && known.api_versions().contains(&api_version));
    let Some(known) = known else {
        *output.skipped.entry(kind.to_owned()).or_default() += 1;
        if let Some(meant) = misspelled(kind, api_version) {
            let message = format!("there is no {kind} in apiVersion {api_version:?}");
            reader.error(root.mark, message, &meant.api_versions().join(" or "));
        } else if is_foreign_policy(kind) {
            let name = root.child("metadata").and_then(|metadata| metadata.child("name"));
            let name = name.and_then(tree::Node::text).unwrap_or_default();
            let message = format!("{api_version} {kind} {name:?} is not enforced by this release");
            reader.warning(root.mark, message, "networking.k8s.io/v1 NetworkPolicy");
        }
        output.diagnostics.extend(reader.into_diagnostics());
        return;
    };
    let Some(raw) = read_meta(&mut reader, known, root.mark, entries) else {
        output.diagnostics.extend(reader.into_diagnostics());
        return;
    };
    let mut object = match known {
        Kind::Namespace => Object::Namespace(Namespace::from_meta(raw)),
        Kind::Node => Object::Node(Node::read(&mut reader, raw, entries)),
        Kind::Pod => Object::Pod(Pod::read(&mut reader, raw, entries)),
        Kind::ServiceAccount => Object::ServiceAccount(ServiceAccount::from_meta(raw)),
        Kind::NetworkPolicy => {
            let mut policy = read_policy(&mut reader, raw, root.mark, entries);
            // With a broken text it is uncertain what any part of the policy was to say.
            if !tree.problems.is_empty() {
                policy.unreadable = Some(policy.spec.clone());
            }
            Object::NetworkPolicy(policy)
        }
        Kind::CiliumNetworkPolicy | Kind::CiliumClusterwideNetworkPolicy => {
            let mut policy = cilium::read_policy(&mut reader, raw, root.mark, entries);
            if !tree.problems.is_empty() {
                policy.unreadable = Some(reader.provenance(root.mark));
            }
            Object::CiliumPolicy(policy)
        }
        Kind::CiliumCidrGroup => {
            Object::CiliumCidrGroup(cilium::read_cidr_group(&mut reader, raw, root.mark, entries))
        }
        // Not among `KINDS`.
        _ => return,
    };
    let diagnostics = reader.into_diagnostics();
    output.diagnostics.extend(diagnostics.iter().cloned());
    object.meta_mut().diagnostics = diagnostics;
    output.objects.push(object);
}
