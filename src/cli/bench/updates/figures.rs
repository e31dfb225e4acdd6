//! What updates cost readers, as data and for people.

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::cli::bench::rate::Latency;
use crate::cli::output::table;

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub(in crate::cli::bench) struct Updates {
    /// Of single updates, until readers have them.
    #[serde(flatten)]
    pub(in crate::cli::bench) latency: Latency,
    /// Lookups that went on beside, in millions per second.
    pub(in crate::cli::bench) lookups_millions_per_second: f64,
    pub(in crate::cli::bench) burst: usize,
    /// From when bursts were due.
    pub(in crate::cli::bench) from_due: Compared,
    /// Their lookups alone.
    pub(in crate::cli::bench) lookups: Compared,
}

/// Bursts while nothing changed, and while rules did.
#[derive(Debug, Clone, Copy, Serialize)]
pub(in crate::cli::bench) struct Compared {
    pub(in crate::cli::bench) quiet: Bursts,
    pub(in crate::cli::bench) busy: Bursts,
    /// How much longer the slowest of a thousand took while rules changed.
    pub(in crate::cli::bench) p999_ratio: f64,
}

impl Compared {
    pub(super) fn of([quiet, busy]: &[Histogram<u64>; 2]) -> Self {
        let [quiet, busy] = [quiet, busy].map(Bursts::of);
        Self { quiet, busy, p999_ratio: busy.p999_us / quiet.p999_us }
    }
}

/// How long bursts took, in microseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(in crate::cli::bench) struct Bursts {
    pub(in crate::cli::bench) number: u64,
    pub(in crate::cli::bench) median_us: f64,
    pub(in crate::cli::bench) p99_us: f64,
    pub(in crate::cli::bench) p999_us: f64,
    pub(in crate::cli::bench) most_us: f64,
}

impl Bursts {
    fn of(histogram: &Histogram<u64>) -> Self {
        // Nanoseconds of a bench are far below 2^52.
        #[allow(clippy::cast_precision_loss)]
        let at = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            number: histogram.len(),
            median_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
            most_us: at(1.0),
        }
    }
}

impl Updates {
    /// Two lines and a table.
    pub(in crate::cli::bench) fn for_people(&self, engine: &str) -> String {
        let Latency { operations, median_us, p99_us, most_us } = self.latency;
        let header =
            ["BURSTS", "RULES", "NUMBER", "MEDIAN us", "p99 us", "p99.9 us", "MOST us", "p99.9 RATIO"];
        let rows = [("from when due", self.from_due), ("lookups alone", self.lookups)].into_iter().flat_map(
            |(of, Compared { quiet, busy, p999_ratio })| {
                [("stay", quiet, 1.0), ("change", busy, p999_ratio)].map(|(rules, bursts, ratio)| {
                    [
                        of.to_owned(),
                        rules.to_owned(),
                        bursts.number.to_string(),
                        format!("{:.1}", bursts.median_us),
                        format!("{:.1}", bursts.p99_us),
                        format!("{:.1}", bursts.p999_us),
                        format!("{:.1}", bursts.most_us),
                        format!("{ratio:.2}"),
                    ]
                })
            },
        );
        format!(
            "\n{engine}: {operations} updates, median {median_us:.0} us, p99 {p99_us:.0} us, most {most_us:.0} us\n\
             beside {:.0} M lookups/s in bursts of {}, which took:\n\n{}\n",
            self.lookups_millions_per_second,
            self.burst,
            table(header, rows)
        )
    }
}
