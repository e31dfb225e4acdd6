//! Two runs side by side: which figures differ by more than they scatter.
//!
//! A difference counts where the two ranges, from the least to the most round, have nothing in common. Ratios are
//! compared as series are: of two runs hours apart they are the better witness, since a machine's drift cancels in
//! them.

use serde::Serialize;

use super::{Better, Ratio, Run, Series, Spread};

/// What became of one figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The ranges have something in common.
    Same,
    /// Apart, in the good direction.
    Better,
    /// Apart, in the bad direction.
    Worse,
}

/// One figure in both runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// What was measured.
    pub group: String,
    /// On what; for a ratio, `subject / baseline`.
    pub subject: String,
    /// Which quantity.
    pub quantity: String,
    /// Its unit; empty for a ratio.
    pub unit: String,
    /// In the first run.
    pub before: Spread,
    /// In the second run.
    pub after: Spread,
    /// Median of the second by that of the first.
    pub factor: f64,
    /// What became of it.
    pub change: Change,
}

/// Two runs side by side.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Figures that both have.
    pub lines: Vec<Line>,
    /// Figures that the first has alone.
    pub only_before: Vec<String>,
    /// Figures that the second has alone.
    pub only_after: Vec<String>,
    /// What makes the two hard to compare: other machine, other kernel.
    pub warnings: Vec<String>,
}

impl Comparison {
    /// Whether something got worse by more than it scatters.
    pub fn is_worse(&self) -> bool {
        self.lines.iter().any(|line| line.change == Change::Worse)
    }
}

/// One comparable figure of a run.
struct Entry {
    group: String,
    subject: String,
    quantity: String,
    unit: String,
    better: Better,
    spread: Spread,
}

impl Entry {
    fn name(&self) -> String {
        format!("{}: {}, {}", self.group, self.subject, self.quantity)
    }

    fn is_of(&self, other: &Self) -> bool {
        self.group == other.group
            && self.subject == other.subject
            && self.quantity == other.quantity
            && self.unit == other.unit
    }
}

/// Sets `after` beside `before`.
pub fn compare(before: &Run, after: &Run) -> Comparison {
    let (old, new) = (entries(before), entries(after));
    let mut lines = Vec::new();
    let mut only_before = Vec::new();
    for entry in &old {
        match new.iter().find(|other| other.is_of(entry)) {
            Some(other) => lines.push(line(entry, other)),
            None => only_before.push(entry.name()),
        }
    }
    let is_new = |entry: &&Entry| !old.iter().any(|other| other.is_of(entry));
    let only_after = new.iter().filter(is_new).map(Entry::name).collect();
    Comparison { lines, only_before, only_after, warnings: warnings(before, after) }
}

fn entries(run: &Run) -> Vec<Entry> {
    let of_series = |one: &Series| {
        Some(Entry {
            group: one.group.clone(),
            subject: one.subject.clone(),
            quantity: one.figure.quantity.clone(),
            unit: one.figure.unit.clone(),
            better: one.figure.better,
            spread: one.spread?,
        })
    };
    let of_ratio = |one: &Ratio| Entry {
        group: one.group.clone(),
        subject: format!("{} / {}", one.subject, one.baseline),
        quantity: one.quantity.clone(),
        unit: String::new(),
        better: one.better,
        spread: one.spread,
    };
    run.series.iter().filter_map(of_series).chain(run.ratios.iter().map(of_ratio)).collect()
}

fn line(before: &Entry, after: &Entry) -> Line {
    let change = if before.spread.overlaps(&after.spread) {
        Change::Same
    } else if (after.spread.median > before.spread.median) == (before.better == Better::More) {
        Change::Better
    } else {
        Change::Worse
    };
    let factor = after.spread.median / before.spread.median;
    Line {
        group: before.group.clone(),
        subject: before.subject.clone(),
        quantity: before.quantity.clone(),
        unit: before.unit.clone(),
        before: before.spread,
        after: after.spread,
        factor: if factor.is_finite() { factor } else { 0.0 },
        change,
    }
}

fn warnings(before: &Run, after: &Run) -> Vec<String> {
    let (old, new) = (&before.environment, &after.environment);
    let mut found = Vec::new();
    let mut differ = |what: &str, old: &str, new: &str| {
        if old != new {
            found.push(format!("{what} differs: {old} before, {new} after"));
        }
    };
    differ("the processor", &old.cpu, &new.cpu);
    differ("the number of cores", &old.cores.to_string(), &new.cores.to_string());
    differ("the kernel", &old.kernel, &new.kernel);
    differ("optimisation", &old.optimised.to_string(), &new.optimised.to_string());
    for (which, run) in [("first", before), ("second", after)] {
        if run.interrupted {
            found.push(format!("the {which} run was interrupted"));
        }
        if run.series.iter().any(|series| series.rounds.len() < 3) {
            found.push(format!(
                "the {which} run has figures of fewer than three rounds, whose spread says little"
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::{Environment, Figure};
    use super::*;

    fn run(rate: &[f64], time: &[f64]) -> Run {
        let mut run = Run::begin("test", 1, Environment::unknown());
        for &value in rate {
            run.add("udp", "weir", Figure::more("rate", "packet/s"), value);
        }
        for &value in time {
            run.add("rtt", "weir", Figure::less("p50", "s"), value);
        }
        run
    }

    #[test]
    fn only_what_lies_apart_has_changed() {
        let before = run(&[10.0, 11.0, 12.0], &[5.0, 6.0, 7.0]);
        let same = compare(&before, &run(&[12.0, 13.0, 14.0], &[4.0, 4.5, 5.0]));
        assert!(same.lines.iter().all(|line| line.change == Change::Same), "{same:?}");
        let worse = compare(&before, &run(&[8.0, 9.0, 9.5], &[1.0, 2.0, 3.0]));
        let changes: Vec<Change> = worse.lines.iter().map(|line| line.change).collect();
        assert_eq!(changes, [Change::Worse, Change::Better]);
        assert!(worse.is_worse() && !same.is_worse());
    }

    #[test]
    fn figures_of_one_run_alone_are_named() {
        let both = compare(&run(&[1.0], &[1.0]), &run(&[1.0], &[]));
        assert_eq!(both.only_before, ["rtt: weir, p50"]);
        assert!(both.only_after.is_empty());
        assert!(both.warnings.iter().any(|text| text.contains("fewer than three")), "{both:?}");
    }
}
