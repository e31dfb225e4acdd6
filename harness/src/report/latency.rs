//! A latency histogram as plain data, and its percentile distribution as HdrHistogram's plotters read it.

use std::fmt::Write as _;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::quantity;

/// Upper end of the histograms, in nanoseconds: nothing is waited for longer.
pub(crate) const LONGEST_NS: u64 = 60_000_000_000;

/// The quantiles that reports state.
const STATED: [f64; 9] = [0.0, 0.5, 0.75, 0.9, 0.99, 0.999, 0.9999, 0.99999, 1.0];

/// All latencies of one subject, all rounds together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// What was measured.
    pub group: String,
    /// On what.
    pub subject: String,
    /// How many were measured.
    pub count: u64,
    /// How many probes got no answer: they are in no percentile.
    pub lost: u64,
    /// Quantile (0 to 1) and nanoseconds.
    pub percentiles: Vec<(f64, u64)>,
    /// Nanoseconds and how many were that long, three significant digits.
    pub buckets: Vec<(u64, u64)>,
}

impl Latency {
    /// Of this histogram of nanoseconds.
    pub fn of(group: &str, subject: &str, histogram: &Histogram<u64>, lost: u64) -> Self {
        let buckets = histogram.iter_recorded();
        Self {
            group: group.to_owned(),
            subject: subject.to_owned(),
            count: histogram.len(),
            lost,
            percentiles: STATED.iter().map(|&at| (at, histogram.value_at_quantile(at))).collect(),
            buckets: buckets.map(|at| (at.value_iterated_to(), at.count_at_value())).collect(),
        }
    }

    /// The histogram again. Buckets out of range are left out.
    pub fn histogram(&self) -> Option<Histogram<u64>> {
        let mut histogram = Histogram::new_with_bounds(1, LONGEST_NS, 3).ok()?;
        for &(value, count) in &self.buckets {
            let _ = histogram.record_n(value, count);
        }
        Some(histogram)
    }

    /// The latency at a quantile, in nanoseconds.
    pub fn at(&self, quantile: f64) -> u64 {
        self.histogram().map_or(0, |histogram| histogram.value_at_quantile(quantile))
    }

    /// Its percentiles for people: half, 99 and 99.9 of 100 took at most that long.
    pub fn summary(&self) -> String {
        let [half, most, nearly_all] = [0.5, 0.99, 0.999].map(|quantile| self.text(quantile));
        format!("p50 {half}, p99 {most}, p99.9 {nearly_all}")
    }

    /// The longest, for people.
    pub fn longest(&self) -> String {
        self.text(1.0)
    }

    fn text(&self, quantile: f64) -> String {
        quantity(self.at(quantile) as f64 / 1e9, "s")
    }

    /// The percentile distribution in microseconds (`.hgrm`): value, quantile, count up to it, 1 / (1 - quantile).
    pub fn distribution(&self) -> String {
        let mut text = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
        let Some(histogram) = self.histogram() else { return text };
        let mut total = 0_u64;
        for step in histogram.iter_quantiles(5) {
            total = total.saturating_add(step.count_since_last_iteration());
            let quantile = step.quantile_iterated_to();
            let inverse = 1.0 / (1.0 - quantile);
            let inverse = if inverse.is_finite() { format!("{inverse:.2}") } else { "inf".to_owned() };
            let micros = step.value_iterated_to() as f64 / 1e3;
            let _ = writeln!(text, "{micros:12.3} {quantile:14.12} {total:10} {inverse:>14}");
        }
        let (mean, deviation) = (histogram.mean() / 1e3, histogram.stdev() / 1e3);
        let most = histogram.max() as f64 / 1e3;
        let _ = writeln!(text, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]");
        let _ = writeln!(text, "#[Max     = {most:12.3}, Total count    = {:12}]", self.count);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_survives_as_data() {
        let mut histogram = Histogram::new_with_bounds(1, LONGEST_NS, 3).unwrap();
        for value in 1..=10_000_u64 {
            histogram.record(value * 1_000).unwrap();
        }
        let latency = Latency::of("rtt", "weir", &histogram, 2);
        assert_eq!(latency.histogram().unwrap(), histogram);
        assert_eq!(latency.count, 10_000);
        assert!(latency.at(0.99).abs_diff(9_900_000) < 10_000, "{}", latency.at(0.99));
        let text = latency.distribution();
        assert!(
            text.lines().any(|line| line.trim_start().starts_with("5001.") && line.contains(" 0.5000")),
            "{text}"
        );
        assert!(text.ends_with("10000]\n"), "{text}");
    }
}
