//! What a device loses beyond its throughput: the loss rate load by load, and the longest burst that it takes.

use super::runner::{End, Runner};
use super::throughput::point;
use crate::load::{Rate, Shape};
use crate::measure::{Outcome, Trial};
use crate::report::{Curve, Figure};

impl Runner<'_> {
    /// RFC 2544 section 26.3: from the highest load down by tenths, until two in succession lose nothing.
    pub(super) fn loss(&mut self, group: &str, shape: &Shape, most: f64) -> Result<(), End> {
        let (mut points, mut clean) = (Vec::new(), 0);
        let name = format!("{group}, frame loss rate");
        let mut end = Ok(());
        for tenth in (1..=10_u32).rev() {
            let load = most * f64::from(tenth) / 10.0;
            let duration = self.plan.trial;
            match self.trial(&name, shape, Rate::PerSecond(load), duration, u64::MAX) {
                Err(stopped) => {
                    end = Err(stopped);
                    break;
                }
                Ok(taken) => {
                    let trial = Trial { load, duration };
                    let outcome = Outcome { trial, offered: taken.offered, received: taken.as_meant() };
                    points.push(point(&outcome));
                    clean = if taken.as_meant() >= taken.offered { clean + 1 } else { 0 };
                }
            }
            if clean == 2 {
                break;
            }
        }
        if !points.is_empty() {
            self.run.curves.push(Curve {
                group: name,
                subject: self.subject.clone(),
                points,
                found: Vec::new(),
            });
        }
        end
    }

    /// RFC 2544 section 26.4: the longest burst that is forwarded whole, to 2 %.
    pub(super) fn bursts(&mut self, group: &str, shape: &Shape, most: f64) -> Result<(), End> {
        let name = format!("{group}, back-to-back");
        let rate = self.bed.burst_rate(most);
        let per_second = if let Rate::PerSecond(rate) = rate { rate } else { most };
        let longest = (per_second * self.plan.longest_burst.as_secs_f64()).max(1.0) as u64;
        for _ in 0..self.plan.bursts {
            // Lengths known to be forwarded whole, and not to be.
            let (mut whole, mut cut, mut length) = (0, longest.saturating_add(1), 64.min(longest));
            while cut.saturating_sub(whole) > (whole / 50).max(1) {
                let taken = self.trial(&name, shape, rate, self.plan.longest_burst, length)?;
                // What was not sent was no part of the burst.
                if taken.as_meant() >= length {
                    whole = length;
                } else {
                    cut = length;
                }
                length =
                    if cut > longest { length.saturating_mul(4).min(longest) } else { whole.midpoint(cut) };
                if whole >= longest {
                    break;
                }
            }
            self.run.add("back-to-back", group, Figure::more("longest burst", "packet"), whole as f64);
        }
        Ok(())
    }
}
