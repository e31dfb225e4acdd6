//! Calico's selector language: boolean expressions over labels, as text and as a tree.
//!
//! ```text
//!  selector = and { "||" and }          and = not { "&&" not }          not = { "!" } term
//!  term     = label ( "==" | "!=" ) string          | label ( "in" | "not in" ) "{" [ string { "," string } ] "}"
//!           | label ( "contains" | "starts with" | "ends with" ) string
//!           | "has(" label ")" | "all()" | "(" selector ")"
//! ```
//! `&&` binds tighter than `||`. A test of a label that is not there is false, so `!=` and `not in`, which are negated
//! tests, hold then. Strings stand in `'` or `"` and know no escapes; spaces and tabs separate, line breaks do not.
//! Cost of reading is linear in the text; nesting is bounded by [`MAX_DEPTH`].

mod lexer;
mod parser;

use std::fmt;

/// Levels of parentheses.
pub(crate) const MAX_DEPTH: usize = 32;

/// What is asked of a label, or of another attribute, that is there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LabelTest {
    /// Nothing more.
    Exists,
    /// It is one of these.
    In(Vec<String>),
    /// It contains this.
    Contains(String),
    /// It starts with this.
    StartsWith(String),
    /// It ends with this.
    EndsWith(String),
}

impl LabelTest {
    /// Whether the value passes.
    pub fn holds(&self, value: &str) -> bool {
        match self {
            Self::Exists => true,
            Self::In(values) => values.iter().any(|one| one == value),
            Self::Contains(part) => value.contains(part.as_str()),
            Self::StartsWith(part) => value.starts_with(part.as_str()),
            Self::EndsWith(part) => value.ends_with(part.as_str()),
        }
    }
}

/// A selector.
///
/// ```
/// use policy_compiler::api::CalicoSelector;
///
/// let Ok(selector) = CalicoSelector::parse("app in {'web', 'api'} && !has(canary)") else { panic!("it is one") };
/// assert!(selector.matches(&|label| (label == "app").then_some("api")));
/// assert!(!selector.matches(&|_| None));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CalicoSelector {
    /// `all()`, or an empty text.
    All,
    /// The label is there and passes.
    Label(String, LabelTest),
    /// The part does not hold.
    Not(Box<CalicoSelector>),
    /// All parts hold.
    And(Vec<CalicoSelector>),
    /// Some part holds.
    Or(Vec<CalicoSelector>),
}

impl CalicoSelector {
    /// Reads a selector.
    ///
    /// # Errors
    /// The first character that cannot be read, and why.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        parser::parse(text)
    }

    /// Whether it holds of something whose labels `label` knows.
    pub fn matches<'l>(&self, label: &impl Fn(&str) -> Option<&'l str>) -> bool {
        match self {
            Self::All => true,
            Self::Label(key, test) => label(key).is_some_and(|value| test.holds(value)),
            Self::Not(part) => !part.matches(label),
            Self::And(parts) => parts.iter().all(|part| part.matches(label)),
            Self::Or(parts) => parts.iter().any(|part| part.matches(label)),
        }
    }

    /// What it comes to where only some tests of labels are `known` beforehand, if that is certain.
    pub(crate) fn certainly(&self, known: &impl Fn(&str, &LabelTest) -> Option<bool>) -> Option<bool> {
        match self {
            Self::All => Some(true),
            Self::Label(key, test) => known(key, test),
            Self::Not(part) => part.certainly(known).map(|holds| !holds),
            Self::And(parts) => decided(parts.iter().map(|part| part.certainly(known)), false),
            Self::Or(parts) => decided(parts.iter().map(|part| part.certainly(known)), true),
        }
    }
}

/// `ending` as soon as one part is certain to be that; its opposite if all are certain to be that.
fn decided(parts: impl Iterator<Item = Option<bool>>, ending: bool) -> Option<bool> {
    let mut all_certain = true;
    for part in parts {
        match part {
            Some(holds) if holds == ending => return Some(ending),
            Some(_) => {}
            None => all_certain = false,
        }
    }
    all_certain.then_some(!ending)
}

/// The `namespaceSelector` of a rule's end.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CalicoNamespaces {
    /// `global()`: what is in no namespace.
    Global,
    /// What is in a namespace of which this holds.
    Matching(CalicoSelector),
}

impl CalicoNamespaces {
    /// Reads a selector that may also be `global()`.
    ///
    /// # Errors
    /// As [`CalicoSelector::parse`].
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let tokens = lexer::tokens(text)?;
        match &tokens[..] {
            [only] if only.kind == lexer::Kind::Global => Ok(Self::Global),
            _ => CalicoSelector::parse(text).map(Self::Matching),
        }
    }
}

/// Why a text is no selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectorError {
    /// Which character, counted from 0; the length of the text where more was expected.
    pub at: usize,
    /// What is wrong there.
    pub message: String,
    /// What was expected instead.
    pub expected: String,
}

impl fmt::Display for SelectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at column {}: expected {}", self.message, self.at.saturating_add(1), self.expected)
    }
}

impl std::error::Error for SelectorError {}

#[cfg(test)]
mod tests;
