//! From trees to objects: which kind it is, whether weir uses it, and what a `List` holds.

use super::ParseOutput;
use super::calico::{CalicoNetworkSet, CalicoTier, read_calico_policy};
use super::cilium;
use super::cluster_policy::read_cluster_policy;
use super::diagnostic::{Diagnostic, Severity};
use super::meta::read_meta;
use super::misspelled::{Meant, meant};
use super::namespace::Namespace;
use super::node::Node;
use super::object::{Kind, Object};
use super::pod::Pod;
use super::policy_reader::read_policy;
use super::reader::Reader;
use super::service_account::ServiceAccount;
use super::tree::{self, MAX_OBJECT_NODES, Mark, Piece, Problem, Tree, Value};
use super::words::{quoted, shortened};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What this release reads: everything it has a name for.
const KINDS: [Kind; 19] = Kind::ALL;

/// Problems of a file that are no object's before the rest of it is left unread.
const MAX_FILE_PROBLEMS: usize = 1000;
/// Kinds that are counted by name; the rest is counted together.
const MAX_SKIPPED_KINDS: usize = 1000;

/// Reads YAML or JSON: several documents, `List`s, output of `kubectl get -o yaml`.
///
/// Never fails as a whole: a document that is too broken to know its kind and name yields only diagnostics.
/// Cost is linear in the text; memory beyond the objects is bounded by one object and its aliases.
pub fn parse(file: &str, text: &str) -> ParseOutput {
    let file = Arc::from(file);
    let mut documents =
        Documents { file, output: ParseOutput::default(), items: Items::default(), problems: 0 };
    // To a YAML parser this may be the end of the text, and what is not seen is not enforced.
    if let Some(before) = text.split_once('\0').map(|(before, _)| before) {
        let line = before.split('\n').count();
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count());
        documents.problem(Problem {
            mark: Mark::new(line, column),
            message: "a NUL character".to_owned(),
            expected: Some("text".to_owned()),
        });
        return documents.output;
    }
    tree::read(text, &mut |piece| documents.take(piece));
    documents.output
}

/// Items of the document being read. Whether it is a list is only certain at its end: `kubectl` prints `items`
/// before `kind`.
#[derive(Default)]
struct Items {
    read: ParseOutput,
    /// What the items are that have no kind of their own, where the list has said so before them.
    inherited: Option<(String, Option<String>)>,
    /// Items without a kind, as the API server prints them inside a `PodList`, until it is known what they are.
    unnamed: Vec<Tree>,
    unnamed_nodes: usize,
}

struct Documents {
    file: Arc<str>,
    output: ParseOutput,
    items: Items,
    /// Of no object.
    problems: usize,
}

impl Documents {
    fn take(&mut self, piece: Piece) -> Result<(), Problem> {
        let mark = match piece {
            Piece::Items { kind, api_version } => {
                let item_kind = kind.as_deref().and_then(|kind| kind.strip_suffix("List"));
                let item_kind = item_kind.filter(|kind| !kind.is_empty()).map(str::to_owned);
                self.items.inherited = item_kind.map(|kind| (kind, api_version));
                return Ok(());
            }
            Piece::Item(tree) => {
                let mark = tree.root.mark;
                self.item(tree)?;
                mark
            }
            Piece::Document(tree) => {
                self.document(&tree);
                tree.root.mark
            }
            Piece::Broken(problem) => {
                // What was read of a list before it broke is kept: it is reported, and the error stands beside it.
                let items = std::mem::take(&mut self.items);
                append(&mut self.output, items.read);
                let mark = problem.mark;
                self.problem(problem);
                mark
            }
        };
        if self.problems < MAX_FILE_PROBLEMS {
            return Ok(());
        }
        let message = "too many problems: the rest of the file is not read".to_owned();
        Err(Problem { mark, message, expected: None })
    }

    /// Notes a problem of no object.
    fn problem(&mut self, problem: Problem) {
        // One more, which says that they are too many.
        if self.problems <= MAX_FILE_PROBLEMS {
            let problem = without_object(&self.file, problem);
            // The parser looks ahead, and may complain of the next document before it comes to it.
            if self.output.diagnostics.last() != Some(&problem) {
                self.output.diagnostics.push(problem);
            }
        }
        self.problems = self.problems.saturating_add(1);
    }

    fn item(&mut self, tree: Tree) -> Result<(), Problem> {
        let inherited =
            self.items.inherited.as_ref().map(|(kind, version)| (kind.as_str(), version.as_deref()));
        if tree.root.child("kind").is_some() || inherited.is_some() {
            self.problems += read_object(&self.file, &tree, inherited, &mut self.items.read);
            return Ok(());
        }
        self.items.unnamed_nodes = self.items.unnamed_nodes.saturating_add(tree.nodes);
        if self.items.unnamed_nodes > MAX_OBJECT_NODES {
            let expected = "apiVersion and kind of the list before its items, or of each item";
            return Err(Problem {
                mark: tree.root.mark,
                message: "too many items before it is known what they are".to_owned(),
                expected: Some(expected.to_owned()),
            });
        }
        self.items.unnamed.push(tree);
        Ok(())
    }

    fn document(&mut self, tree: &Tree) {
        let items = std::mem::take(&mut self.items);
        let kind = tree.root.child("kind").and_then(tree::Node::text);
        let api_version = tree.root.child("apiVersion").and_then(tree::Node::text);
        let Some(item_kind) = kind.and_then(|kind| kind.strip_suffix("List")) else {
            // Nothing of the core group has items but lists.
            if let (Some(kind), Some("v1"), false) = (kind, api_version, items.read.objects.is_empty()) {
                let mark = tree.root.child("kind").map_or(tree.root.mark, |kind| kind.mark);
                let message = format!("the items of a v1 {} are not read", quoted(kind));
                self.problem(Problem { mark, message, expected: Some("List".to_owned()) });
            }
            self.problems += read_object(&self.file, tree, None, &mut self.output);
            return;
        };
        append(&mut self.output, items.read);
        for problem in &tree.problems {
            self.problem(problem.clone());
        }
        let inherited = (!item_kind.is_empty()).then_some((item_kind, api_version));
        for item in &items.unnamed {
            if self.problems >= MAX_FILE_PROBLEMS {
                return;
            }
            self.problems += read_object(&self.file, item, inherited, &mut self.output);
        }
    }
}

fn append(output: &mut ParseOutput, more: ParseOutput) {
    if output.objects.is_empty() {
        output.objects = more.objects;
    } else {
        output.objects.extend(more.objects);
    }
    output.diagnostics.extend(more.diagnostics);
    for (kind, count) in more.skipped {
        *output.skipped.entry(kind).or_default() += count;
    }
}

fn skip(kind: &str, skipped: &mut BTreeMap<String, usize>) {
    let kind = shortened(kind);
    let kind = if skipped.len() < MAX_SKIPPED_KINDS || skipped.contains_key(&kind) {
        kind
    } else {
        "others".to_owned()
    };
    *skipped.entry(kind).or_default() += 1;
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

/// Reads one object; how many of its problems are of no object. `inherited`: kind and apiVersion that its list gives
/// it.
fn read_object(
    file: &Arc<str>,
    tree: &Tree,
    inherited: Option<(&str, Option<&str>)>,
    output: &mut ParseOutput,
) -> usize {
    let root = &tree.root;
    // Nothing between two `---`.
    if root.value == Value::Null && tree.problems.is_empty() {
        return 0;
    }
    let mut reader = Reader::new(file);
    for problem in &tree.problems {
        reader.error(problem.mark, problem.message.clone(), problem.expected.as_deref().unwrap_or_default());
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
    let Some(raw) = read_meta(&mut reader, known, root.mark, entries) else {
        return give_up(reader, output);
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
        Kind::ClusterNetworkPolicy | Kind::AdminNetworkPolicy | Kind::BaselineAdminNetworkPolicy => {
            let mut policy = read_cluster_policy(&mut reader, raw, root.mark, entries);
            if !tree.problems.is_empty() {
                policy.unreadable = Some(policy.spec.clone());
            }
            Object::ClusterPolicy(policy)
        }
        Kind::CalicoTier => Object::CalicoTier(CalicoTier::read(&mut reader, raw, root.mark, entries)),
        Kind::CalicoNetworkPolicy
        | Kind::CalicoGlobalNetworkPolicy
        | Kind::CalicoStagedNetworkPolicy
        | Kind::CalicoStagedGlobalNetworkPolicy
        | Kind::CalicoStagedKubernetesNetworkPolicy => {
            let mut policy = read_calico_policy(&mut reader, raw, root.mark, entries);
            if !tree.problems.is_empty() {
                policy.mark_unreadable();
            }
            Object::CalicoPolicy(policy)
        }
        Kind::CalicoNetworkSet | Kind::CalicoGlobalNetworkSet => {
            Object::CalicoNetworkSet(CalicoNetworkSet::read(&mut reader, raw, root.mark, entries))
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
    };
    let diagnostics = reader.into_diagnostics();
    output.diagnostics.extend(diagnostics.iter().cloned());
    object.meta_mut().diagnostics = diagnostics;
    output.objects.push(object);
    0
}

/// Reports what is wrong with something that could not be read as any object; how many errors that is.
fn give_up(reader: Reader<'_>, output: &mut ParseOutput) -> usize {
    let errors = reader.error_count();
    output.diagnostics.extend(reader.into_diagnostics());
    errors
}
