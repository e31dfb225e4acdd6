//! Scales: from a figure to a place on the page, and the ticks in between.

/// A scale, linear or logarithmic.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Axis {
    from: f64,
    to: f64,
    log: bool,
    /// Where `from` and `to` are on the page.
    begin: f64,
    end: f64,
}

impl Axis {
    /// From zero to something round above `most`.
    pub(super) fn linear(most: f64, begin: f64, end: f64) -> Self {
        let most = if most.is_finite() && most > 0.0 { most } else { 1.0 };
        let step = step(most);
        Self { from: 0.0, to: (most / step).ceil() * step, log: false, begin, end }
    }

    /// Whole decades, or parts of them where less will do, around `least` and `most`, both positive.
    pub(super) fn log(least: f64, most: f64, begin: f64, end: f64) -> Self {
        let clean = |value: f64, other: f64| if value.is_finite() && value > 0.0 { value } else { other };
        let (least, most) = (clean(least, 0.1), clean(most, 10.0));
        let (from, to) = (round(least, false), round(most.max(least * 1.01), true));
        Self { from, to, log: true, begin, end }
    }

    /// Where a figure is; beyond the ends it is at the end.
    pub(super) fn at(&self, value: f64) -> f64 {
        let share = if self.log {
            (value.max(self.from).ln() - self.from.ln()) / (self.to.ln() - self.from.ln())
        } else {
            (value - self.from) / (self.to - self.from)
        };
        self.begin + (self.end - self.begin) * share.clamp(0.0, 1.0)
    }

    /// Round figures from end to end.
    pub(super) fn ticks(&self) -> Vec<f64> {
        if !self.log {
            let step = step(self.to);
            let count = (self.to / step).round() as usize;
            return (0..=count.min(20)).map(|tick| tick as f64 * step).collect();
        }
        let decades = (self.to / self.from).log10();
        let steps: &[f64] = if decades > 3.5 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let mut ticks = Vec::new();
        let mut decade = 10_f64.powf(self.from.log10().floor());
        while decade <= self.to * 1.001 && ticks.len() < 40 {
            ticks.extend(steps.iter().map(|step| step * decade));
            decade *= 10.0;
        }
        ticks.retain(|tick| *tick >= self.from * 0.999 && *tick <= self.to * 1.001);
        ticks
    }
}

/// 1, 2 or 5 times a power of ten, four to ten of which make `most`.
fn step(most: f64) -> f64 {
    let decade = 10_f64.powf((most / 4.0).log10().floor());
    let steps = [5.0, 2.0, 1.0].map(|step| step * decade);
    steps.into_iter().find(|step| most / step >= 4.0).unwrap_or(decade)
}

/// The next 1, 2 or 5 times a power of ten.
fn round(value: f64, up: bool) -> f64 {
    let decade = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * decade);
    let fits = |step: &&f64| if up { **step >= value * 0.999 } else { **step <= value * 1.001 };
    let found = if up { steps.iter().find(fits) } else { steps.iter().rev().find(fits) };
    found.copied().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_cover_the_figures() {
        assert_eq!(Axis::linear(437.0, 0.0, 1.0).ticks(), [0.0, 100.0, 200.0, 300.0, 400.0, 500.0]);
        let log = Axis::log(0.3, 27.0, 0.0, 100.0);
        assert_eq!(log.ticks(), [0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0]);
        assert!(log.at(0.2) < 1e-9 && (log.at(50.0) - 100.0).abs() < 1e-9);
        assert!(log.at(1.0) > 25.0 && log.at(1.0) < 35.0);
    }

    #[test]
    fn senseless_figures_make_a_scale_all_the_same() {
        for axis in
            [Axis::linear(f64::NAN, 0.0, 1.0), Axis::linear(0.0, 0.0, 1.0), Axis::log(0.0, 0.0, 0.0, 1.0)]
        {
            assert!(axis.ticks().len() > 1, "{axis:?}");
            assert!(axis.at(5.0).is_finite());
        }
    }
}
