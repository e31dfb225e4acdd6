//! From documents to objects: what a `List` holds, and what is an object by itself (see `object_reader`).
//!
//! Items of a list come one by one (see [`tree`]); those that come another way, by an alias, by `<<` or in a list that is
//! itself an item, are taken out of their tree, which has the bounds of one object. What a list holds beside its items, and
//! items of what is no list, are problems of no object: nobody knows what was not read.

use super::ParseOutput;
use super::diagnostic::{Diagnostic, Severity};
use super::misspelled::meant;
use super::object_reader::{Inherited, KINDS, give_up, read_object};
use super::reader::Reader;
use super::tree::{self, MAX_OBJECT_NODES, Mark, Piece, Problem, Tree, Value};
use super::words::{quoted, shortened};
use std::sync::Arc;

/// Problems of a file that are no object's before the rest of it is left unread.
const MAX_FILE_PROBLEMS: usize = 1000;
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

impl Items {
    /// Whether some of them may be objects.
    fn are_there(&self) -> bool {
        let ParseOutput { objects, diagnostics, skipped } = &self.read;
        !objects.is_empty()
            || !diagnostics.is_empty()
            || !skipped.is_empty()
            || self.unnamed.iter().any(|item| matches!(item.root.value, Value::Mapping(_)))
    }
}

/// An object of a kind that stands for others.
struct List<'t> {
    /// What they are; empty: each says so itself.
    item_kind: &'t str,
    api_version: Option<&'t str>,
}

impl<'t> List<'t> {
    /// The object as a list, if it is one. Kinds of others may end in `List` and hold no items.
    fn of(root: &'t tree::Node) -> Option<Self> {
        let item_kind = root.child("kind").and_then(tree::Node::text)?.strip_suffix("List")?;
        let api_version = root.child("apiVersion").and_then(tree::Node::text);
        let has_items = matches!(&root.value, Value::Mapping(entries) if entries.iter().any(|entry| entry.key == "items"));
        let is_ours = || {
            KINDS.iter().any(|known| known.name() == item_kind)
                || meant(item_kind, api_version.unwrap_or_default(), &KINDS).is_some()
        };
        (item_kind.is_empty() || has_items || is_ours()).then_some(Self { item_kind, api_version })
    }

    fn inherited(&self) -> Option<Inherited<'t>> {
        (!self.item_kind.is_empty()).then_some((self.item_kind, self.api_version))
    }
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
            let Tree { root, problems, .. } = &tree;
            self.problems += read_item(&self.file, (root, problems), inherited, &mut self.items.read);
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
        let Tree { root, problems, .. } = tree;
        let Some(list) = List::of(root) else {
            if let Some(problem) = refuse_items(root, items.are_there()) {
                self.problem(problem);
            }
            self.problems += read_object(&self.file, (root, problems), None, &mut self.output);
            return;
        };
        append(&mut self.output, items.read);
        for problem in problems {
            self.problem(problem.clone());
        }
        self.problems += read_rest(&self.file, root, &list, &mut self.output);
        for Tree { root, problems, .. } in &items.unnamed {
            if self.problems >= MAX_FILE_PROBLEMS {
                return;
            }
            self.problems += read_item(&self.file, (root, problems), list.inherited(), &mut self.output);
        }
    }
}

/// Reads an item of a list, which may be a list itself; how many problems of no object that is.
fn read_item(
    file: &Arc<str>,
    (root, problems): (&tree::Node, &[Problem]),
    inherited: Option<Inherited<'_>>,
    output: &mut ParseOutput,
) -> usize {
    let Some(list) = List::of(root) else {
        let refused = refuse_items(root, false).map(|problem| without_object(file, problem));
        let refusals = usize::from(refused.is_some());
        output.diagnostics.extend(refused);
        return refusals + read_object(file, (root, problems), inherited, output);
    };
    output.diagnostics.extend(problems.iter().map(|problem| without_object(file, problem.clone())));
    problems.len() + read_rest(file, root, &list, output)
}

/// Reads of a list what has not been handed out: its items, if they stand in the tree, and what should not be there. Lists
/// in lists are as deep as a tree may be.
fn read_rest(file: &Arc<str>, root: &tree::Node, list: &List<'_>, output: &mut ParseOutput) -> usize {
    let mut reader = Reader::new(file);
    let entries = reader.mapping(root).unwrap_or_default();
    reader.refuse_unknown(entries, &["apiVersion", "kind", "metadata", "items"]);
    let items = reader.field(entries, "items", Reader::sequence).flatten().unwrap_or_default();
    let mut problems = give_up(reader, output);
    for item in items {
        // The rest of the file is not read either.
        if problems >= MAX_FILE_PROBLEMS {
            break;
        }
        problems += read_item(file, (item, &[]), list.inherited(), output);
    }
    problems
}

/// The problem that something has items and is no list, if it has: some that were `handed_out`, or in its tree.
fn refuse_items(root: &tree::Node, handed_out: bool) -> Option<Problem> {
    let held = root.child("items").is_some_and(|items| {
        matches!(&items.value, Value::Sequence(items)
            if items.iter().any(|item| matches!(item.value, Value::Mapping(_))))
    });
    let kind = root.child("kind").filter(|_| handed_out || held)?;
    let api_version = root.child("apiVersion")?.text()?;
    let message = format!("the items of a {} {} are not read", shortened(api_version), quoted(kind.text()?));
    Some(Problem { mark: kind.mark, message, expected: Some("List".to_owned()) })
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

#[cfg(test)]
mod tests;
