//! Printing: `-o table|json|jsonl|yaml`, colours, and what went wrong.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use dataplane::config::ConfigError;
use serde::Serialize;

use super::yaml;

/// The form of what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Table,
    /// One indented JSON document
    Json,
    /// JSON, one line per record
    Jsonl,
    /// YAML
    Yaml,
}

/// `-o`.
#[derive(Debug, clap::Args)]
pub(super) struct Output {
    /// The form of the output
    #[arg(short = 'o', long = "output", value_name = "FORMAT", default_value = "table")]
    format: Format,
}

impl Output {
    /// Prints one record; `table` writes it for people.
    pub(super) fn print<T: Serialize>(
        &self,
        record: &T,
        table: impl FnOnce(&T) -> String,
    ) -> anyhow::Result<()> {
        let mut text = match self.format {
            Format::Table => table(record),
            Format::Json => serde_json::to_string_pretty(record)?,
            Format::Jsonl => serde_json::to_string(record)?,
            Format::Yaml => yaml::to_string(record)?,
        };
        if !text.ends_with('\n') {
            text.push('\n');
        }
        print(&text)
    }
}

/// Writes to standard output. A reader that has seen enough (`weir status | head`) is no error.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Says on standard error why a command failed.
pub(super) fn complain(error: &anyhow::Error) {
    let text = match error.downcast_ref::<ConfigError>() {
        // Each line begins with its file, line and column: editors find their way by that.
        Some(located) => located.to_string(),
        None => format!("weir: {error:#}"),
    };
    let text = text.lines().map(visible).collect::<Vec<_>>().join("\n");
    // If standard error is closed there is nobody to tell.
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// Control characters made visible: names and messages come from manifests, and may not steer a terminal.
pub(super) fn visible(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut shown, c| {
        if c.is_control() {
            // Writing to a String cannot fail.
            let _ = write!(shown, "{}", c.escape_default());
        } else {
            shown.push(c);
        }
        shown
    })
}

/// The colours that are used, by meaning.
#[derive(Debug, Clone, Copy)]
pub(super) enum Colour {
    /// As it should be.
    Good,
    /// Deserves a look.
    Doubtful,
    /// Not as it should be.
    Bad,
    /// A heading.
    Heading,
}

/// `text` in colour, if standard output is a terminal and NO_COLOR is not set.
pub(super) fn paint(colour: Colour, text: &str) -> String {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    if !wanted || !io::stdout().is_terminal() {
        return text.to_owned();
    }
    let code = match colour {
        Colour::Good => "32",
        Colour::Doubtful => "33",
        Colour::Bad => "31",
        Colour::Heading => "1",
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

/// A table without lines, as kubectl prints them.
pub(super) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header);
    for row in rows {
        table.add_row(row.map(|cell| visible(&cell)));
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::visible;

    #[test]
    fn names_cannot_steer_the_terminal() {
        assert_eq!(visible("a\u{1b}[31mb\nc"), "a\\u{1b}[31mb\\nc");
    }
}
