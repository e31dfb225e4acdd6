//! Several rounds of one figure: their median, and how far they lie apart.

use serde::{Deserialize, Serialize};

/// Median, least and most of some figures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The middle one; of an even number, the mean of the two in the middle.
    pub median: f64,
    /// The smallest.
    pub least: f64,
    /// The largest.
    pub most: f64,
}

impl Spread {
    /// Of these figures; those that are no numbers are left out. `None` where nothing is left.
    pub fn of(figures: &[f64]) -> Option<Self> {
        let mut sorted: Vec<f64> = figures.iter().copied().filter(|figure| figure.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        let upper = *sorted.get(sorted.len() / 2)?;
        let median = if sorted.len().is_multiple_of(2) {
            let lower = *sorted.get((sorted.len() / 2).checked_sub(1)?)?;
            f64::midpoint(lower, upper)
        } else {
            upper
        };
        Some(Self { median, least, most })
    }

    /// Whether the two have a figure in common, from least to most.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.least <= other.most && other.least <= self.most
    }
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn the_median_is_the_middle_one_or_the_mean_of_two() {
        let odd = Spread::of(&[3.0, 1.0, 2.0]).unwrap();
        assert_eq!((odd.least, odd.median, odd.most), (1.0, 2.0, 3.0));
        let even = Spread::of(&[4.0, 1.0, 2.0, 3.0]).unwrap();
        assert_eq!((even.least, even.median, even.most), (1.0, 2.5, 4.0));
    }

    #[test]
    fn what_is_no_number_is_left_out() {
        assert_eq!(Spread::of(&[f64::NAN, f64::INFINITY]), None);
        assert_eq!(Spread::of(&[]), None);
        assert!((Spread::of(&[f64::NAN, 5.0]).unwrap().median - 5.0).abs() < 1e-9);
    }

    #[test]
    fn spreads_that_touch_overlap() {
        let of = |least, most| Spread { median: least, least, most };
        assert!(of(1.0, 2.0).overlaps(&of(2.0, 3.0)));
        assert!(!of(1.0, 2.0).overlaps(&of(2.1, 3.0)));
    }
}
