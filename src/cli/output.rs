//! Printing: `-o table|json|jsonl|yaml`, colours, and what went wrong.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use dataplane::config::ConfigError;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::policy::Refused;
use super::snippet::{Located, with_snippets};
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
        print(&render(self.format, record, table)?)
    }

    /// Prints a list of records; `jsonl` has a line for each of them.
    pub(super) fn print_all<T: Serialize>(
        &self,
        records: &[T],
        table: impl FnOnce(&[T]) -> String,
    ) -> anyhow::Result<()> {
        if self.format != Format::Jsonl {
            return print(&render(self.format, &records, |records| table(records))?);
        }
        let mut text = String::new();
        for record in records {
            text.push_str(&render(Format::Jsonl, record, |_| String::new())?);
        }
        print(&text)
    }
}

impl Output {
    /// One record as it would be printed.
    pub(super) fn render<T: Serialize>(
        &self,
        record: &T,
        table: impl FnOnce(&T) -> String,
    ) -> anyhow::Result<String> {
        render(self.format, record, table)
    }

    /// Whether it is written for people.
    pub(super) fn is_table(&self) -> bool {
        self.format == Format::Table
    }

    /// What stands between records that follow one another.
    pub(super) fn separator(&self) -> &'static str {
        match self.format {
            Format::Table => "\n",
            Format::Json | Format::Jsonl => "",
            Format::Yaml => "---\n",
        }
    }
}

/// A record in a form; `table` writes it for people. Ends with a line end.
pub(super) fn render<T: Serialize>(
    format: Format,
    record: &T,
    table: impl FnOnce(&T) -> String,
) -> anyhow::Result<String> {
    let mut text = match format {
        Format::Table => table(record),
        Format::Json => serde_json::to_string_pretty(record)?,
        Format::Jsonl => serde_json::to_string(record)?,
        Format::Yaml => yaml::to_string(record)?,
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// Writes to standard output. A reader that has seen enough (`weir status | head`) is no error.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    is_read(text).map(drop)
}

/// Writes to standard output; false once nobody reads it any more.
pub(super) fn is_read(text: &str) -> anyhow::Result<bool> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether standard output is a terminal.
pub(super) fn on_terminal() -> bool {
    io::stdout().is_terminal()
}

/// What is done and the time left, in the template's words, where standard error is a terminal; silence elsewhere.
pub(super) fn bar(template: &str) -> ProgressBar {
    let target =
        if io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(None, target);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("## "));
    }
    bar
}

/// Work shorter than this shows no progress.
const LONG: Duration = Duration::from_millis(400);

/// How far long work has come, on standard error if that is a terminal. Gone when dropped.
#[derive(Debug)]
pub(super) struct Progress {
    what: &'static str,
    begin: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// `what` is being counted: `pods compared`.
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, begin: Instant::now(), bar: None }
    }

    /// So much of it is done.
    pub(super) fn at(&mut self, done: usize, all: usize) {
        if self.begin.elapsed() < LONG {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}, {eta} left");
            // It draws on standard error, and only if that is a terminal.
            ProgressBar::new(all as u64)
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
                .with_message(self.what)
        });
        bar.set_position(done as u64);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Says on standard error why a command failed.
pub(super) fn complain(error: &anyhow::Error) {
    let text = if let Some(config) = error.downcast_ref::<ConfigError>() {
        config_error(config)
    } else if let Some(refused) = error.downcast_ref::<Refused>() {
        refused.to_string()
    } else {
        format!("weir: {error:#}").lines().map(visible).collect::<Vec<_>>().join("\n")
    };
    // If standard error is closed there is nobody to tell.
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// What is wrong with a configuration, each problem with the line it is about.
fn config_error(error: &ConfigError) -> String {
    if error.problems().is_empty() {
        return visible(&error.to_string());
    }
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let files: Vec<_> = error.problems().iter().map(|problem| problem.file.to_string_lossy()).collect();
    let located: Vec<Located<'_>> = error
        .problems()
        .iter()
        .zip(&files)
        .map(|(problem, file)| Located {
            text: problem.to_string(),
            file,
            line: number(problem.line),
            column: number(problem.column),
        })
        .collect();
    with_snippets(&located)
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
    if !wanted || !on_terminal() {
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
    grid(header.map(str::to_owned).into(), rows.into_iter().map(Vec::from))
}

/// The same with as many columns as the header has.
pub(super) fn grid(header: Vec<String>, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let cells = |row: Vec<String>| row.into_iter().map(|cell| visible(&cell)).collect::<Vec<_>>();
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(cells(header));
    for row in rows {
        table.add_row(cells(row));
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
