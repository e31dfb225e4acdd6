//! Located messages with the line each is about, and a mark under the place.
//!
//! ```text
//! policies.yaml:28:7: NetworkPolicy shop/peers: spec.egress[0].to[3].ipblock: unknown field: …
//!    28 |   - ipblock: {cidr: 10.0.0.0/8}
//!       |     ^^^^^^^
//! ```
//! The first line is the whole message and begins with file, line and column, so that editors and `grep` find their
//! way. The files are read a second time for this, each once and no further than the last line wanted; what cannot be
//! read, or has changed, costs the lines below the message and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use super::output::visible;

/// Messages that are shown with their lines; after so many nobody looks at more than the place.
const MAX_SNIPPETS: usize = 100;
/// Bytes of a file that are looked through for its lines.
const MAX_BYTES: u64 = 64 << 20;
/// Characters of a line that are shown, half of them before the place.
const WIDTH: usize = 100;

/// A message and the place it is about. Line 0 is the file as a whole.
#[derive(Debug, Clone)]
pub(super) struct Located<'m> {
    /// All of it, in one line.
    pub(super) text: String,
    /// The file.
    pub(super) file: &'m str,
    /// Line, from 1.
    pub(super) line: usize,
    /// Column in characters, from 1.
    pub(super) column: usize,
}

/// The messages, each with its line under it. Ends without a line end.
pub(super) fn with_snippets(messages: &[Located<'_>]) -> String {
    let mut wanted: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    for message in messages.iter().take(MAX_SNIPPETS).filter(|message| message.line > 0) {
        wanted.entry(message.file).or_default().insert(message.line);
    }
    let lines: BTreeMap<&str, BTreeMap<usize, String>> =
        wanted.into_iter().map(|(file, numbers)| (file, read_lines(file, &numbers))).collect();
    let mut text = String::new();
    for message in messages {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&visible(&message.text));
        let line = lines.get(message.file).and_then(|lines| lines.get(&message.line));
        if let Some(snippet) = line.and_then(|line| snippet(line, message.line, message.column)) {
            text.push_str(&snippet);
        }
    }
    text
}

/// The lines of these numbers, as far as they can be had.
fn read_lines(file: &str, numbers: &BTreeSet<usize>) -> BTreeMap<usize, String> {
    let mut lines = BTreeMap::new();
    // Only of a regular file is it certain that it ends, and says the same again.
    let Ok(file) = File::open(file) else { return lines };
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return lines;
    }
    let mut reader = BufReader::new(file.take(MAX_BYTES));
    let last = numbers.last().copied().unwrap_or(0);
    let mut line = Vec::new();
    for number in 1..=last {
        line.clear();
        match reader.read_until(b'\n', &mut line) {
            Ok(read) if read > 0 => {}
            _ => break,
        }
        if numbers.contains(&number) {
            let line = String::from_utf8_lossy(&line);
            lines.insert(number, line.trim_end_matches(['\n', '\r']).to_owned());
        }
    }
    lines
}

/// The line with a mark under what begins at the column; nothing if the line is shorter.
fn snippet(line: &str, number: usize, column: usize) -> Option<String> {
    let line: Vec<char> = line.chars().collect();
    let at = column.checked_sub(1).filter(|at| *at < line.len())?;
    let indent = line.iter().take_while(|c| c.is_whitespace()).count();
    // Short lines from their first word on, long ones around the place.
    let from = if line.len() - indent <= WIDTH { indent.min(at) } else { at.saturating_sub(WIDTH / 2) };
    let shown: String = line.get(from..)?.iter().take(WIDTH).collect();
    let before: String = line.get(from..at)?.iter().collect();
    let lead = if from > indent { "…" } else { "" };
    let trail = if line.len() - from > WIDTH { "…" } else { "" };
    // Tabs and control characters take as much room as they are shown with.
    let pad = " ".repeat(lead.chars().count() + visible(&before).chars().count());
    let mark = "^".repeat(word(line.get(at..)?).min(WIDTH.saturating_sub(at - from)).max(1));
    let (shown, gutter) = (visible(&shown), format!("{number:>5}"));
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write!(text, "\n{gutter} | {lead}{shown}{trail}\n{:>5} | {pad}{mark}", "");
    Some(text)
}

/// Characters of the word, number or quoted text at the beginning.
fn word(text: &[char]) -> usize {
    match text.first() {
        Some(quote @ ('"' | '\'')) => {
            text.iter().skip(1).position(|c| c == quote).map_or(1, |length| length + 2)
        }
        _ => text.iter().take_while(|c| !c.is_whitespace() && !",:[]{}#".contains(**c)).count(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Located, snippet, with_snippets};

    #[test]
    fn the_mark_stands_under_the_word() {
        assert_eq!(
            snippet("    - {ipblock: 10.0.0.0/8}", 28, 8).as_deref(),
            Some("\n   28 | - {ipblock: 10.0.0.0/8}\n      |    ^^^^^^^")
        );
        assert_eq!(
            snippet("a: \"b c\" # d", 7, 4).as_deref(),
            Some("\n    7 | a: \"b c\" # d\n      |    ^^^^^")
        );
        assert_eq!(snippet("a: {", 7, 4).as_deref(), Some("\n    7 | a: {\n      |    ^"));
        assert_eq!(snippet("a", 7, 2), None);
        assert_eq!(snippet("", 7, 1), None);
    }

    #[test]
    fn control_characters_neither_steer_the_terminal_nor_move_the_mark() {
        assert_eq!(
            snippet("a:\t\u{1b}[31m x", 1, 10).as_deref(),
            Some("\n    1 | a:\\t\\u{1b}[31m x\n      |                ^")
        );
    }

    #[test]
    fn of_a_long_line_the_surroundings_are_shown() {
        let line = format!("{}bad{}", "x".repeat(1000), " y".repeat(1000));
        let shown = snippet(&line, 1, 1001).expect("it is there");
        assert!(shown.lines().all(|line| line.chars().count() < 120), "{shown}");
        let lines: Vec<&str> = shown.lines().collect();
        let place = lines[2].chars().position(|c| c == '^').expect("a mark");
        assert_eq!(lines[1].chars().skip(place).take(3).collect::<String>(), "bad");
    }

    #[test]
    fn a_message_whose_file_cannot_be_read_stands_alone() {
        let message = |file, line| Located { text: format!("{file}: wrong"), file, line, column: 1 };
        let shown = with_snippets(&[message("/nowhere", 3), message("/dev/zero", 1), message("/", 0)]);
        assert_eq!(shown, "/nowhere: wrong\n/dev/zero: wrong\n/: wrong");
    }
}
