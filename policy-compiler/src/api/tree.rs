//! Text to located trees: YAML (or JSON, which is YAML) by a parser's events, one object at a time.
//!
//! Items of a `List` are handed out one by one, so that a list of 100,000 pods never stands in memory as one
//! tree. Bounds, each with a located error: [`MAX_DEPTH`] levels, [`MAX_OBJECT_BYTES`] of text and
//! [`MAX_OBJECT_NODES`] values per object, aliases included, and aliases that expand to at most
//! [`MAX_ALIAS_EXPANSION`] times their document. So the tree of an object takes some 30 MB at the very most. Keys are
//! unique (YAML 1.2, 3.2.1.1). Merge keys (`<<`) work as `kubectl` has them.

use super::words::quoted;
use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, Span, StrInput};
use std::collections::{HashMap, HashSet};

/// Levels of nesting in a document. A policy needs some 10, a CustomResourceDefinition some 40.
pub(crate) const MAX_DEPTH: usize = 64;
/// Text of one object. etcd keeps no object beyond 1.5 MiB of JSON; indented it may be more than twice that.
pub(crate) const MAX_OBJECT_BYTES: usize = 4 << 20;
/// Keys and values of one object. 1.5 MiB of the shortest ipBlocks that JSON can say are some 220,000.
pub(crate) const MAX_OBJECT_NODES: usize = 250_000;
/// Keys and values kept for aliases of a document, those of nested anchors counted again.
const MAX_ANCHORED_NODES: usize = 50_000;
/// Bytes that aliases stand for, over the bytes of the document.
pub(crate) const MAX_ALIAS_EXPANSION: usize = 10;
/// Documents smaller than this may expand as if they had this size.
const ALIAS_FLOOR_BYTES: usize = 1024;
/// Problems reported per document; a hostile one could hold a million.
const MAX_PROBLEMS: usize = 100;
/// Mappings up to this size find their keys' repetition by looking through them, larger ones by hashing.
const SMALL_MAPPING: usize = 16;

/// Line and column, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl Mark {
    pub(crate) fn new(line: usize, column_from_0: usize) -> Self {
        Self {
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(column_from_0).unwrap_or(u32::MAX).saturating_add(1),
        }
    }
}

/// A scalar as written. Only plain scalars can be numbers, booleans or null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    pub(crate) plain: bool,
}

/// A key of a mapping with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_mark: Mark,
    pub(crate) value: Node,
    /// The key is there twice, or is none, or something in the value is so: what was meant is uncertain.
    pub(crate) doubtful: bool,
}

/// The content of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Null,
    Scalar(Scalar),
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
}

/// A located value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) mark: Mark,
    pub(crate) value: Value,
}

impl Node {
    /// The value of a key, if this is a mapping that has it and it is not null.
    pub(crate) fn child(&self, key: &str) -> Option<&Node> {
        let Value::Mapping(entries) = &self.value else { return None };
        let entry = entries.iter().find(|entry| entry.key == key)?;
        (entry.value.value != Value::Null).then_some(&entry.value)
    }

    /// Whether something in this mapping is uncertain.
    pub(crate) fn is_doubtful(&self) -> bool {
        matches!(&self.value, Value::Mapping(entries) if entries.iter().any(|entry| entry.doubtful))
    }

    /// The text of a scalar.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) => Some(&scalar.text),
            _ => None,
        }
    }
}

/// Something wrong with the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) mark: Mark,
    pub(crate) message: String,
    pub(crate) expected: Option<String>,
}

/// One object's tree and what was wrong with its text.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) root: Node,
    pub(crate) problems: Vec<Problem>,
    /// Keys and values in it.
    pub(crate) nodes: usize,
}

/// What the reader hands out.
#[derive(Debug)]
pub(crate) enum Piece {
    /// The current document has items. What was said of it before them.
    Items {
        /// Its kind.
        kind: Option<String>,
        /// Its apiVersion.
        api_version: Option<String>,
    },
    /// One of the items.
    Item(Tree),
    /// The end of a document: its own tree (without items that were handed out), if it was readable.
    Document(Tree),
    /// A document that had to be given up, and why.
    Broken(Problem),
}

/// What a node costs to repeat.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    /// Bytes of text, about.
    bytes: usize,
    /// Keys and values.
    nodes: usize,
    /// Levels below it.
    height: usize,
}

impl Cost {
    const ONE: Self = Self { bytes: 4, nodes: 1, height: 0 };

    /// Adds the cost of a child.
    fn add(&mut self, child: Self) {
        self.bytes = self.bytes.saturating_add(child.bytes);
        self.nodes = self.nodes.saturating_add(child.nodes);
        self.height = self.height.max(child.height.saturating_add(1));
    }
}

/// A node with its cost.
struct Built {
    node: Node,
    cost: Cost,
    /// As [`Entry::doubtful`]; it stays with what an anchor keeps.
    doubtful: bool,
}

struct TreeReader<'t> {
    text: &'t str,
    parser: Parser<'t, StrInput<'t>>,
    /// Where in the text the parser began.
    base: usize,
    /// Lines before that.
    base_line: usize,
    /// Where the last event began.
    last: usize,
    anchors: HashMap<usize, Built>,
    /// What the anchors keep.
    anchored: Cost,
    problems: Vec<Problem>,
    document_start: usize,
    object_start: usize,
    object_nodes: usize,
    /// Bytes that the document's aliases stand for.
    expanded: usize,
}

/// Where the pieces go. An item that it refuses breaks the document; a document, or the report that one is broken,
/// that it refuses ends the reading, and the reason is reported in the same way.
pub(crate) type Sink<'s> = dyn FnMut(Piece) -> Result<(), Problem> + 's;

/// Reads all documents of a text.
pub(crate) fn read(text: &str, sink: &mut Sink<'_>) {
    let mut reader = TreeReader {
        text,
        parser: parser(text),
        base: 0,
        base_line: 0,
        last: 0,
        anchors: HashMap::new(),
        anchored: Cost::default(),
        problems: Vec::new(),
        document_start: 0,
        object_start: 0,
        object_nodes: 0,
        expanded: 0,
    };
    loop {
        let broken = match reader.next() {
            Ok((Event::StreamEnd, _)) => return,
            Ok((Event::DocumentStart(..), span)) => {
                reader.begin_document(offset(&span));
                match reader.document(sink) {
                    Ok(tree) => match sink(Piece::Document(tree)) {
                        Ok(()) => continue,
                        Err(problem) => problem,
                    },
                    Err(problem) => problem,
                }
            }
            Ok(_) => continue,
            Err(problem) => problem,
        };
        if let Err(last) = sink(Piece::Broken(broken)) {
            let _ = sink(Piece::Broken(last));
            return;
        }
        if !reader.proceed_to_next_document() {
            return;
        }
    }
}

fn parser(text: &str) -> Parser<'_, StrInput<'_>> {
    let options = granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    Parser::new_from_str_with_options(text, options)
}

fn offset(span: &Span) -> usize {
    span.start.byte_offset().unwrap_or_else(|| span.start.index())
}

/// Line breaks as YAML has them: LF, CR, or both together.
fn line_breaks(text: &str) -> usize {
    let bytes = text.as_bytes();
    let alone = |at: usize| bytes.get(at + 1) != Some(&b'\n');
    bytes.iter().enumerate().filter(|&(at, byte)| *byte == b'\n' || (*byte == b'\r' && alone(at))).count()
}

/// The first line at or after `from` that is a document marker.
fn next_marker(text: &str, from: usize) -> Option<(usize, &str)> {
    let rest = text.get(from..)?;
    rest.match_indices('\n').find_map(|(end, _)| {
        let at = from + end + 1;
        let marker = text.get(at..at + 3).filter(|marker| matches!(*marker, "---" | "..."))?;
        let after = text.as_bytes().get(at + 3);
        after.is_none_or(u8::is_ascii_whitespace).then_some((at, marker))
    })
}

impl<'t> TreeReader<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Span), Problem> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => {
                self.last = offset(&span);
                Ok((event, span))
            }
            None => Ok((Event::StreamEnd, Span::default())),
            Some(Err(error)) => {
                let marker = error.marker();
                let expected = matches!(error.kind(), ErrorKind::RecursionLimitExceeded)
                    .then(|| format!("at most {MAX_DEPTH} levels of nesting"));
                let message = format!("not readable as YAML: {}", error.info());
                let mark = Mark::new(self.base_line.saturating_add(marker.line()), marker.col());
                Err(Problem { mark, message, expected })
            }
        }
    }

    fn mark(&self, span: &Span) -> Mark {
        Mark::new(self.base_line.saturating_add(span.start.line()), span.start.col())
    }

    /// Goes on behind a document that was given up; false at the end of the text. At the start of a line, `---` and
    /// `...` are markers whatever they stand in (YAML 1.2, 9.1.2), so the rest of the document need not be scanned.
    fn proceed_to_next_document(&mut self) -> bool {
        let from = self.base.saturating_add(self.last);
        let Some((mut at, marker)) = next_marker(self.text, from) else { return false };
        if marker == "..." {
            at = self
                .text
                .get(at..)
                .and_then(|rest| rest.find('\n'))
                .map_or(self.text.len(), |end| at + end + 1);
        }
        let (Some(passed), Some(rest)) = (self.text.get(self.base..at), self.text.get(at..)) else {
            return false;
        };
        self.base_line += line_breaks(passed);
        self.base = at;
        self.last = 0;
        self.parser = parser(rest);
        true
    }

    fn begin_document(&mut self, at: usize) {
        self.anchors.clear();
        self.anchored = Cost::default();
        self.problems.clear();
        self.document_start = at;
        self.expanded = 0;
        self.begin_object(at);
    }

    fn begin_object(&mut self, at: usize) {
        self.object_start = at;
        self.object_nodes = 0;
    }

    fn problem(&mut self, mark: Mark, message: String, expected: Option<&str>) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem { mark, message, expected: expected.map(str::to_owned) });
        }
    }

    fn document(&mut self, sink: &mut Sink<'_>) -> Result<Tree, Problem> {
        let (event, span) = self.next()?;
        let root = if let Event::MappingStart(_, anchor, _) = event {
            self.mapping(self.mark(&span), anchor, 1, Some(sink))?.node
        } else {
            self.node(event, &span, 1)?.node
        };
        Ok(Tree { root, problems: std::mem::take(&mut self.problems), nodes: self.object_nodes })
    }

    /// Counts what the object holds. `end`: how far it reaches.
    fn charge(&mut self, nodes: usize, mark: Mark, end: usize) -> Result<(), Problem> {
        self.object_nodes = self.object_nodes.saturating_add(nodes);
        let expected = if end.saturating_sub(self.object_start) > MAX_OBJECT_BYTES {
            format!("at most {} MiB of text per object", MAX_OBJECT_BYTES >> 20)
        } else if self.object_nodes > MAX_OBJECT_NODES {
            format!("at most {MAX_OBJECT_NODES} keys and values per object")
        } else {
            return Ok(());
        };
        Err(Problem { mark, message: "the object is too large".into(), expected: Some(expected) })
    }

    fn node(&mut self, event: Event<'t>, span: &Span, depth: usize) -> Result<Built, Problem> {
        let mark = self.mark(span);
        if depth > MAX_DEPTH {
            return Err(Problem {
                mark,
                message: "nested too deeply".into(),
                expected: Some(format!("at most {MAX_DEPTH} levels of nesting")),
            });
        }
        self.charge(1, mark, span.end.byte_offset().unwrap_or_else(|| span.end.index()))?;
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_string = tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
                let plain = style == ScalarStyle::Plain && !is_string;
                let value = if plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL") {
                    Value::Null
                } else {
                    Value::Scalar(Scalar { text: text.into_owned(), plain })
                };
                let mut cost = Cost::ONE;
                if let Value::Scalar(scalar) = &value {
                    cost.bytes = cost.bytes.saturating_add(scalar.text.len());
                }
                self.remember(anchor, Built { node: Node { mark, value }, cost, doubtful: false })
            }
            Event::SequenceStart(_, anchor, _) => self.sequence(mark, anchor, depth),
            Event::MappingStart(_, anchor, _) => self.mapping(mark, anchor, depth, None),
            Event::Alias(id) => self.alias(id, mark, span, depth),
            _ => Err(Problem {
                mark,
                message: "not readable as YAML: a value is missing".into(),
                expected: None,
            }),
        }
    }

    fn remember(&mut self, anchor: usize, built: Built) -> Result<Built, Problem> {
        if anchor != 0 {
            // The copies kept for later cost memory, too, and anchors can be nested.
            self.anchored.add(built.cost);
            if self.anchored.nodes > MAX_ANCHORED_NODES || self.anchored.bytes > MAX_OBJECT_BYTES {
                let message = "anchors hold too much".into();
                let expected = Some(format!("at most {MAX_ANCHORED_NODES} keys and values under anchors"));
                return Err(Problem { mark: built.node.mark, message, expected });
            }
            let Built { node, cost, doubtful } = &built;
            self.anchors.insert(anchor, Built { node: node.clone(), cost: *cost, doubtful: *doubtful });
        }
        Ok(built)
    }

    fn alias(&mut self, id: usize, mark: Mark, span: &Span, depth: usize) -> Result<Built, Problem> {
        let Some(Cost { bytes, nodes, height }) = self.anchors.get(&id).map(|anchored| anchored.cost) else {
            let message = "an alias inside the node it names".into();
            return Err(Problem { mark, message, expected: None });
        };
        self.expanded = self.expanded.saturating_add(bytes);
        let document = offset(span).saturating_sub(self.document_start).max(ALIAS_FLOOR_BYTES);
        if self.expanded > document.saturating_mul(MAX_ALIAS_EXPANSION) {
            let expected = format!("at most {MAX_ALIAS_EXPANSION} times the size of the document");
            let message = "aliases expand to too much".into();
            return Err(Problem { mark, message, expected: Some(expected) });
        }
        self.charge(nodes, mark, offset(span))?;
        if depth.saturating_add(height) > MAX_DEPTH {
            let expected = format!("at most {MAX_DEPTH} levels of nesting");
            return Err(Problem { mark, message: "nested too deeply".into(), expected: Some(expected) });
        }
        let anchored = self.anchors.get(&id);
        let doubtful = anchored.is_some_and(|anchored| anchored.doubtful);
        let value = anchored.map_or(Value::Null, |anchored| anchored.node.value.clone());
        // The alias is where the reader of a message has to look, so it lends its place to the root.
        Ok(Built { node: Node { mark, value }, cost: Cost { bytes, nodes, height }, doubtful })
    }

    fn sequence(&mut self, mark: Mark, anchor: usize, depth: usize) -> Result<Built, Problem> {
        let mut items = Vec::new();
        let mut cost = Cost::ONE;
        let mut doubtful = false;
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                break;
            }
            let built = self.node(event, &span, depth + 1)?;
            cost.add(built.cost);
            doubtful |= built.doubtful;
            items.push(built.node);
        }
        let node = Node { mark, value: Value::Sequence(items) };
        self.remember(anchor, Built { node, cost, doubtful })
    }

    /// Reads a mapping. `items` is given for the root of a document only: elements of the sequence under its
    /// `items` key go there one by one.
    fn mapping(
        &mut self,
        mark: Mark,
        anchor: usize,
        depth: usize,
        mut items: Option<&mut Sink<'_>>,
    ) -> Result<Built, Problem> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut keys = Keys::default();
        let mut merges = Vec::new();
        let mut repeated: HashSet<String> = HashSet::new();
        let mut cost = Cost::ONE;
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let is_merge = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<");
            let key = self.node(event, &span, depth + 1)?;
            let key_mark = key.node.mark;
            let is_key = matches!(key.node.value, Value::Scalar(_) | Value::Null);
            let name = match key.node.value {
                Value::Scalar(scalar) => scalar.text,
                Value::Null => "null".into(),
                Value::Sequence(_) | Value::Mapping(_) => {
                    self.problem(key_mark, "a key that is not a string".into(), None);
                    "?".into()
                }
            };
            let (event, span) = self.next()?;
            let value = match (&event, items.as_mut()) {
                (Event::SequenceStart(..), Some(sink)) if name == "items" => {
                    self.stream(&mut **sink, &entries, depth + 1)?;
                    let node = Node { mark: self.mark(&span), value: Value::Null };
                    Built { node, cost: Cost::ONE, doubtful: false }
                }
                _ => self.node(event, &span, depth + 1)?,
            };
            cost.add(key.cost);
            cost.add(value.cost);
            if is_merge {
                merges.push(value.node);
            } else if keys.add(&name, &entries) {
                let doubtful = value.doubtful || !is_key;
                entries.push(Entry { key: name, key_mark, value: value.node, doubtful });
            } else {
                let message = format!("the key {} is here twice", quoted(&name));
                self.problem(key_mark, message, Some("it once"));
                repeated.insert(name);
            }
        }
        if !repeated.is_empty() {
            for entry in entries.iter_mut().filter(|entry| repeated.contains(&entry.key)) {
                entry.doubtful = true;
            }
        }
        let mut sound = true;
        for merge in merges {
            sound &= self.merge(merge, &mut entries, &mut keys);
        }
        if !sound {
            // What was to come might have been any of them.
            for entry in &mut entries {
                entry.doubtful = true;
            }
        }
        let doubtful = !sound || entries.iter().any(|entry| entry.doubtful);
        let node = Node { mark, value: Value::Mapping(entries) };
        self.remember(anchor, Built { node, cost, doubtful })
    }

    /// Adds what a `<<` key brings; keys that are there already win. Whether it can bring something.
    fn merge(&mut self, merge: Node, entries: &mut Vec<Entry>, keys: &mut Keys) -> bool {
        let mut sound = true;
        let mark = merge.mark;
        let sources = match merge.value {
            Value::Sequence(sources) => sources,
            value => vec![Node { mark, value }],
        };
        for source in sources {
            let Value::Mapping(merged) = source.value else {
                self.problem(source.mark, "the merge key << takes mappings only".into(), None);
                sound = false;
                continue;
            };
            for entry in merged {
                if keys.add(&entry.key, entries) {
                    entries.push(entry);
                }
            }
        }
        sound
    }

    /// Hands out the items of what is probably a list, each with its own problems and its own bounds. `head`: what
    /// stands before the items.
    fn stream(&mut self, sink: &mut Sink<'_>, head: &[Entry], depth: usize) -> Result<(), Problem> {
        let said = |name: &str| {
            let entry = head.iter().find(|entry| entry.key == name)?;
            entry.value.text().map(str::to_owned)
        };
        sink(Piece::Items { kind: said("kind"), api_version: said("apiVersion") })?;
        let outer = std::mem::take(&mut self.problems);
        let outer_nodes = self.object_nodes;
        loop {
            let (event, span) = self.next()?;
            // What follows the items belongs to the list.
            self.begin_object(offset(&span));
            if event == Event::SequenceEnd {
                break;
            }
            let root = self.node(event, &span, depth + 1)?.node;
            let problems = std::mem::take(&mut self.problems);
            sink(Piece::Item(Tree { root, problems, nodes: self.object_nodes }))?;
        }
        self.problems = outer;
        self.object_nodes = outer_nodes;
        Ok(())
    }
}

/// The keys of a mapping, to find those that are there twice.
#[derive(Default)]
struct Keys {
    /// Of mappings that are not small.
    hashed: HashSet<String>,
}

impl Keys {
    /// Whether `key` is new among `entries`, which it will be added to.
    fn add(&mut self, key: &str, entries: &[Entry]) -> bool {
        if entries.len() < SMALL_MAPPING {
            return entries.iter().all(|entry| entry.key != key);
        }
        if self.hashed.is_empty() {
            self.hashed.extend(entries.iter().map(|entry| entry.key.clone()));
        }
        self.hashed.insert(key.to_owned())
    }
}
