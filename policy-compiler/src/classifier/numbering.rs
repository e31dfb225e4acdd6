//! Numbers for things that are equal to one another: how rules, ways, atoms, classes and identities get theirs.
//!
//! Cost: a map operation; each thing is kept twice, to be found by itself and by its number.

use ahash::AHashMap;
use std::collections::hash_map::Entry as Slot;
use std::hash::Hash;

/// Gives equal things one number, in order of first sight.
#[derive(Debug, Clone)]
pub(crate) struct Numbering<T> {
    numbers: AHashMap<T, usize>,
    things: Vec<T>,
}

impl<T: Hash + Eq + Clone> Numbering<T> {
    pub(crate) fn new() -> Self {
        Self { numbers: AHashMap::new(), things: Vec::new() }
    }

    pub(crate) fn number(&mut self, thing: T) -> usize {
        match self.numbers.entry(thing) {
            Slot::Occupied(slot) => *slot.get(),
            Slot::Vacant(slot) => {
                let number = self.things.len();
                self.things.push(slot.key().clone());
                *slot.insert(number)
            }
        }
    }

    pub(crate) fn find(&self, thing: &T) -> Option<usize> {
        self.numbers.get(thing).copied()
    }

    pub(crate) fn things(&self) -> &[T] {
        &self.things
    }

    pub(crate) fn get(&self, number: usize) -> Option<&T> {
        self.things.get(number)
    }

    /// Gives a number to another thing, which has none.
    pub(crate) fn rename(&mut self, number: usize, thing: T) {
        self.forget(number);
        self.numbers.insert(thing.clone(), number);
        if let Some(slot) = self.things.get_mut(number) {
            *slot = thing;
        }
    }

    /// Makes a number mean nothing. It may be used again by [`Self::reuse`].
    pub(crate) fn forget(&mut self, number: usize) {
        if let Some(thing) = self.things.get(number)
            && self.numbers.get(thing) == Some(&number)
        {
            self.numbers.remove(thing);
        }
    }

    /// The number of a thing; a new one's is one of the forgotten, if there are any.
    pub(crate) fn reuse(&mut self, thing: T, forgotten: &mut Vec<usize>) -> usize {
        if let Some(number) = self.find(&thing) {
            return number;
        }
        let Some(number) = forgotten.pop() else { return self.number(thing) };
        self.rename(number, thing);
        number
    }

    pub(crate) fn len(&self) -> usize {
        self.things.len()
    }
}
