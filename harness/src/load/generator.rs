//! The generator: one frame after the other, each of a flow, a size and a number.
//!
//! In this order: is it a new flow that is due, or one of those that go on; is it one to be denied; which size comes
//! next. Everything random comes from one stream of the seed and the trial, so that equal calls give equal frames.

use dataplane::buffer::Frame;

use super::popularity::Draw;
use super::shape::{DST_PORTS, FIRST_SRC_PORT, Kind, SRC_PORTS, Shape, ShapeError};
use super::stamp::{Mark, Stamp};
use super::template::{Patch, Template};
use crate::generate::Rng;

/// How many frames were written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Not meant to be denied.
    pub allowed: u64,
    /// Meant to be denied.
    pub denied: u64,
    /// Of both, those that began a flow.
    pub new_flows: u64,
}

/// Writes frames.
pub struct Generator {
    templates: Vec<Template>,
    next: usize,
    draw: Draw,
    rng: Rng,
    shape: Shape,
    mark: Mark,
    sources: u64,
    written: Written,
}

impl Generator {
    /// Frames of a shape for one trial.
    ///
    /// # Errors
    /// The shape cannot be sent.
    pub fn new(shape: &Shape, trial: u32) -> Result<Self, ShapeError> {
        shape.check()?;
        let templates = shape.sizes.all().into_iter().map(|size| Template::new(shape, size));
        Ok(Self {
            templates: templates.collect::<Result<_, _>>()?,
            next: 0,
            draw: Draw::new(shape.popularity, shape.flows),
            // Another trial begins other random flows: those of the last one are known to the device.
            rng: Rng::new(shape.seed ^ u64::from(trial) << 32),
            mark: Mark::of(shape.seed, trial),
            sources: shape.ends.sources(),
            shape: shape.clone(),
            written: Written::default(),
        })
    }

    /// The mark of its frames.
    pub fn mark(&self) -> Mark {
        self.mark
    }

    /// What it wrote in this trial.
    pub fn written(&self) -> Written {
        self.written
    }

    /// Whether its frames carry stamps.
    pub fn is_stamped(&self) -> bool {
        self.shape.kind != Kind::SynFlood
    }

    /// Writes the next frame, which leaves `now` nanoseconds after the beginning.
    pub fn write(&mut self, frame: &mut Frame, now: u64) {
        let flow = self.flow(now);
        let denied = self.is_denied();
        let number = if denied { &mut self.written.denied } else { &mut self.written.allowed };
        let stamp = Stamp { mark: self.mark, denied, number: *number as u32, sent: now as u32 };
        *number = number.saturating_add(1);
        let made = self.written.allowed.saturating_add(self.written.denied).saturating_sub(1);
        let above = flow / SRC_PORTS;
        let (source, dst_port) = (above % self.sources, above / self.sources % DST_PORTS);
        let patch = Patch {
            source: self.shape.ends.source(source),
            src_port: FIRST_SRC_PORT.saturating_add((flow % SRC_PORTS) as u16),
            dst_port: if denied {
                self.shape.denied_port
            } else {
                self.shape.dst_port.saturating_add(dst_port as u16)
            },
            stamp: stamp.to_bytes(),
            mac: self.shape.macs.map(|macs| (macs.destination, macs.of(made))),
        };
        if let Some(template) = self.templates.get(self.next) {
            template.write(frame, &patch);
        }
        self.next = if self.next + 1 < self.templates.len() { self.next + 1 } else { 0 };
    }

    fn flow(&mut self, now: u64) -> u64 {
        if self.shape.kind != Kind::Flows {
            let number = self.rng.number();
            return self.fresh(number);
        }
        let due = now as f64 / 1e9 * self.shape.new_flows;
        if due >= self.written.new_flows as f64 + 1.0 {
            // Behind those that go on, one after the other, over and over.
            let number = u64::from(self.shape.flows).saturating_add(self.written.new_flows);
            return self.fresh(number);
        }
        u64::from(self.draw.next(&mut self.rng))
    }

    fn fresh(&mut self, number: u64) -> u64 {
        self.written.new_flows = self.written.new_flows.saturating_add(1);
        number.checked_rem(self.shape.most_flows()).unwrap_or(0)
    }

    fn is_denied(&mut self) -> bool {
        // Nothing is drawn where nothing is to be decided.
        self.shape.denied > 0.0 && (self.rng.number() >> 11) as f64 / 2_f64.powi(53) < self.shape.denied
    }
}
