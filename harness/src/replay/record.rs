//! Verdicts on file: one line of JSON for each packet, written by one replay and held against another.
//!
//! ```text
//!  {"packet":1,"verdict":"DROPPED","reason":"policy_deny","port":"pod shop/web","rule":"NetworkPolicy shop/..."}
//! ```
//! Compared are verdict and reason; port and rule are there to be read. Lines are in the order packets ended, which
//! is that of the capture but for fragments that waited; so a comparison looks ahead, but never by more than
//! [`MAX_PENDING`] lines.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;

use policy_compiler::RuleInfo;
use serde::{Deserialize, Serialize};

use super::ReplayError;
use super::flows::Outcome;

/// Most recorded lines that wait for their packet. Fragments held are far fewer.
pub const MAX_PENDING: usize = 65_536;

/// Longest line.
const MAX_LINE: u64 = 64 * 1024;

/// Differences that are told one by one.
const MAX_TOLD: usize = 50;

#[derive(Serialize)]
struct Line<'a> {
    packet: u64,
    verdict: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    port: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
}

#[derive(Deserialize)]
struct Recorded {
    packet: u64,
    verdict: String,
    reason: Option<String>,
}

/// The file being written.
pub(super) struct Record {
    name: String,
    to: BufWriter<File>,
}

impl Record {
    pub(super) fn create(path: &Path) -> Result<Self, ReplayError> {
        let name = path.display().to_string();
        let file = File::create(path).map_err(ReplayError::io(&name))?;
        Ok(Self { to: BufWriter::with_capacity(1 << 18, file), name })
    }

    pub(super) fn write(
        &mut self,
        number: u64,
        outcome: Outcome,
        port: &str,
        rule: Option<&RuleInfo>,
    ) -> Result<(), ReplayError> {
        let (verdict, reason) = (outcome.verdict(), outcome.reason());
        let line = Line { packet: number, verdict, reason, port, rule: rule.map(ToString::to_string) };
        let written = serde_json::to_writer(&mut self.to, &line).map_err(Into::into);
        written.and_then(|()| self.to.write_all(b"\n")).map_err(ReplayError::io(&self.name))
    }

    pub(super) fn finish(mut self) -> Result<(), ReplayError> {
        self.to.flush().map_err(ReplayError::io(&self.name))
    }
}

/// A packet that ended otherwise than recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Its number.
    pub packet: u64,
    /// As recorded: verdict and reason.
    pub expected: String,
    /// As it is now.
    pub found: String,
}

/// The outcome of a comparison with a record.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Verdicts {
    /// Packets that ended as recorded.
    pub same: u64,
    /// Packets that did not.
    pub different: u64,
    /// Packets that the record does not have.
    pub unrecorded: u64,
    /// Packets of the record that did not come.
    pub missing: u64,
    /// The first differences.
    pub first: Vec<Difference>,
}

impl Verdicts {
    /// True when everything is as recorded.
    pub fn agree(&self) -> bool {
        self.different == 0 && self.unrecorded == 0 && self.missing == 0
    }
}

/// The record that a replay is held against.
pub(super) struct Expected<R = File> {
    name: String,
    from: BufReader<R>,
    line: u64,
    over: bool,
    pending: HashMap<u64, (String, Option<String>), ahash::RandomState>,
    verdicts: Verdicts,
}

impl Expected {
    pub(super) fn open(path: &Path) -> Result<Self, ReplayError> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(ReplayError::io(&name))?;
        Ok(Self::new(name, file))
    }
}

impl<R: Read> Expected<R> {
    fn new(name: String, from: R) -> Self {
        let from = BufReader::with_capacity(1 << 18, from);
        let pending = HashMap::default();
        Self { name, from, line: 0, over: false, pending, verdicts: Verdicts::default() }
    }

    /// Holds a packet against its line.
    pub(super) fn compare(&mut self, number: u64, outcome: Outcome) -> Result<(), ReplayError> {
        while !self.pending.contains_key(&number) && self.pending.len() < MAX_PENDING {
            let Some(recorded) = self.read_line()? else { break };
            self.pending.insert(recorded.packet, (recorded.verdict, recorded.reason));
        }
        let Some((verdict, reason)) = self.pending.remove(&number) else {
            self.verdicts.unrecorded += 1;
            return Ok(());
        };
        if verdict == outcome.verdict() && reason.as_deref() == outcome.reason() {
            self.verdicts.same += 1;
            return Ok(());
        }
        self.verdicts.different += 1;
        if self.verdicts.first.len() < MAX_TOLD {
            let expected = match reason {
                Some(reason) => format!("{verdict} ({reason})"),
                None => verdict,
            };
            let found = outcome.to_string();
            self.verdicts.first.push(Difference { packet: number, expected, found });
        }
        Ok(())
    }

    /// The outcome. Where the whole capture was replayed, what is left of the record is missing.
    pub(super) fn finish(mut self, whole: bool) -> Result<Verdicts, ReplayError> {
        if whole {
            self.verdicts.missing = self.pending.len() as u64;
            while self.read_line()?.is_some() {
                self.verdicts.missing += 1;
            }
        }
        Ok(self.verdicts)
    }

    fn read_line(&mut self) -> Result<Option<Recorded>, ReplayError> {
        if self.over {
            return Ok(None);
        }
        let mut text = Vec::new();
        let mut limited = self.from.by_ref().take(MAX_LINE);
        let count = limited.read_until(b'\n', &mut text).map_err(ReplayError::io(&self.name))?;
        self.over = count == 0;
        if self.over {
            return Ok(None);
        }
        self.line += 1;
        serde_json::from_slice(&text).map(Some).map_err(|error| ReplayError::Expected {
            file: self.name.clone(),
            line: self.line,
            message: error.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use dataplane::drop_reason::DropReason;

    use super::*;

    const RECORD: &str = "{\"packet\":1,\"verdict\":\"FORWARDED\",\"port\":\"node\"}\n\
        {\"packet\":3,\"verdict\":\"DROPPED\",\"reason\":\"policy_deny\",\"port\":\"node\"}\n\
        {\"packet\":2,\"verdict\":\"FORWARDED\",\"port\":\"node\"}\n";

    fn compare(outcomes: &[(u64, Outcome)]) -> Verdicts {
        let mut expected = Expected::new("x".into(), RECORD.as_bytes());
        for (number, outcome) in outcomes {
            expected.compare(*number, *outcome).unwrap();
        }
        expected.finish(true).unwrap()
    }

    const DENIED: Outcome = Outcome::Dropped(DropReason::PolicyDeny);

    #[test]
    fn the_same_packets_in_another_order_agree() {
        let verdicts = compare(&[(2, Outcome::Forwarded), (1, Outcome::Forwarded), (3, DENIED)]);
        assert!(verdicts.agree(), "{verdicts:?}");
        assert_eq!(verdicts.same, 3);
    }

    #[test]
    fn differences_are_told_with_both_verdicts() {
        let verdicts = compare(&[(1, DENIED), (3, DENIED), (4, Outcome::Forwarded)]);
        assert_eq!((verdicts.different, verdicts.unrecorded, verdicts.missing), (1, 1, 1));
        assert_eq!(verdicts.first[0].expected, "FORWARDED");
        assert_eq!(verdicts.first[0].found, "DROPPED (policy_deny)");
    }

    #[test]
    fn a_line_that_is_no_verdict_is_named() {
        let mut expected = Expected::new("old.jsonl".into(), "{\"packet\":1}\n".as_bytes());
        let error = expected.compare(1, Outcome::Forwarded).unwrap_err().to_string();
        assert!(error.starts_with("old.jsonl:1: missing field `verdict`"), "{error}");
    }
}
