//! Where an exchange takes place: between two interfaces, or around weir's pipeline in memory.

use std::io;
use std::time::Duration;

use super::end::Card;
use super::interfaces::Interfaces;
use super::memory::Memory;
use super::nic::Nic;
use crate::load::interface::Listening;
use crate::report::Book;

/// What carries frames from one end to the other.
pub(super) trait Link {
    /// Forgets what was counted.
    fn begin(&mut self);

    /// Carries what the cards of client and server have to send, and hands them what has come. Returns how many frames.
    ///
    /// # Errors
    /// An interface is gone.
    fn carry(&mut self, cards: [&mut Nic; 2], now: Duration) -> io::Result<usize>;

    /// How long nothing has to come before everything has.
    fn drain(&self) -> Duration;

    /// There was nothing to do.
    fn rest(&self);

    /// The books since the beginning, where so many segments arrived.
    fn book(&self, arrived: u64) -> Book;
}

/// A device with a client on one side and a server on the other.
pub struct ExchangeBed {
    name: String,
    cards: [Card; 2],
    link: Box<dyn Link>,
}

impl ExchangeBed {
    /// Two interfaces of this host with a device between them, the client's first. Nothing has to come for `drain` before
    /// segments are counted.
    pub fn interfaces(ends: [(String, Listening); 2], cards: [Card; 2], drain: Duration) -> Self {
        let [(near, _), (far, _)] = &ends;
        Self { name: format!("{near} and {far}"), cards, link: Box::new(Interfaces::new(ends, drain)) }
    }

    /// weir's pipeline in memory: a pod asks one on another node.
    ///
    /// # Errors
    /// The node cannot be made: a bug, in words.
    pub fn memory(policies: usize) -> Result<Self, String> {
        let memory = Memory::new(policies)?;
        let name = "weir's pipeline in memory".to_owned();
        Ok(Self { name, cards: Memory::cards(), link: Box::new(memory) })
    }

    #[cfg(test)]
    pub(super) fn with(name: &str, cards: [Card; 2], link: Box<dyn Link>) -> Self {
        Self { name: name.to_owned(), cards, link }
    }

    /// What it is called.
    pub fn name(&self) -> String {
        self.name.clone()
    }

    pub(super) fn cards(&self) -> [Card; 2] {
        self.cards
    }

    pub(super) fn begin(&mut self) -> &mut dyn Link {
        self.link.begin();
        &mut *self.link
    }
}
