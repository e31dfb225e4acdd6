//! The directory of a run: written once, complete or not at all.
//!
//! Files are written into a directory of a temporary name beside the wanted one and renamed at the end. A directory
//! that is there already is not touched. CSV is RFC 4180, with a header line, `.` for decimals and base units.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Run, SCHEMA, hlog, html};

/// Why there is no run to be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// The directory is there already.
    #[error("{0}: is there already; name a directory that does not exist yet")]
    Exists(PathBuf),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no result.
    #[error("{path}:{line}:{column}: {reason}; expected the result.json of a run, schema {SCHEMA}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line, from 1; 0 where none can be named.
        line: usize,
        /// Column, from 1; 0 where none can be named.
        column: usize,
        /// What is wrong.
        reason: String,
    },
}

/// Writes a run into a directory that is not there yet.
pub fn write(run: &Run, directory: &Path) -> Result<(), DirectoryError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| DirectoryError::Io { path, source }
    };
    if directory.exists() {
        return Err(DirectoryError::Exists(directory.to_owned()));
    }
    let mut partial = directory.as_os_str().to_owned();
    partial.push(format!(".partial-{}", std::process::id()));
    let partial = PathBuf::from(partial);
    let latency = partial.join("latency");
    fs::create_dir_all(&latency).map_err(failed(&partial))?;
    let json = serde_json::to_string_pretty(run).map_err(|error| failed(&partial)(error.into()))? + "\n";
    let files = [
        ("result.json", json),
        ("series.csv", series(run)),
        ("ratios.csv", ratios(run)),
        ("curves.csv", curves(run)),
        ("books.csv", books(run)),
        ("report.html", html::page(run)),
        ("latency/all.hlog", hlog::log(run)),
    ];
    for (name, text) in files {
        let path = partial.join(name);
        fs::write(&path, text).map_err(failed(&path))?;
    }
    for (number, one) in run.latencies.iter().enumerate() {
        let name = file_name(&format!("{:02} {} {}", number.saturating_add(1), one.group, one.subject));
        let path = latency.join(name + ".hgrm");
        fs::write(&path, one.distribution()).map_err(failed(&path))?;
    }
    fs::rename(&partial, directory).map_err(failed(directory))
}

/// Reads the run of a directory, or of a `result.json` itself.
pub fn read(path: &Path) -> Result<Run, DirectoryError> {
    let file = if path.is_dir() { path.join("result.json") } else { path.to_owned() };
    let text =
        fs::read_to_string(&file).map_err(|source| DirectoryError::Io { path: file.clone(), source })?;
    let malformed =
        |line, column, reason| DirectoryError::Malformed { path: file.clone(), line, column, reason };
    let run: Run = serde_json::from_str(&text).map_err(|error| {
        let reason = error.to_string();
        let reason = reason.split(" at line ").next().unwrap_or_default().to_owned();
        malformed(error.line(), error.column(), reason)
    })?;
    if run.schema != SCHEMA {
        return Err(malformed(0, 0, format!("schema {}", run.schema)));
    }
    Ok(run)
}

/// Letters, digits and dashes.
fn file_name(text: &str) -> String {
    let mut name = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            name.push(c.to_ascii_lowercase());
        } else if !name.ends_with('-') && !name.is_empty() {
            name.push('-');
        }
    }
    name.trim_end_matches('-').to_owned()
}

/// A table under construction.
struct Csv(String);

impl Csv {
    fn new(header: &str) -> Self {
        Self(format!("{header}\r\n"))
    }

    fn row(&mut self, cells: &[&str]) {
        for (number, cell) in cells.iter().enumerate() {
            if number > 0 {
                self.0.push(',');
            }
            if cell.contains([',', '"', '\r', '\n']) {
                let _ = write!(self.0, "\"{}\"", cell.replace('"', "\"\""));
            } else {
                self.0.push_str(cell);
            }
        }
        self.0.push_str("\r\n");
    }
}

fn series(run: &Run) -> String {
    let mut csv = Csv::new("group,subject,quantity,unit,round,value");
    for one in &run.series {
        for (round, value) in one.rounds.iter().enumerate() {
            let (round, value) = (round.saturating_add(1).to_string(), value.to_string());
            csv.row(&[&one.group, &one.subject, &one.figure.quantity, &one.figure.unit, &round, &value]);
        }
    }
    csv.0
}

fn ratios(run: &Run) -> String {
    let mut csv = Csv::new("group,quantity,subject,baseline,round,ratio");
    for one in &run.ratios {
        for (round, value) in one.rounds.iter().enumerate() {
            let (round, value) = (round.saturating_add(1).to_string(), value.to_string());
            csv.row(&[&one.group, &one.quantity, &one.subject, &one.baseline, &round, &value]);
        }
    }
    csv.0
}

fn curves(run: &Run) -> String {
    let mut csv = Csv::new("group,subject,trial,load_pps,offered,received,seconds,loss_ratio");
    for one in &run.curves {
        for (trial, point) in one.points.iter().enumerate() {
            csv.row(&[
                &one.group,
                &one.subject,
                &trial.saturating_add(1).to_string(),
                &point.load.to_string(),
                &point.offered.to_string(),
                &point.received.to_string(),
                &point.seconds.to_string(),
                &point.loss_ratio.to_string(),
            ]);
        }
    }
    csv.0
}

/// One row for each end a packet had, so that a sum over the rows of a trial other than `offered` gives `offered`.
fn books(run: &Run) -> String {
    let mut csv = Csv::new("group,subject,round,end,packets");
    for book in &run.books {
        let round = book.round.to_string();
        let mut row = |end: &str, packets: u64| {
            csv.row(&[&book.group, &book.subject, &round, end, &packets.to_string()]);
        };
        row("offered", book.offered);
        row("received", book.received);
        for (reason, packets) in &book.dropped {
            row(&format!("dropped {reason}"), *packets);
        }
        row("lost", book.lost);
    }
    csv.0
}

#[cfg(test)]
mod tests {
    use super::super::{Environment, Figure};
    use super::*;

    fn run() -> Run {
        let mut run = Run::begin("test", 1, Environment::unknown());
        run.add("one, \"two\"", "weir", Figure::more("rate", "packet/s"), 1.5);
        run
    }

    #[test]
    fn a_directory_reads_back_and_is_not_written_twice() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("run");
        write(&run(), &directory).unwrap();
        assert_eq!(read(&directory).unwrap().series, run().series);
        assert_eq!(read(&directory.join("result.json")).unwrap().series, run().series);
        let csv = fs::read_to_string(directory.join("series.csv")).unwrap();
        assert!(csv.ends_with("\"one, \"\"two\"\"\",weir,rate,packet/s,1,1.5\r\n"), "{csv}");
        assert!(matches!(write(&run(), &directory), Err(DirectoryError::Exists(_))));
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "nothing partial stays");
    }

    #[test]
    fn what_is_no_result_is_refused_where_it_goes_wrong() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("result.json");
        fs::write(&path, "{\n  \"schema\": 3\n}").unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("result.json:2:13: invalid type"), "{error}");
        fs::write(&path, serde_json::to_string(&Run { schema: "other/9".to_owned(), ..run() }).unwrap())
            .unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("schema other/9"));
    }

    #[test]
    fn names_of_files_are_plain() {
        assert_eq!(file_name("01 across nodes, IPv4: µs / x"), "01-across-nodes-ipv4-s-x");
    }
}
