//! What a sweep leaves behind, as a file that can be drawn again: `classifier-DATE.json`.
//!
//! Rates are millions per second, times milliseconds, sizes bytes. Keys may be added; none changes its meaning.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::super::rate::Rate;

/// A whole sweep.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    /// When it began, in UTC: YYYY-MM-DD.
    pub(super) date: String,
    /// The machine and the program, as all benches write them.
    pub(super) environment: serde_json::Value,
    pub(super) seed: u64,
    pub(super) run_milliseconds: u64,
    /// Runs of which the median is taken.
    pub(super) runs: usize,
    pub(super) burst: usize,
    pub(super) packets: usize,
    pub(super) series: Vec<Series>,
}

/// One engine on one kind of set.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Series {
    pub(super) engine: String,
    pub(super) set: String,
    pub(super) points: Vec<Point>,
}

/// One size.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Point {
    /// Rules; for a cluster about as many as its policies are when written out for every pod.
    pub(super) rules: usize,
    /// What the generator was asked for.
    pub(super) parameters: String,
    pub(super) build_ms: f64,
    pub(super) memory_bytes: usize,
    /// Millions of lookups per second: packets for rules chosen evenly.
    pub(super) uniform: Rate,
    /// And by Zipf's law with exponent 1.
    pub(super) zipf: Rate,
}

impl Record {
    /// The machine in one line.
    pub(super) fn environment_line(&self) -> String {
        let text = |key: &str| match self.environment.get(key) {
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => "unknown".to_owned(),
        };
        let build = if self.environment.get("optimised") == Some(&serde_json::Value::Bool(false)) {
            ", not optimised: figures mean nothing"
        } else {
            ""
        };
        format!(
            "weir {}{build}; {}, {} cores; Linux {}; load {}",
            text("weir"),
            text("cpu"),
            text("cores"),
            text("kernel"),
            text("load")
        )
    }
}

/// The date in UTC, as YYYY-MM-DD.
pub(super) fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    date(seconds / 86_400)
}

/// The date so many days after 1970-01-01, in the Gregorian calendar. Years begin in March here, so that the day that
/// not every year has comes last.
fn date(days: u64) -> String {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{day:02}", era * 400 + year + next)
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn days_have_their_dates() {
        for (days, expected) in [
            (0, "1970-01-01"),
            (58, "1970-02-28"),
            (59, "1970-03-01"),
            (11_016, "2000-02-29"),
            (20_453, "2025-12-31"),
            (20_454, "2026-01-01"),
        ] {
            assert_eq!(date(days), expected);
        }
    }
}
