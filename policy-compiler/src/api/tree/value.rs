//! Values of any kind, as far as one object may hold them, and what anchors keep of them for aliases.

use super::reader::{TreeReader, offset};
use super::{
    MAX_ALIAS_EXPANSION, MAX_DEPTH, MAX_OBJECT_BYTES, MAX_OBJECT_NODES, Mark, Node, Problem, Scalar, Value,
};
use granit_parser::{Event, ScalarStyle, Span};

/// Keys and values kept for aliases of a document, those of nested anchors counted again.
const MAX_ANCHORED_NODES: usize = 50_000;
/// Documents smaller than this may expand as if they had this size.
const ALIAS_FLOOR_BYTES: usize = 1024;

/// What a node costs to repeat.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cost {
    /// Bytes of text, about.
    pub(super) bytes: usize,
    /// Keys and values.
    pub(super) nodes: usize,
    /// Levels below it.
    pub(super) height: usize,
}

impl Cost {
    pub(super) const ONE: Self = Self { bytes: 4, nodes: 1, height: 0 };

    /// Adds the cost of a child.
    pub(super) fn add(&mut self, child: Self) {
        self.bytes = self.bytes.saturating_add(child.bytes);
        self.nodes = self.nodes.saturating_add(child.nodes);
        self.height = self.height.max(child.height.saturating_add(1));
    }
}

/// A node with its cost.
pub(super) struct Built {
    pub(super) node: Node,
    pub(super) cost: Cost,
    /// As [`Entry::doubtful`]; it stays with what an anchor keeps.
    pub(super) doubtful: bool,
}

impl<'t> TreeReader<'t> {
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

    pub(super) fn node(&mut self, event: Event<'t>, span: &Span, depth: usize) -> Result<Built, Problem> {
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

    pub(super) fn remember(&mut self, anchor: usize, built: Built) -> Result<Built, Problem> {
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
}
