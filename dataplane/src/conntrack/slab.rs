//! The entries, by number. Memory for all of them is reserved at construction and touched as they first come
//! into use; a place that became vacant is used next, as it is still in the cache.

use super::entry::Conn;
use super::names::ConnId;

/// The entries.
pub(super) struct Slab {
    entries: Vec<Conn>,
    vacant: Vec<u32>,
    limit: usize,
}

impl Slab {
    pub(super) fn new(limit: usize) -> Self {
        Self { entries: Vec::with_capacity(limit), vacant: Vec::with_capacity(limit), limit }
    }

    /// Entries in use.
    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.vacant.len()
    }

    /// The place that [`Slab::insert`] will use; `None` when all are taken.
    pub(super) fn next_place(&self) -> Option<u32> {
        match self.vacant.last() {
            Some(index) => Some(*index),
            None if self.entries.len() < self.limit => u32::try_from(self.entries.len()).ok(),
            None => None,
        }
    }

    /// Puts `conn` into the next place.
    pub(super) fn insert(&mut self, mut conn: Conn) -> Option<ConnId> {
        let index = self.next_place()?;
        if self.vacant.pop().is_some() {
            let place = self.entries.get_mut(index as usize)?;
            conn.serial = place.serial;
            *place = conn;
        } else {
            self.entries.push(conn);
        }
        self.id(index)
    }

    /// Vacates a place. Its next tenant has another serial.
    pub(super) fn remove(&mut self, index: u32) {
        if let Some(conn) = self.entries.get_mut(index as usize)
            && conn.live
        {
            conn.live = false;
            conn.serial = conn.serial.wrapping_add(1);
            self.vacant.push(index);
        }
    }

    /// The entry at a place.
    pub(super) fn at(&self, index: u32) -> Option<&Conn> {
        self.entries.get(index as usize).filter(|conn| conn.live)
    }

    /// The entry at a place, to be changed.
    pub(super) fn at_mut(&mut self, index: u32) -> Option<&mut Conn> {
        self.entries.get_mut(index as usize).filter(|conn| conn.live)
    }

    /// The entry of that name, if it is still there.
    pub(super) fn get(&self, id: ConnId) -> Option<&Conn> {
        self.at(id.index).filter(|conn| conn.serial == id.serial)
    }

    /// The entry of that name, if it is still there, to be changed.
    pub(super) fn get_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.at_mut(id.index).filter(|conn| conn.serial == id.serial)
    }

    /// The name of the entry at a place.
    pub(super) fn id(&self, index: u32) -> Option<ConnId> {
        self.at(index).map(|conn| ConnId { index, serial: conn.serial })
    }

    /// Places that were ever used, vacant ones included.
    pub(super) fn places(&self) -> u32 {
        self.entries.len() as u32
    }

    /// All entries in use.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ConnId, &Conn)> {
        self.entries
            .iter()
            .enumerate()
            .filter(|(_, conn)| conn.live)
            .map(|(index, conn)| (ConnId { index: index as u32, serial: conn.serial }, conn))
    }
}
