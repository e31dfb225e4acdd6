//! Who reaches whom: expected beside observed, and where they part.

use serde::Serialize;

use super::expect::Expected;
use super::plan::Family;
use super::scenario::{Probe, Service};
use crate::traffic::Reach;

/// One probe's outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// Who asked: a position in [`Matrix::ends`].
    pub src: usize,
    /// Who was asked.
    pub dst: usize,
    /// Over which family.
    pub family: Family,
    /// For what.
    pub service: Service,
    /// Whether it should have been answered.
    pub expected: bool,
    /// What denies it, where it should not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denied_by: Option<String>,
    /// What came of it.
    pub observed: Reach,
}

impl Cell {
    /// What came of a probe, beside what was to be expected of it.
    pub fn new(probe: &Probe, expected: Expected, observed: Reach) -> Self {
        Self {
            src: probe.src,
            dst: probe.dst,
            family: probe.family,
            service: probe.service,
            expected: expected.open,
            denied_by: expected.denied_by,
            observed,
        }
    }

    /// Whether it came as expected. A refusal by the far host means that packets passed: that is as wrong as
    /// an answer where a policy denies.
    pub fn is_as_expected(&self) -> bool {
        if self.expected {
            self.observed.is_open()
        } else {
            !matches!(self.observed, Reach::Open | Reach::Refused)
        }
    }
}

/// All probes' outcomes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Matrix {
    /// Names of the ends.
    pub ends: Vec<String>,
    /// The outcomes, in the order of the probes.
    pub cells: Vec<Cell>,
}

impl Matrix {
    /// The cells that did not come as expected.
    pub fn mismatches(&self) -> impl Iterator<Item = &Cell> {
        self.cells.iter().filter(|cell| !cell.is_as_expected())
    }

    /// Name of an end.
    pub fn name(&self, end: usize) -> &str {
        self.ends.get(end).map_or("?", String::as_str)
    }

    /// The cells of one pair in one family, in the order of the services.
    pub fn pair(&self, src: usize, dst: usize, family: Family) -> Vec<&Cell> {
        self.cells.iter().filter(|cell| (cell.src, cell.dst, cell.family) == (src, dst, family)).collect()
    }

    /// One line about a cell, for people.
    pub fn describe(&self, cell: &Cell) -> String {
        let expected = if cell.expected { "open" } else { "closed" };
        let observed = match cell.observed {
            Reach::Open => "open",
            Reach::Silent => "no answer",
            Reach::Refused => "refused by the far host",
            Reach::Unreachable => "unreachable",
        };
        let family = match cell.family {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        };
        let why = cell.denied_by.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        format!(
            "{} -> {}, {} over {family}: expected {expected}{why}, observed {observed}",
            self.name(cell.src),
            self.name(cell.dst),
            cell.service
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(expected: bool, observed: Reach) -> Cell {
        Cell {
            src: 0,
            dst: 1,
            family: Family::V4,
            service: Service::Ping,
            expected,
            denied_by: None,
            observed,
        }
    }

    #[test]
    fn a_refusal_where_a_policy_denies_is_a_leak() {
        assert!(!cell(false, Reach::Refused).is_as_expected());
        assert!(!cell(false, Reach::Open).is_as_expected());
        assert!(cell(false, Reach::Silent).is_as_expected());
        assert!(cell(true, Reach::Open).is_as_expected());
        assert!(!cell(true, Reach::Refused).is_as_expected());
    }

    #[test]
    fn mismatches_are_named() {
        let matrix = Matrix {
            ends: vec!["a".to_owned(), "b".to_owned()],
            cells: vec![cell(true, Reach::Silent), cell(true, Reach::Open)],
        };
        let lines: Vec<String> = matrix.mismatches().map(|cell| matrix.describe(cell)).collect();
        assert_eq!(lines, ["a -> b, ping over IPv4: expected open, observed no answer"]);
    }
}
