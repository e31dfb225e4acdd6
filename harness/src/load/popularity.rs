//! Which flow the next frame belongs to: all alike, or by Zipf's law.
//!
//! Zipf: flow `n` (from 0) has a weight of `1 / (n + 1)^s`. Drawn by the alias method (Walker 1977, Vose 1991): the
//! weights are cut into columns of equal area with two flows in each, so that a draw is one random number and one
//! entry of eight bytes, whatever the number of flows. Exact but for the 32 bits of a column's division.

use crate::generate::Rng;

/// How flows share the frames.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Popularity {
    /// All alike, one after the other.
    Uniform,
    /// By Zipf's law with this exponent.
    Zipf(f64),
}

/// Draws flows.
pub(super) enum Draw {
    /// One after the other.
    Round { next: u32, flows: u32 },
    /// By weight: where the column is divided, and whose its upper part is.
    Columns(Vec<(u32, u32)>),
}

impl Draw {
    pub(super) fn new(popularity: Popularity, flows: u32) -> Self {
        match popularity {
            Popularity::Uniform => Self::Round { next: 0, flows },
            Popularity::Zipf(exponent) => Self::Columns(columns(exponent, flows)),
        }
    }

    pub(super) fn next(&mut self, rng: &mut Rng) -> u32 {
        match self {
            Self::Round { next, flows } => {
                let this = *next;
                *next = if this.saturating_add(1) < *flows { this.saturating_add(1) } else { 0 };
                this
            }
            Self::Columns(columns) => {
                let number = rng.number();
                // The upper half chooses the column without a division, the lower half where in it.
                let place = ((number >> 32) * columns.len() as u64) >> 32;
                let (divided, other) = columns.get(place as usize).copied().unwrap_or_default();
                if number as u32 <= divided { place as u32 } else { other }
            }
        }
    }
}

fn columns(exponent: f64, flows: u32) -> Vec<(u32, u32)> {
    let weights: Vec<f64> = (0..flows).map(|flow| (f64::from(flow) + 1.0).powf(-exponent)).collect();
    let mean = weights.iter().sum::<f64>() / f64::from(flows.max(1));
    let mut shares: Vec<f64> = weights.iter().map(|weight| weight / mean).collect();
    let mut columns: Vec<(u32, u32)> = (0..flows).map(|flow| (u32::MAX, flow)).collect();
    let (mut small, mut large): (Vec<u32>, Vec<u32>) =
        (0..flows).partition(|&flow| shares.get(flow as usize).is_some_and(|share| *share < 1.0));
    while let (Some(less), Some(&more)) = (small.pop(), large.last()) {
        let share = shares.get(less as usize).copied().unwrap_or(1.0);
        if let Some(column) = columns.get_mut(less as usize) {
            *column = ((share * f64::from(u32::MAX)) as u32, more);
        }
        let Some(rest) = shares.get_mut(more as usize) else { break };
        *rest -= 1.0 - share;
        if *rest < 1.0 {
            large.pop();
            small.push(more);
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(popularity: Popularity, flows: u32, count: usize) -> Vec<usize> {
        let (mut draw, mut rng) = (Draw::new(popularity, flows), Rng::new(7));
        let mut counts = vec![0; flows as usize];
        for _ in 0..count {
            counts[draw.next(&mut rng) as usize] += 1;
        }
        counts
    }

    #[test]
    fn uniform_flows_have_equal_shares() {
        assert_eq!(drawn(Popularity::Uniform, 7, 700), [100; 7]);
    }

    #[test]
    fn zipf_flows_have_the_shares_of_the_law() {
        for exponent in [0.0, 0.8, 1.0, 1.5] {
            let (flows, count) = (50, 400_000);
            let counts = drawn(Popularity::Zipf(exponent), flows, count);
            let weight = |flow: usize| (flow as f64 + 1.0).powf(-exponent);
            let sum: f64 = (0..50).map(weight).sum();
            for (flow, &found) in counts.iter().enumerate() {
                let expected = weight(flow) / sum * count as f64;
                // Five standard deviations.
                assert!(
                    (found as f64 - expected).abs() < 5.0 * expected.sqrt(),
                    "{exponent}: {flow}: {found}"
                );
            }
        }
    }

    #[test]
    fn one_flow_is_always_drawn() {
        assert_eq!(drawn(Popularity::Zipf(1.0), 1, 10), [10]);
    }
}
