//! Text to located trees: YAML (or JSON, which is YAML) by a parser's events, one object at a time.
//!
//! ```text
//!  text ─► reader (documents, items of lists) ─► values (scalars, sequences, aliases) ─┬─► Piece ─► api::document
//!                                                        mappings (keys, merge keys) ──┘
//! ```
//! Items of a `List` are handed out one by one, so that a list of 100,000 pods never stands in memory as one
//! tree. Bounds, each with a located error: [`MAX_DEPTH`] levels, [`MAX_OBJECT_BYTES`] of text and
//! [`MAX_OBJECT_NODES`] values per object, aliases included, and aliases that expand to at most
//! [`MAX_ALIAS_EXPANSION`] times their document. So the tree of an object takes some 30 MB at the very most. Keys are
//! unique (YAML 1.2, 3.2.1.1). Merge keys (`<<`) work as `kubectl` has them.

mod mapping;
mod reader;
mod value;

pub(crate) use reader::read;

/// Levels of nesting in a document. A policy needs some 10, a CustomResourceDefinition some 40.
pub(crate) const MAX_DEPTH: usize = 64;
/// Text of one object. etcd keeps no object beyond 1.5 MiB of JSON; indented it may be more than twice that.
pub(crate) const MAX_OBJECT_BYTES: usize = 4 << 20;
/// Keys and values of one object. 1.5 MiB of the shortest ipBlocks that JSON can say are some 220,000.
pub(crate) const MAX_OBJECT_NODES: usize = 250_000;
/// Bytes that aliases stand for, over the bytes of the document.
pub(crate) const MAX_ALIAS_EXPANSION: usize = 10;

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

/// Where the pieces go. An item that it refuses breaks the document; a document, or the report that one is broken,
/// that it refuses ends the reading, and the reason is reported in the same way.
pub(crate) type Sink<'s> = dyn FnMut(Piece) -> Result<(), Problem> + 's;
