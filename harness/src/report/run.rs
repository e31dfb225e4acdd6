//! The data of a run: what `result.json` holds.
//!
//! Names are for people and for matching two runs: a figure is identified by its `group` (what was measured, like
//! `across nodes, IPv4, TCP 1 stream`), its `subject` (on what, like `weir, tap`) and its `quantity`.

use serde::{Deserialize, Serialize};

use super::{Book, Environment, Latency, Spread};

/// The form of `result.json`. Keys may be added under this name; none changes its meaning.
pub const SCHEMA: &str = "weir-run/1";

/// A measurement, complete or as far as it came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// [`SCHEMA`].
    pub schema: String,
    /// What was measured, as a headline.
    pub title: String,
    /// The command line.
    pub command: Vec<String>,
    /// What generators were seeded with.
    pub seed: u64,
    /// When it began, in seconds since 1970.
    pub started_unix_seconds: u64,
    /// How long it took.
    pub seconds: f64,
    /// Whether it was ended early; it holds what was measured until then.
    pub interrupted: bool,
    /// The machine and the program.
    pub environment: Environment,
    /// What a reader has to know to judge the figures.
    pub notes: Vec<String>,
    /// Figures, one per round.
    pub series: Vec<Series>,
    /// Ratios of two series.
    pub ratios: Vec<Ratio>,
    /// What arrived of what was offered, load by load.
    pub curves: Vec<Curve>,
    /// Histograms.
    pub latencies: Vec<Latency>,
    /// Where every packet went, one book a trial.
    pub books: Vec<Book>,
}

impl Run {
    /// A run that begins now, without a figure yet.
    pub fn begin(title: &str, seed: u64, environment: Environment) -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self {
            schema: SCHEMA.to_owned(),
            title: title.to_owned(),
            command: std::env::args().collect(),
            seed,
            started_unix_seconds: now.map_or(0, |since| since.as_secs()),
            seconds: 0.0,
            interrupted: false,
            environment,
            notes: Vec::new(),
            series: Vec::new(),
            ratios: Vec::new(),
            curves: Vec::new(),
            latencies: Vec::new(),
            books: Vec::new(),
        }
    }

    /// Adds one round's figure to its series, which is made if it is the first.
    pub fn add(&mut self, group: &str, subject: &str, figure: Figure, value: f64) {
        let found = self
            .series
            .iter_mut()
            .find(|one| one.group == group && one.subject == subject && one.figure == figure);
        if let Some(series) = found {
            series.push(value);
        } else {
            self.series.push(Series::new(group, subject, figure, &[value]));
        }
    }

    /// The series of that name.
    pub fn find(&self, group: &str, subject: &str, quantity: &str) -> Option<&Series> {
        let is_it =
            |one: &&Series| one.group == group && one.subject == subject && one.figure.quantity == quantity;
        self.series.iter().find(is_it)
    }

    /// Adds the ratio of a subject to a baseline, round by round; nothing where one of them has no figure.
    pub fn relate(&mut self, group: &str, quantity: &str, subject: &str, baseline: &str) {
        let (Some(upper), Some(lower)) =
            (self.find(group, subject, quantity), self.find(group, baseline, quantity))
        else {
            return;
        };
        let rounds = upper.rounds.iter().zip(&lower.rounds).filter(|(_, lower)| **lower > 0.0);
        let rounds: Vec<f64> = rounds.map(|(upper, lower)| upper / lower).collect();
        let better = upper.figure.better;
        let Some(spread) = Spread::of(&rounds) else { return };
        self.ratios.push(Ratio {
            group: group.to_owned(),
            quantity: quantity.to_owned(),
            subject: subject.to_owned(),
            baseline: baseline.to_owned(),
            better,
            spread,
            rounds,
        });
    }

    /// Whether every packet is accounted for.
    pub fn adds_up(&self) -> bool {
        self.books.iter().all(Book::adds_up)
    }
}

/// Which way is an improvement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// Rates.
    More,
    /// Times and costs.
    Less,
}

/// What is measured, and in which unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figure {
    /// Like `throughput` or `p99`.
    pub quantity: String,
    /// Base unit: `bit/s`, `packet/s`, `s`.
    pub unit: String,
    /// Which way is an improvement.
    pub better: Better,
}

impl Figure {
    /// A rate or another figure of which more is better.
    pub fn more(quantity: &str, unit: &str) -> Self {
        Self { quantity: quantity.to_owned(), unit: unit.to_owned(), better: Better::More }
    }

    /// A time or a cost.
    pub fn less(quantity: &str, unit: &str) -> Self {
        Self { better: Better::Less, ..Self::more(quantity, unit) }
    }
}

/// One figure, measured in several rounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// What was measured.
    pub group: String,
    /// On what.
    pub subject: String,
    /// Quantity and unit.
    #[serde(flatten)]
    pub figure: Figure,
    /// Over all rounds; absent where no round gave a number.
    pub spread: Option<Spread>,
    /// Round by round.
    pub rounds: Vec<f64>,
}

impl Series {
    /// A series of these rounds.
    pub fn new(group: &str, subject: &str, figure: Figure, rounds: &[f64]) -> Self {
        let mut series = Self {
            group: group.to_owned(),
            subject: subject.to_owned(),
            figure,
            spread: None,
            rounds: Vec::new(),
        };
        for &round in rounds {
            series.push(round);
        }
        series
    }

    /// Adds a round. What is no number becomes zero, which JSON can hold: nothing was measured.
    pub fn push(&mut self, value: f64) {
        self.rounds.push(if value.is_finite() { value } else { 0.0 });
        self.spread = Spread::of(&self.rounds);
    }
}

/// One series by another, taken round by round, so that what both met in a round cancels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// What was measured.
    pub group: String,
    /// Which quantity.
    pub quantity: String,
    /// On what.
    pub subject: String,
    /// What that is divided by.
    pub baseline: String,
    /// Which way is an improvement of the subject.
    pub better: Better,
    /// Over all rounds.
    pub spread: Spread,
    /// Round by round.
    pub rounds: Vec<f64>,
}

/// What arrived at each load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// What was measured.
    pub group: String,
    /// On what.
    pub subject: String,
    /// Loads that were tried, in the order of the trials.
    pub points: Vec<Point>,
    /// Loads that were found: name (`NDR`, `PDR`) and packets per second.
    pub found: Vec<(String, f64)>,
}

/// One trial at a load.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Packets per second that were asked for.
    pub load: f64,
    /// Packets that left the generators.
    pub offered: u64,
    /// Packets that arrived.
    pub received: u64,
    /// Length of the trial in seconds.
    pub seconds: f64,
    /// Lost packets by those that should have been sent, 0 to 1.
    pub loss_ratio: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_of_one_figure_join_and_ratios_are_taken_round_by_round() {
        let mut run = Run::begin("test", 1, Environment::unknown());
        let rate = || Figure::more("rate", "packet/s");
        for (weir, kernel) in [(20.0, 10.0), (60.0, 20.0), (15.0, 30.0)] {
            run.add("udp", "weir", rate(), weir);
            run.add("udp", "kernel", rate(), kernel);
        }
        assert_eq!(run.series.len(), 2);
        run.relate("udp", "rate", "weir", "kernel");
        run.relate("udp", "rate", "weir", "nobody");
        let [ratio] = run.ratios.as_slice() else { panic!("{:?}", run.ratios) };
        assert_eq!(ratio.rounds, [2.0, 3.0, 0.5]);
        assert!((ratio.spread.median - 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_run_reads_back_as_written() {
        let mut run = Run::begin("test", 7, Environment::unknown());
        run.add("udp", "weir", Figure::less("p99", "s"), 1e-4);
        run.add("udp", "weir", Figure::less("p99", "s"), f64::NAN);
        let text = serde_json::to_string(&run).unwrap();
        assert_eq!(serde_json::from_str::<Run>(&text).unwrap(), run);
    }
}
