//! Requests of the control socket: carried to the control thread, and the answers back.

use std::time::Duration;

use crossbeam::channel::{Sender, bounded};

use super::Event;
use super::control_loop::ControlLoop;
use crate::config::Attachment;
use crate::control::{DetachTarget, Handler, LONGEST_LEASE, Stages, Status};

/// Carries requests of the control socket's threads to the control thread, and the answers back.
pub(super) struct RequestHandler {
    events: Sender<Event>,
}

impl RequestHandler {
    pub(super) fn new(events: Sender<Event>) -> Self {
        Self { events }
    }

    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut ControlLoop) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = bounded(1);
        let request = Box::new(move |control: &mut ControlLoop| {
            // The client has gone: nobody to answer.
            let _ = reply.send(question(control));
        });
        self.events.send(Event::Request(request)).ok()?;
        answer.recv().ok()
    }
}

const ENDED: &str = "weir is stopping";

impl Handler for RequestHandler {
    fn status(&self) -> Status {
        self.ask(ControlLoop::status).unwrap_or_default()
    }

    fn attach(&self, attachment: Attachment) -> Result<(), String> {
        self.ask(move |control| control.attach(attachment)).unwrap_or_else(|| Err(ENDED.into()))
    }

    fn detach(&self, target: DetachTarget) -> Result<(), String> {
        self.ask(move |control| control.detach(&target)).unwrap_or_else(|| Err(ENDED.into()))
    }

    fn reload(&self) -> Result<u64, String> {
        self.ask(ControlLoop::reload).unwrap_or_else(|| Err(ENDED.into()))
    }

    fn stages(&self, lease: Duration) -> Result<Stages, String> {
        if lease > LONGEST_LEASE {
            return Err(format!(
                "stages are timed for at most {} milliseconds at a time: ask again before they are over",
                LONGEST_LEASE.as_millis()
            ));
        }
        self.ask(move |control| control.stages(lease)).ok_or_else(|| ENDED.into())
    }
}
