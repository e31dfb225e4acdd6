//! From the words of a selector to its tree, by recursive descent of bounded depth.

use super::lexer::{Kind, Token, tokens};
use super::{CalicoSelector, LabelTest, MAX_DEPTH, SelectorError};
use crate::api::words::{quoted, shortened};

struct Parser<'s> {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token<'s>>>,
    /// Where the text ends, in characters.
    end: usize,
}

pub(super) fn parse(text: &str) -> Result<CalicoSelector, SelectorError> {
    let mut parser = Parser { tokens: tokens(text)?.into_iter().peekable(), end: text.chars().count() };
    if parser.tokens.peek().is_none() {
        return Ok(CalicoSelector::All);
    }
    let selector = parser.alternatives(0)?;
    match parser.tokens.next() {
        None => Ok(selector),
        Some(token) => Err(error(token.at, unexpected(token.kind), "\"&&\", \"||\" or the end")),
    }
}

fn error(at: usize, message: impl Into<String>, expected: impl Into<String>) -> SelectorError {
    SelectorError { at, message: message.into(), expected: expected.into() }
}

fn unexpected(kind: Kind<'_>) -> String {
    format!("unexpected {}", shown(kind))
}

fn shown(kind: Kind<'_>) -> String {
    let sign = match kind {
        Kind::Label(label) => return format!("label {}", quoted(label)),
        Kind::Text(text) => return format!("string {}", quoted(text)),
        Kind::Has(label) => return format!("has({})", shortened(label)),
        Kind::All => "all()",
        Kind::Global => "global()",
        Kind::Equal => "==",
        Kind::NotEqual => "!=",
        Kind::In => "in",
        Kind::NotIn => "not in",
        Kind::Contains => "contains",
        Kind::StartsWith => "starts with",
        Kind::EndsWith => "ends with",
        Kind::Not => "!",
        Kind::And => "&&",
        Kind::Or => "||",
        Kind::Open => "(",
        Kind::Close => ")",
        Kind::OpenSet => "{",
        Kind::CloseSet => "}",
        Kind::Comma => ",",
    };
    format!("{sign:?}")
}

/// One part is itself; several are joined.
fn joined(mut parts: Vec<CalicoSelector>, join: fn(Vec<CalicoSelector>) -> CalicoSelector) -> CalicoSelector {
    match (parts.pop(), parts.is_empty()) {
        (Some(only), true) => only,
        (last, _) => {
            parts.extend(last);
            join(parts)
        }
    }
}

impl Parser<'_> {
    fn take(&mut self, kind: Kind<'_>) -> bool {
        self.tokens.next_if(|token| token.kind == kind).is_some()
    }

    fn alternatives(&mut self, depth: usize) -> Result<CalicoSelector, SelectorError> {
        let mut parts = vec![self.conjunction(depth)?];
        while self.take(Kind::Or) {
            parts.push(self.conjunction(depth)?);
        }
        Ok(joined(parts, CalicoSelector::Or))
    }

    fn conjunction(&mut self, depth: usize) -> Result<CalicoSelector, SelectorError> {
        let mut parts = vec![self.negation(depth)?];
        while self.take(Kind::And) {
            parts.push(self.negation(depth)?);
        }
        Ok(joined(parts, CalicoSelector::And))
    }

    fn negation(&mut self, depth: usize) -> Result<CalicoSelector, SelectorError> {
        let mut negated = false;
        while self.take(Kind::Not) {
            negated = !negated;
        }
        let term = self.term(depth)?;
        Ok(if negated { CalicoSelector::Not(Box::new(term)) } else { term })
    }

    fn term(&mut self, depth: usize) -> Result<CalicoSelector, SelectorError> {
        const EXPECTED: &str = "a label, has(label), all(), \"!\" or \"(\"";
        let Some(token) = self.tokens.next() else {
            return Err(error(self.end, "the selector ends here", EXPECTED));
        };
        match token.kind {
            Kind::All => Ok(CalicoSelector::All),
            Kind::Has(label) => Ok(CalicoSelector::Label(label.to_owned(), LabelTest::Exists)),
            Kind::Label(label) => self.comparison(label, token.at),
            Kind::Open if depth >= MAX_DEPTH => {
                let expected = format!("at most {MAX_DEPTH} levels of parentheses");
                Err(error(token.at, "nested too deeply", expected))
            }
            Kind::Open => {
                let inner = self.alternatives(depth.saturating_add(1))?;
                if self.take(Kind::Close) {
                    return Ok(inner);
                }
                let at = self.tokens.peek().map_or(self.end, |token| token.at);
                Err(error(at, "no closing parenthesis", "\")\", \"&&\" or \"||\""))
            }
            Kind::Global => Err(error(
                token.at,
                "global() out of place",
                "global() alone, in the namespaceSelector of a rule's source or destination",
            )),
            kind => Err(error(token.at, unexpected(kind), EXPECTED)),
        }
    }

    fn comparison(&mut self, label: &str, at: usize) -> Result<CalicoSelector, SelectorError> {
        let operators = "==, !=, in, not in, contains, starts with or ends with";
        let Some(operator) = self.tokens.next() else {
            let expected = format!("{operators}, or has({})", shortened(label));
            return Err(error(
                self.end,
                format!("the selector ends after label {}", quoted(label)),
                expected,
            ));
        };
        let (test, negated) = match operator.kind {
            Kind::Equal => (LabelTest::In(vec![self.string()?]), false),
            Kind::NotEqual => (LabelTest::In(vec![self.string()?]), true),
            Kind::In => (LabelTest::In(self.set()?), false),
            Kind::NotIn => (LabelTest::In(self.set()?), true),
            Kind::Contains => (LabelTest::Contains(self.string()?), false),
            Kind::StartsWith => (LabelTest::StartsWith(self.string()?), false),
            Kind::EndsWith => (LabelTest::EndsWith(self.string()?), false),
            kind => {
                // A function with a space before its parenthesis looks like a label.
                let (at, expected) = match (label, kind) {
                    ("has" | "all" | "global", Kind::Open) => (at, format!("{label}( without a space")),
                    _ => (operator.at, operators.to_owned()),
                };
                return Err(error(at, format!("{} after label {}", shown(kind), quoted(label)), expected));
            }
        };
        let test = CalicoSelector::Label(label.to_owned(), test);
        Ok(if negated { CalicoSelector::Not(Box::new(test)) } else { test })
    }

    fn string(&mut self) -> Result<String, SelectorError> {
        match self.tokens.next() {
            Some(Token { kind: Kind::Text(text), .. }) => Ok(text.to_owned()),
            Some(Token { kind: Kind::Label(word), at }) => {
                let word = shortened(word);
                Err(error(at, format!("{word} without quotes"), format!("'{word}'")))
            }
            Some(token) => Err(error(token.at, unexpected(token.kind), "a string in ' or \"")),
            None => Err(error(self.end, "the selector ends here", "a string in ' or \"")),
        }
    }

    /// `{ 'a', 'b' }`; may be empty, and may end with a comma.
    fn set(&mut self) -> Result<Vec<String>, SelectorError> {
        let at = self.tokens.peek().map_or(self.end, |token| token.at);
        if !self.take(Kind::OpenSet) {
            return Err(error(at, "no set of values", "{ and }, as in {'a', 'b'}"));
        }
        let mut values = Vec::new();
        loop {
            if self.take(Kind::CloseSet) {
                return Ok(values);
            }
            values.push(self.string()?);
            if self.take(Kind::CloseSet) {
                return Ok(values);
            }
            let at = self.tokens.peek().map_or(self.end, |token| token.at);
            if !self.take(Kind::Comma) {
                return Err(error(at, "the set does not go on", "\",\" or \"}\""));
            }
        }
    }
}
