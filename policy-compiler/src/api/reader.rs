//! Reads typed values out of a located tree, keeps track of the field path, and collects every problem.
//!
//! A reader belongs to one object. Accessors report what is wrong and return `None`; the caller goes on with
//! what else there is to read, so that one run shows all problems.

use super::diagnostic::{Diagnostic, Origin, Provenance, Severity};
use super::object::ObjectKey;
use super::tree::{Entry, Mark, Node, Scalar, Value};
use super::words::{listed, quoted, shortened};
use std::fmt::Write;
use std::sync::Arc;

pub(crate) use super::words::closest;

/// Problems kept of one object, of each severity: nobody mends more at a time, and a hostile object can hold one in
/// every few bytes. How many more there are is said, and the object counts as wrong all the same.
const MAX_PROBLEMS: usize = 50;

/// Longest name of a field that a path shows as it is; no API has a longer one.
const MAX_PLAIN_NAME: usize = 63;

/// One step of a field path.
#[derive(Debug, Clone, Copy)]
enum Segment<'t> {
    Field(&'t str),
    Index(usize),
}

#[derive(Debug)]
pub(crate) struct Reader<'t> {
    file: Arc<str>,
    object: Option<ObjectKey>,
    path: Vec<Segment<'t>>,
    diagnostics: Vec<Diagnostic>,
    /// Reported so far, those beyond [`MAX_PROBLEMS`] included.
    errors: usize,
    warnings: usize,
}

impl<'t> Reader<'t> {
    pub(crate) fn new(file: &Arc<str>) -> Self {
        Self {
            file: Arc::clone(file),
            object: None,
            path: Vec::new(),
            diagnostics: Vec::new(),
            errors: 0,
            warnings: 0,
        }
    }

    /// From here on, problems name this object; those so far are given its name too.
    pub(crate) fn set_object(&mut self, object: ObjectKey) {
        for diagnostic in &mut self.diagnostics {
            diagnostic.object = Some(object.clone());
        }
        self.object = Some(object);
    }

    /// All problems, in the order they stand in the text.
    pub(crate) fn into_diagnostics(self) -> Vec<Diagnostic> {
        let mut diagnostics = self.diagnostics;
        diagnostics.sort_by_key(|diagnostic| (diagnostic.origin.line, diagnostic.origin.column));
        let left_out = self.errors.saturating_sub(MAX_PROBLEMS) + self.warnings.saturating_sub(MAX_PROBLEMS);
        if let Some(last) = diagnostics.last().filter(|_| left_out > 0) {
            let more = if left_out == 1 { "problem" } else { "problems" };
            let severity = if self.errors > MAX_PROBLEMS { Severity::Error } else { Severity::Warning };
            diagnostics.push(Diagnostic {
                severity,
                origin: last.origin.clone(),
                object: self.object,
                field: String::new(),
                message: format!("{left_out} more {more} like these in this object"),
                expected: None,
                help: None,
            });
        }
        diagnostics
    }

    /// Errors so far. Compared before and after, it tells whether a part could be read.
    pub(crate) fn error_count(&self) -> usize {
        self.errors
    }

    pub(crate) fn origin(&self, mark: Mark) -> Origin {
        Origin { file: Arc::clone(&self.file), line: mark.line, column: mark.column }
    }

    /// Where we are.
    pub(crate) fn provenance(&self, mark: Mark) -> Provenance {
        Provenance { origin: self.origin(mark), field: self.field_path() }
    }

    fn field_path(&self) -> String {
        let mut path = String::new();
        for segment in &self.path {
            let is_plain = |name: &str| {
                name.len() <= MAX_PLAIN_NAME && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            };
            // Writing to a string does not fail.
            let _ = match segment {
                Segment::Index(index) => write!(path, "[{index}]"),
                Segment::Field(name) if is_plain(name) && path.is_empty() => write!(path, "{name}"),
                Segment::Field(name) if is_plain(name) => write!(path, ".{name}"),
                Segment::Field(name) => write!(path, "[{}]", quoted(name)),
            };
        }
        path
    }

    fn report(
        &mut self,
        severity: Severity,
        mark: Mark,
        message: String,
        expected: Option<&str>,
        help: Option<String>,
    ) {
        let count = if severity == Severity::Error { &mut self.errors } else { &mut self.warnings };
        *count = count.saturating_add(1);
        if *count > MAX_PROBLEMS {
            return;
        }
        let diagnostic = Diagnostic {
            severity,
            origin: self.origin(mark),
            object: self.object.clone(),
            field: self.field_path(),
            message,
            expected: expected.map(str::to_owned),
            help,
        };
        self.diagnostics.push(diagnostic);
    }

    pub(crate) fn error(&mut self, mark: Mark, message: impl Into<String>, expected: &str) {
        let expected = (!expected.is_empty()).then_some(expected);
        self.report(Severity::Error, mark, message.into(), expected, None);
    }

    pub(crate) fn warning(&mut self, mark: Mark, message: impl Into<String>, expected: &str) {
        let expected = (!expected.is_empty()).then_some(expected);
        self.report(Severity::Warning, mark, message.into(), expected, None);
    }

    /// An error with a remedy that is more than writing what was expected.
    pub(crate) fn error_with_help(
        &mut self,
        mark: Mark,
        message: impl Into<String>,
        expected: &str,
        help: impl Into<String>,
    ) {
        let expected = (!expected.is_empty()).then_some(expected);
        self.report(Severity::Error, mark, message.into(), expected, Some(help.into()));
    }

    /// The error of a word that is none of `known`, with the one that was probably meant. `what`: "an operator".
    pub(crate) fn unknown_word(&mut self, mark: Mark, word: &str, what: &str, known: &[&str]) {
        let message = format!("{} is not {what}", quoted(word));
        self.misspelled_word(mark, (word, known), message, &listed(known));
    }

    /// An error about a word that may have been meant to be one of `known`, where others would do as well.
    pub(crate) fn misspelled_word(
        &mut self,
        mark: Mark,
        (word, known): (&str, &[&str]),
        message: String,
        expected: &str,
    ) {
        let help = closest(word, known).map(|meant| format!("did you mean {meant:?}?"));
        self.report(Severity::Error, mark, message, Some(expected), help);
    }

    /// Reads the rules of a section with `read`: what each says, if that could be read, and where it stands. A section that
    /// is no list is one rule that could not be read.
    pub(crate) fn rules<B>(
        &mut self,
        node: &'t Node,
        mut read: impl FnMut(&mut Self, &'t Node) -> Option<B>,
    ) -> Vec<(Option<B>, Provenance)> {
        if self.sequence(node).is_none() {
            return vec![(None, self.provenance(node.mark))];
        }
        let mut rules = Vec::new();
        self.each(node, |reader, node| rules.push((read(reader, node), reader.provenance(node.mark))));
        rules
    }

    /// Reads a field of a mapping with `read`, if it is there and not null.
    pub(crate) fn field<R>(
        &mut self,
        entries: &'t [Entry],
        name: &'static str,
        read: impl FnOnce(&mut Self, &'t Node) -> R,
    ) -> Option<R> {
        let entry = entries.iter().find(|entry| entry.key == name)?;
        if entry.value.value == Value::Null {
            return None;
        }
        Some(self.within(&entry.key, |reader| read(reader, &entry.value)))
    }

    /// Does something one step down the path.
    pub(crate) fn within<R>(&mut self, name: &'t str, read: impl FnOnce(&mut Self) -> R) -> R {
        self.path.push(Segment::Field(name));
        let result = read(self);
        self.path.pop();
        result
    }

    /// Reads every element of a list; nothing if it is none.
    pub(crate) fn each(&mut self, node: &'t Node, mut read: impl FnMut(&mut Self, &'t Node)) {
        let Some(items) = self.sequence(node) else { return };
        for (index, item) in items.iter().enumerate() {
            self.path.push(Segment::Index(index));
            read(self, item);
            self.path.pop();
        }
    }

    /// Reports every field that is not one of `known`.
    pub(crate) fn refuse_unknown(&mut self, entries: &'t [Entry], known: &[&str]) {
        for entry in entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            let help = closest(&entry.key, known).map(|name| format!("did you mean {name:?}?"));
            let expected = format!("one of {}", known.join(", "));
            self.within(&entry.key, |reader| {
                reader.report(Severity::Error, entry.key_mark, "unknown field".into(), Some(&expected), help);
            });
        }
    }

    /// Reports every field that is most probably a misspelled one of `read`, where other fields than those weir reads
    /// are nothing to remark on. `others`: fields of the object that weir does not read and that look alike.
    pub(crate) fn refuse_misspelled(&mut self, entries: &'t [Entry], read: &[&str], others: &[&str]) {
        for entry in entries {
            let name = entry.key.as_str();
            if read.contains(&name) || others.contains(&name) {
                continue;
            }
            let Some(meant) = closest(name, read) else { continue };
            let help = format!("did you mean {meant:?}?");
            self.within(name, |reader| reader.error_with_help(entry.key_mark, "unknown field", "", help));
        }
    }

    pub(crate) fn mapping(&mut self, node: &'t Node) -> Option<&'t [Entry]> {
        match &node.value {
            Value::Mapping(entries) => Some(entries),
            other => {
                self.error(node.mark, format!("{} instead of a mapping", describe(other)), "");
                None
            }
        }
    }

    pub(crate) fn sequence(&mut self, node: &'t Node) -> Option<&'t [Node]> {
        match &node.value {
            Value::Sequence(items) => Some(items),
            other => {
                self.error(node.mark, format!("{} instead of a list", describe(other)), "");
                None
            }
        }
    }

    pub(crate) fn string(&mut self, node: &'t Node) -> Option<&'t str> {
        match &node.value {
            Value::Scalar(scalar) if !is_other_type(scalar) => Some(&scalar.text),
            Value::Scalar(scalar) => {
                let text = shortened(&scalar.text);
                let message = format!("{text} is {}, not a string", describe(&node.value));
                self.error(node.mark, message, &format!("\"{text}\", in quotes"));
                None
            }
            other => {
                self.error(node.mark, format!("{} instead of a string", describe(other)), "");
                None
            }
        }
    }

    pub(crate) fn boolean(&mut self, node: &'t Node) -> Option<bool> {
        if let Value::Scalar(Scalar { text, plain: true }) = &node.value
            && let Some(value) = as_boolean(text)
        {
            return Some(value);
        }
        self.error(node.mark, format!("{} instead of a boolean", describe(&node.value)), "true or false");
        None
    }
}

/// A plain scalar's number, in decimal. A leading zero, after a sign too, would be octal to kubectl, so it is refused.
pub(crate) fn as_integer(scalar: &Scalar) -> Option<i64> {
    let digits = scalar.text.strip_prefix(['-', '+']).unwrap_or(&scalar.text);
    let octal = digits.len() > 1 && digits.starts_with('0');
    if !scalar.plain || octal { None } else { scalar.text.parse().ok() }
}

fn as_boolean(text: &str) -> Option<bool> {
    // kubectl reads YAML 1.1, where these are booleans.
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => Some(true),
        "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && (digits.parse::<f64>().is_ok()
            || ["0x", "0o", "0b"].iter().any(|prefix| {
                digits.strip_prefix(prefix).is_some_and(|rest| rest.chars().all(|c| c.is_ascii_hexdigit()))
            }))
}

fn is_other_type(scalar: &Scalar) -> bool {
    scalar.plain && (as_boolean(&scalar.text).is_some() || is_number(&scalar.text))
}

fn describe(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Scalar(scalar) if scalar.plain && as_boolean(&scalar.text).is_some() => "a boolean",
        Value::Scalar(scalar) if scalar.plain && is_number(&scalar.text) => "a number",
        Value::Scalar(_) => "a string",
        Value::Sequence(_) => "a list",
        Value::Mapping(_) => "a mapping",
    }
}

#[cfg(test)]
mod tests {
    use super::{Reader, as_integer, is_number};
    use crate::api::tree::{Mark, Scalar};
    use std::sync::Arc;

    #[test]
    fn a_hostile_key_is_cut_short_in_the_path_of_a_field() {
        let mut reader = Reader::new(&Arc::from("f"));
        let key = "x".repeat(100_000);
        let path = reader.within(&key, |reader| reader.provenance(Mark { line: 1, column: 1 }).field);
        assert_eq!(path, format!("[\"{}\"…]", "x".repeat(80)));
    }

    #[test]
    fn a_number_that_kubectl_reads_in_octal_is_none_here() {
        let read = |text: &str| as_integer(&Scalar { text: text.to_owned(), plain: true });
        assert_eq!((read("0"), read("80"), read("-8"), read("+8")), (Some(0), Some(80), Some(-8), Some(8)));
        assert_eq!([read("010"), read("+010"), read("-010"), read("00")], [None; 4]);
    }

    #[test]
    fn addresses_are_no_numbers() {
        assert!(is_number("80") && is_number("1.5") && is_number("0x50") && is_number("-3"));
        assert!(!is_number("10.0.0.1") && !is_number("1.2.3") && !is_number("web") && !is_number("0xyz"));
    }
}
