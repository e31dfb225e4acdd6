//! From the text of a selector to its words, with the place of each.
//!
//! A word like `in` or `contains` is an operator only behind a label: labels may have these names themselves. Calico
//! reads `has(`, `all(` and `global(` as one word each, and so does this.

use super::SelectorError;
use crate::api::words::quoted;

/// What a word is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind<'s> {
    Label(&'s str),
    Text(&'s str),
    Has(&'s str),
    All,
    Global,
    Equal,
    NotEqual,
    In,
    NotIn,
    Contains,
    StartsWith,
    EndsWith,
    Not,
    And,
    Or,
    Open,
    Close,
    OpenSet,
    CloseSet,
    Comma,
}

impl Kind<'_> {
    /// Whether a part of a selector can end with it, so that only `&&` or `||` can bring another.
    fn ends_a_part(self) -> bool {
        matches!(self, Self::Text(_) | Self::Has(_) | Self::All | Self::Global | Self::Close | Self::CloseSet)
    }
}

/// A word and its place in characters from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'s> {
    pub(super) at: usize,
    pub(super) kind: Kind<'s>,
}

const JOINED: &str = "\"&&\", \"||\" or the end";
const OPERATORS: &str = "==, !=, in, not in, contains, starts with or ends with after a label";

struct Lexer<'s> {
    rest: &'s str,
    at: usize,
}

/// All words of the text.
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, SelectorError> {
    let mut lexer = Lexer { rest: text, at: 0 };
    let mut tokens: Vec<Token<'_>> = Vec::new();
    loop {
        lexer.skip_spaces();
        let at = lexer.at;
        let Some(first) = lexer.rest.chars().next() else { return Ok(tokens) };
        let last = tokens.last().map(|token| token.kind);
        let kind = match lexer.symbol(first)? {
            Some(kind) => kind,
            None => match last {
                Some(Kind::Label(label)) => lexer.operator(label)?,
                Some(last) if last.ends_a_part() => {
                    let word = lexer.take_while(is_label_part);
                    let error = SelectorError {
                        at,
                        ..lexer.error(format!("{} where a part of the selector ended", quoted(word)), JOINED)
                    };
                    return Err(if word.is_empty() { lexer.unexpected(first) } else { error });
                }
                _ => lexer.word(first)?,
            },
        };
        tokens.push(Token { at, kind });
    }
}

impl<'s> Lexer<'s> {
    fn error(&self, message: impl Into<String>, expected: impl Into<String>) -> SelectorError {
        SelectorError { at: self.at, message: message.into(), expected: expected.into() }
    }

    /// Goes behind `prefix`, if it comes next.
    fn take(&mut self, prefix: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(prefix) else { return false };
        self.rest = rest;
        self.at = self.at.saturating_add(prefix.chars().count());
        true
    }

    fn skip_spaces(&mut self) {
        let rest = self.rest.trim_start_matches([' ', '\t']);
        self.at = self.at.saturating_add(self.rest.len().saturating_sub(rest.len()));
        self.rest = rest;
    }

    /// What comes next up to the first character that `is_part` refuses.
    fn take_while(&mut self, is_part: impl Fn(char) -> bool) -> &'s str {
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        self.at = self.at.saturating_add(taken.chars().count());
        taken
    }

    /// A word made of signs, or a string.
    fn symbol(&mut self, first: char) -> Result<Option<Kind<'s>>, SelectorError> {
        // Longer ones first.
        const SYMBOLS: [(&str, Kind<'static>); 10] = [
            ("==", Kind::Equal),
            ("!=", Kind::NotEqual),
            ("&&", Kind::And),
            ("||", Kind::Or),
            ("!", Kind::Not),
            ("(", Kind::Open),
            (")", Kind::Close),
            ("{", Kind::OpenSet),
            ("}", Kind::CloseSet),
            (",", Kind::Comma),
        ];
        for (symbol, kind) in SYMBOLS {
            if self.take(symbol) {
                return Ok(Some(kind));
            }
        }
        match first {
            '=' => Err(self.error("a single \"=\"", "\"==\"")),
            '&' => Err(self.error("a single \"&\"", "\"&&\"")),
            '|' => Err(self.error("a single \"|\"", "\"||\"")),
            '\'' | '"' => self.string(first).map(Some),
            _ => Ok(None),
        }
    }

    fn string(&mut self, quote: char) -> Result<Kind<'s>, SelectorError> {
        let inside = self.rest.strip_prefix(quote).unwrap_or_default();
        let Some((text, rest)) = inside.split_once(quote) else {
            return Err(self.error("a string without end", format!("a closing {quote}")));
        };
        self.rest = rest;
        self.at = self.at.saturating_add(text.chars().count()).saturating_add(2);
        Ok(Kind::Text(text))
    }

    fn unexpected(&self, first: char) -> SelectorError {
        let expected = match first {
            '\n' | '\r' => "a selector on one line; in YAML, \">-\" folds several lines into one",
            '\u{2018}'..='\u{201f}' => "straight quotes, ' or \"",
            _ => "a label, has(label), all(), \"!\" or \"(\"",
        };
        self.error(format!("unexpected character {first:?}"), expected)
    }

    /// An operator in letters, behind a label.
    fn operator(&mut self, label: &str) -> Result<Kind<'s>, SelectorError> {
        const TWO_WORDS: [(&str, &str, Kind<'static>); 3] = [
            ("starts", "with", Kind::StartsWith),
            ("ends", "with", Kind::EndsWith),
            ("not", "in", Kind::NotIn),
        ];
        if self.take("contains") {
            return Ok(Kind::Contains);
        }
        for (first, second, kind) in TWO_WORDS {
            if self.take(first) {
                self.skip_spaces();
                let message = format!("{first:?} without {second:?}");
                return if self.take(second) {
                    Ok(kind)
                } else {
                    Err(self.error(message, format!("{second:?} after {first:?}")))
                };
            }
        }
        if self.take("in") {
            return Ok(Kind::In);
        }
        let word = self.rest.split([' ', '\t', '(', '\'', '"', '{']).next().unwrap_or_default();
        let expected = if label == "not" { "\"!\" instead of \"not\"" } else { OPERATORS };
        Err(self.error(format!("{} is not an operator", quoted(word)), expected))
    }

    /// A function or a label.
    fn word(&mut self, first: char) -> Result<Kind<'s>, SelectorError> {
        if self.take("has(") {
            self.skip_spaces();
            let label = self.take_while(is_label_part);
            self.skip_spaces();
            if label.is_empty() {
                return Err(self.error("has() without a label", "the name of a label, without quotes"));
            }
            if self.rest.starts_with(',') {
                return Err(self.error("has() of several labels", "one label, as in has(a) && has(b)"));
            }
            return self.closed(Kind::Has(label));
        }
        if self.take("all(") {
            self.skip_spaces();
            return self.closed(Kind::All);
        }
        if self.take("global(") {
            self.skip_spaces();
            return self.closed(Kind::Global);
        }
        let label = self.take_while(is_label_part);
        if !label.is_empty() {
            return Ok(Kind::Label(label));
        }
        Err(self.unexpected(first))
    }

    fn closed(&mut self, kind: Kind<'s>) -> Result<Kind<'s>, SelectorError> {
        if self.take(")") { Ok(kind) } else { Err(self.error("no closing parenthesis", "\")\"")) }
    }
}

fn is_label_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-')
}
