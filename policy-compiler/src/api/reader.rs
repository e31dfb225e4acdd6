//! Reads typed values out of a located tree, keeps track of the field path, and collects every problem.
//!
//! A reader belongs to one object. Accessors report what is wrong and return `None`; the caller goes on with
//! what else there is to read, so that one run shows all problems.

use super::diagnostic::{Diagnostic, Origin, Provenance, Severity};
use super::object::ObjectKey;
use super::tree::{Entry, Mark, Node, Scalar, Value};
use std::fmt::Write;
use std::sync::Arc;

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
}

impl<'t> Reader<'t> {
    pub(crate) fn new(file: &Arc<str>) -> Self {
        Self { file: Arc::clone(file), object: None, path: Vec::new(), diagnostics: Vec::new() }
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
        diagnostics
    }

    /// Errors so far. Compared before and after, it tells whether a part could be read.
    pub(crate) fn error_count(&self) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count()
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
            let is_plain = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            // Writing to a string does not fail.
            let _ = match segment {
                Segment::Index(index) => write!(path, "[{index}]"),
                Segment::Field(name) if is_plain(name) && path.is_empty() => write!(path, "{name}"),
                Segment::Field(name) if is_plain(name) => write!(path, ".{name}"),
                Segment::Field(name) => write!(path, "[{name:?}]"),
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
            let help = closest(&entry.key, known).map(|name| format!("did you mean \"{name}\"?"));
            let expected = format!("one of {}", known.join(", "));
            self.within(&entry.key, |reader| {
                reader.report(Severity::Error, entry.key_mark, "unknown field".into(), Some(&expected), help);
            });
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
                let message = format!("{} is {}, not a string", scalar.text, describe(&node.value));
                self.error(node.mark, message, &format!("\"{}\", in quotes", scalar.text));
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

/// A plain scalar's number, in decimal. A leading zero would be octal to kubectl, so it is refused.
pub(crate) fn as_integer(scalar: &Scalar) -> Option<i64> {
    let octal = scalar.text.len() > 1 && scalar.text.starts_with('0');
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

/// The known word a typo most probably meant.
pub(crate) fn closest<'k>(typo: &str, known: &[&'k str]) -> Option<&'k str> {
    // The distance is quadratic; a hostile key is long and no typo.
    if typo.len() > 64 {
        return None;
    }
    known
        .iter()
        .map(|&word| (distance(&typo.to_ascii_lowercase(), &word.to_ascii_lowercase()), word))
        .filter(|&(distance, word)| distance <= word.len().div_ceil(3).min(3))
        .min()
        .map(|(_, word)| word)
}

/// Levenshtein's, with a swap of neighbours as one step.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, &left) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &right) in b.iter().enumerate() {
            let mut best = (above[j] + usize::from(left != right)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && left == b[j - 1] && a[i - 1] == right {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::{closest, is_number};

    #[test]
    fn a_typo_finds_its_word() {
        let known = ["podSelector", "namespaceSelector", "ipBlock"];
        assert_eq!(closest("podselector", &known), Some("podSelector"));
        assert_eq!(closest("ipblokc", &known), Some("ipBlock"));
        assert_eq!(closest("unrelated", &known), None);
        assert_eq!(closest(&"x".repeat(100_000), &known), None);
    }

    #[test]
    fn addresses_are_no_numbers() {
        assert!(is_number("80") && is_number("1.5") && is_number("0x50") && is_number("-3"));
        assert!(!is_number("10.0.0.1") && !is_number("1.2.3") && !is_number("web") && !is_number("0xyz"));
    }
}
