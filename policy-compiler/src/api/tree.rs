//! Text to located trees: YAML (or JSON, which is YAML) by a parser's events, one object at a time.
//!
//! Items of a `List` are handed out one by one, so that a list of 100,000 pods never stands in memory as one
//! tree. Bounds, each with a located error: [`MAX_DEPTH`] levels, [`MAX_OBJECT_BYTES`] of text per object,
//! aliases that expand to at most [`MAX_ALIAS_EXPANSION`] times their document. Keys are unique (YAML 1.2,
//! 3.2.1.1). Merge keys (`<<`) work as `kubectl` has them.

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, Span, StrInput};
use std::collections::{HashMap, HashSet};

/// Levels of nesting in a document.
pub(crate) const MAX_DEPTH: usize = 64;
/// Text of one object.
pub(crate) const MAX_OBJECT_BYTES: usize = 2 << 20;
/// Bytes that aliases stand for, over the bytes of the document.
pub(crate) const MAX_ALIAS_EXPANSION: usize = 10;
/// Documents smaller than this may expand as if they had this size.
const ALIAS_FLOOR_BYTES: usize = 1024;
/// Problems reported per document; a hostile one could hold a million.
const MAX_PROBLEMS: usize = 100;

/// Line and column, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl Mark {
    fn new(line: usize, column_from_0: usize) -> Self {
        Self {
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(column_from_0).unwrap_or(u32::MAX).saturating_add(1),
        }
    }

    fn of(span: &Span) -> Self {
        Self::new(span.start.line(), span.start.col())
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
}

/// What the reader hands out.
#[derive(Debug)]
pub(crate) enum Piece {
    /// An item of the list that the current document may turn out to be.
    Item(Tree),
    /// The end of a document: its own tree (without items that were handed out), if it was readable.
    Document(Tree),
    /// A document that had to be given up, and why.
    Broken(Problem),
}

/// An anchored node with what it costs to repeat it.
struct Anchored {
    node: Node,
    weight: usize,
    height: usize,
}

/// A node with its cost.
struct Built {
    node: Node,
    weight: usize,
    height: usize,
}

struct TreeReader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    anchors: HashMap<usize, Anchored>,
    problems: Vec<Problem>,
    document_start: usize,
    object_start: usize,
    expanded: usize,
    last: Mark,
}

/// Reads all documents of a text.
pub(crate) fn read(text: &str, sink: &mut dyn FnMut(Piece)) {
    let options = granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut reader = TreeReader {
        parser: Parser::new_from_str_with_options(text, options),
        anchors: HashMap::new(),
        problems: Vec::new(),
        document_start: 0,
        object_start: 0,
        expanded: 0,
        last: Mark { line: 1, column: 1 },
    };
    loop {
        let broken = match reader.next() {
            Ok((Event::StreamEnd, _)) => return,
            Ok((Event::DocumentStart(..), span)) => {
                reader.begin_document(offset(&span));
                match reader.document(sink) {
                    Ok(tree) => {
                        sink(Piece::Document(tree));
                        continue;
                    }
                    Err(problem) => problem,
                }
            }
            Ok(_) => continue,
            Err(problem) => problem,
        };
        sink(Piece::Broken(broken));
        // A scanner that cannot find the next document has nothing more to say.
        if !reader.parser.proceed_next_document().unwrap_or(false) {
            return;
        }
    }
}

fn offset(span: &Span) -> usize {
    span.start.byte_offset().unwrap_or_else(|| span.start.index())
}

impl<'t> TreeReader<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Span), Problem> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => {
                self.last = Mark::of(&span);
                Ok((event, span))
            }
            None => Ok((Event::StreamEnd, Span::default())),
            Some(Err(error)) => {
                let marker = error.marker();
                let expected = matches!(error.kind(), ErrorKind::RecursionLimitExceeded)
                    .then(|| format!("at most {MAX_DEPTH} levels of nesting"));
                let message = format!("not readable as YAML: {}", error.info());
                Err(Problem { mark: Mark::new(marker.line(), marker.col()), message, expected })
            }
        }
    }

    fn begin_document(&mut self, at: usize) {
        self.anchors.clear();
        self.problems.clear();
        self.document_start = at;
        self.object_start = at;
        self.expanded = 0;
    }

    fn problem(&mut self, mark: Mark, message: String, expected: Option<&str>) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem { mark, message, expected: expected.map(str::to_owned) });
        }
    }

    fn document(&mut self, sink: &mut dyn FnMut(Piece)) -> Result<Tree, Problem> {
        let (event, span) = self.next()?;
        let root = if let Event::MappingStart(_, anchor, _) = event {
            self.mapping(Mark::of(&span), anchor, 1, Some(sink))?.node
        } else {
            self.node(event, &span, 1)?.node
        };
        Ok(Tree { root, problems: std::mem::take(&mut self.problems) })
    }

    fn node(&mut self, event: Event<'t>, span: &Span, depth: usize) -> Result<Built, Problem> {
        let mark = Mark::of(span);
        if depth > MAX_DEPTH {
            return Err(Problem {
                mark,
                message: "nested too deeply".into(),
                expected: Some(format!("at most {MAX_DEPTH} levels of nesting")),
            });
        }
        if offset(span).saturating_sub(self.object_start) > MAX_OBJECT_BYTES {
            return Err(Problem {
                mark,
                message: "the object is too large".into(),
                expected: Some(format!("at most {} MiB of text per object", MAX_OBJECT_BYTES >> 20)),
            });
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_string = tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
                let plain = style == ScalarStyle::Plain && !is_string;
                let value = if plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL") {
                    Value::Null
                } else {
                    Value::Scalar(Scalar { text: text.into_owned(), plain })
                };
                let weight = 4 + if let Value::Scalar(scalar) = &value { scalar.text.len() } else { 0 };
                Ok(self.remember(anchor, Built { node: Node { mark, value }, weight, height: 0 }))
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

    fn remember(&mut self, anchor: usize, built: Built) -> Built {
        if anchor != 0 {
            let Built { node, weight, height } = &built;
            let anchored = Anchored { node: node.clone(), weight: *weight, height: *height };
            self.anchors.insert(anchor, anchored);
            // The copy kept for later costs as much as one use.
            self.expanded = self.expanded.saturating_add(built.weight);
        }
        built
    }

    fn alias(&mut self, id: usize, mark: Mark, span: &Span, depth: usize) -> Result<Built, Problem> {
        let Some(anchored) = self.anchors.get(&id) else {
            let message = "an alias inside the node it names".into();
            return Err(Problem { mark, message, expected: None });
        };
        self.expanded = self.expanded.saturating_add(anchored.weight);
        let document = offset(span).saturating_sub(self.document_start).max(ALIAS_FLOOR_BYTES);
        if self.expanded > document.saturating_mul(MAX_ALIAS_EXPANSION) {
            let expected = format!("at most {MAX_ALIAS_EXPANSION} times the size of the document");
            let message = "aliases expand to too much".into();
            return Err(Problem { mark, message, expected: Some(expected) });
        }
        if depth.saturating_add(anchored.height) > MAX_DEPTH {
            let expected = format!("at most {MAX_DEPTH} levels of nesting");
            return Err(Problem { mark, message: "nested too deeply".into(), expected: Some(expected) });
        }
        // The alias is where the reader of a message has to look, so it lends its place to the root.
        let node = Node { mark, value: anchored.node.value.clone() };
        Ok(Built { node, weight: anchored.weight, height: anchored.height })
    }

    fn sequence(&mut self, mark: Mark, anchor: usize, depth: usize) -> Result<Built, Problem> {
        let mut items = Vec::new();
        let (mut weight, mut height) = (4_usize, 0);
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                break;
            }
            let built = self.node(event, &span, depth + 1)?;
            weight = weight.saturating_add(built.weight);
            height = height.max(built.height + 1);
            items.push(built.node);
        }
        let node = Node { mark, value: Value::Sequence(items) };
        Ok(self.remember(anchor, Built { node, weight, height }))
    }

    /// Reads a mapping. `items` is given for the root of a document only: elements of the sequence under its
    /// `items` key go there one by one.
    fn mapping(
        &mut self,
        mark: Mark,
        anchor: usize,
        depth: usize,
        mut items: Option<&mut dyn FnMut(Piece)>,
    ) -> Result<Built, Problem> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut keys: HashSet<String> = HashSet::new();
        let mut merges = Vec::new();
        let (mut weight, mut height) = (4_usize, 0);
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let is_merge = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<");
            let key = self.node(event, &span, depth + 1)?;
            let key_mark = key.node.mark;
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
                    self.stream(&mut **sink, depth + 1)?;
                    Built { node: Node { mark: Mark::of(&span), value: Value::Null }, weight: 0, height: 0 }
                }
                _ => self.node(event, &span, depth + 1)?,
            };
            weight = weight.saturating_add(value.weight).saturating_add(name.len());
            height = height.max(value.height + 1);
            if is_merge {
                merges.push(value.node);
            } else if keys.insert(name.clone()) {
                entries.push(Entry { key: name, key_mark, value: value.node });
            } else {
                self.problem(key_mark, format!("the key {name:?} is here twice"), Some("it once"));
            }
        }
        for merge in merges {
            self.merge(merge, &mut entries, &mut keys);
        }
        let node = Node { mark, value: Value::Mapping(entries) };
        Ok(self.remember(anchor, Built { node, weight, height }))
    }

    /// Adds what a `<<` key brings; keys that are there already win.
    fn merge(&mut self, merge: Node, entries: &mut Vec<Entry>, keys: &mut HashSet<String>) {
        let mark = merge.mark;
        let sources = match merge.value {
            Value::Sequence(sources) => sources,
            value => vec![Node { mark, value }],
        };
        for source in sources {
            let Value::Mapping(merged) = source.value else {
                self.problem(source.mark, "the merge key << takes mappings only".into(), None);
                continue;
            };
            for entry in merged {
                if keys.insert(entry.key.clone()) {
                    entries.push(entry);
                }
            }
        }
    }

    /// Hands out the items of what is probably a list, each with its own problems and its own size bound.
    fn stream(&mut self, sink: &mut dyn FnMut(Piece), depth: usize) -> Result<(), Problem> {
        let outer = std::mem::take(&mut self.problems);
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                break;
            }
            self.object_start = offset(&span);
            let root = self.node(event, &span, depth + 1)?.node;
            sink(Piece::Item(Tree { root, problems: std::mem::take(&mut self.problems) }));
        }
        self.problems = outer;
        Ok(())
    }
}
