//! A worker's queues, by port, and which of them may have something.
//!
//! A queue is due from the moment the kernel says that something came until a receive has drained it. Queues without
//! descriptors (memory ports) are asked every time. A step costs what is due, not what there is: a hundred quiet pods
//! cost nothing.

use std::os::fd::RawFd;
use std::sync::Arc;

use mio::Token;

use crate::pipeline::PortId;
use crate::ports::Port;
use crate::telemetry::PortCounters;

/// A descriptor of a port, as the number that the kernel gives back with what it announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Announced {
    pub(super) id: PortId,
    pub(super) descriptor: usize,
}

impl Announced {
    /// Bits of a descriptor's place.
    const SHIFT: u32 = 8;

    pub(super) fn token(self) -> Token {
        Token(((self.id.0 as usize) << Self::SHIFT) | self.descriptor)
    }

    pub(super) fn of(Token(number): Token) -> Self {
        Self { id: PortId((number >> Self::SHIFT) as u32), descriptor: number & ((1 << Self::SHIFT) - 1) }
    }
}

/// A queue of a port.
pub(super) struct Slot {
    pub(super) port: Box<dyn Port>,
    pub(super) counters: Arc<PortCounters>,
    pub(super) descriptors: Vec<RawFd>,
    /// Whether the control side knows the MAC behind the port.
    pub(super) mac_known: bool,
    due: bool,
}

impl Slot {
    pub(super) fn new(port: Box<dyn Port>, counters: Arc<PortCounters>, mac_known: bool) -> Self {
        let descriptors = port.descriptors();
        Self { port, counters, descriptors, mac_known, due: false }
    }
}

/// All of them.
#[derive(Default)]
pub(super) struct Slots {
    /// By number of the port.
    places: Vec<Option<Slot>>,
    /// Those that are due, in the order they became so.
    due: Vec<PortId>,
}

impl Slots {
    /// Adds a queue, which is due: something may have come before anybody waited for it.
    pub(super) fn insert(&mut self, id: PortId, slot: Slot) {
        let place = id.0 as usize;
        if self.places.len() <= place {
            self.places.resize_with(place + 1, || None);
        }
        if let Some(free) = self.places.get_mut(place) {
            *free = Some(slot);
        }
        self.mark(id);
    }

    pub(super) fn remove(&mut self, id: PortId) -> Option<Slot> {
        self.due.retain(|due| *due != id);
        self.places.get_mut(id.0 as usize)?.take()
    }

    pub(super) fn get_mut(&mut self, id: PortId) -> Option<&mut Slot> {
        self.places.get_mut(id.0 as usize)?.as_mut()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (PortId, &mut Slot)> {
        let numbered = self.places.iter_mut().enumerate();
        numbered.filter_map(|(place, slot)| slot.as_mut().map(|slot| (PortId(place as u32), slot)))
    }

    /// Something may have come.
    pub(super) fn mark(&mut self, id: PortId) {
        let Some(Some(slot)) = self.places.get_mut(id.0 as usize) else { return };
        if !slot.due {
            slot.due = true;
            self.due.push(id);
        }
    }

    /// The kernel says that something came by the so-manyth descriptor of a port.
    pub(super) fn announce(&mut self, Announced { id, descriptor }: Announced) {
        if let Some(slot) = self.get_mut(id) {
            slot.port.announce(descriptor);
            self.mark(id);
        }
    }

    /// Something may have come anywhere.
    pub(super) fn mark_all(&mut self) {
        for place in 0..self.places.len() {
            let id = PortId(place as u32);
            if let Some(slot) = self.get_mut(id) {
                (0..slot.descriptors.len()).for_each(|descriptor| slot.port.announce(descriptor));
            }
            self.mark(id);
        }
    }

    /// The queue was drained: it is due again when the kernel says so.
    pub(super) fn drained(&mut self, id: PortId) {
        let Some(slot) = self.get_mut(id) else { return };
        if !slot.descriptors.is_empty() {
            slot.due = false;
            self.due.retain(|due| *due != id);
        }
    }

    /// Writes down what is due now.
    pub(super) fn copy_due(&self, into: &mut Vec<PortId>) {
        into.clear();
        into.extend_from_slice(&self.due);
    }

    /// Whether something that the kernel announced is still to be taken.
    pub(super) fn any_announced(&self) -> bool {
        let announced = |id: &PortId| {
            let slot = self.places.get(id.0 as usize).and_then(Option::as_ref);
            slot.is_some_and(|slot| !slot.descriptors.is_empty())
        };
        self.due.iter().any(announced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::{Batch, Pool};
    use crate::ports::{Capabilities, Gone, Received, Sent};
    use std::io;

    struct Quiet(Vec<RawFd>);

    impl Port for Quiet {
        fn recv(&mut self, _: &mut Pool, _: &mut Batch, _: usize) -> io::Result<Received> {
            Ok(Received::default())
        }

        fn send(&mut self, _: &mut Pool, _: &mut Batch) -> Result<Sent, Gone> {
            Ok(Sent::default())
        }

        fn capabilities(&self) -> Capabilities {
            Capabilities::default()
        }

        fn descriptors(&self) -> Vec<RawFd> {
            self.0.clone()
        }
    }

    fn due(slots: &Slots) -> Vec<u32> {
        let mut due = Vec::new();
        slots.copy_due(&mut due);
        due.into_iter().map(|id| id.0).collect()
    }

    fn slot(descriptors: &[RawFd]) -> Slot {
        Slot::new(Box::new(Quiet(descriptors.to_vec())), Arc::default(), true)
    }

    #[test]
    fn a_queue_is_due_from_its_announcement_until_it_is_drained() {
        let mut slots = Slots::default();
        slots.insert(PortId(2), slot(&[7]));
        slots.insert(PortId(0), slot(&[8]));
        assert_eq!(due(&slots), [2, 0]);
        slots.drained(PortId(2));
        assert_eq!(due(&slots), [0]);
        slots.mark(PortId(2));
        slots.mark(PortId(2));
        slots.mark(PortId(1));
        slots.mark(PortId(9));
        assert_eq!(due(&slots), [0, 2]);
        slots.drained(PortId(0));
        assert!(slots.any_announced());
        assert!(slots.remove(PortId(2)).is_some());
        assert!(!slots.any_announced());
        slots.mark_all();
        assert_eq!(due(&slots), [0]);
    }

    #[test]
    fn a_descriptor_is_told_by_the_number_the_kernel_gives_back() {
        for (id, descriptor) in [(0, 0), (0, 1), (1, 0), (70_000, 255), (u32::MAX, 3)] {
            let announced = Announced { id: PortId(id), descriptor };
            assert_eq!(Announced::of(announced.token()), announced);
        }
    }

    #[test]
    fn a_queue_without_descriptors_is_asked_every_time_and_keeps_nobody_awake() {
        let mut slots = Slots::default();
        slots.insert(PortId(0), slot(&[]));
        slots.drained(PortId(0));
        assert_eq!(due(&slots), [0]);
        assert!(!slots.any_announced());
    }
}
