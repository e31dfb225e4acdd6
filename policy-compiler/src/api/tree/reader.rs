//! Documents of a text, and the items of those that are lists, one by one; what is behind a broken one is read all the
//! same.

use super::value::{Built, Cost};
use super::{Entry, MAX_DEPTH, Mark, Piece, Problem, Sink, Tree};
use granit_parser::{ErrorKind, Event, Parser, Span, StrInput};
use std::collections::HashMap;

/// Problems reported per document; a hostile one could hold a million.
const MAX_PROBLEMS: usize = 100;

/// A text being read.
pub(super) struct TreeReader<'t> {
    pub(super) text: &'t str,
    pub(super) parser: Parser<'t, StrInput<'t>>,
    /// Where in the text the parser began.
    pub(super) base: usize,
    /// Lines before that.
    pub(super) base_line: usize,
    /// Where the last event began.
    pub(super) last: usize,
    pub(super) anchors: HashMap<usize, Built>,
    /// What the anchors keep.
    pub(super) anchored: Cost,
    pub(super) problems: Vec<Problem>,
    pub(super) document_start: usize,
    pub(super) object_start: usize,
    pub(super) object_nodes: usize,
    /// Bytes that the document's aliases stand for.
    pub(super) expanded: usize,
}

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

pub(super) fn offset(span: &Span) -> usize {
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
    pub(super) fn next(&mut self) -> Result<(Event<'t>, Span), Problem> {
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

    pub(super) fn mark(&self, span: &Span) -> Mark {
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

    pub(super) fn problem(&mut self, mark: Mark, message: String, expected: Option<&str>) {
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

    /// Hands out the items of what is probably a list, each with its own problems and its own bounds. `head`: what
    /// stands before the items.
    pub(super) fn stream(
        &mut self,
        sink: &mut Sink<'_>,
        head: &[Entry],
        depth: usize,
    ) -> Result<(), Problem> {
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
