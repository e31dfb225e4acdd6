//! Lists and maps whose copies share what did not change: how one generation's [`super::Cluster`] becomes the next's.
//!
//! A list stands on shelves of up to 128 things behind reference counts. A copy costs a count per shelf; a change
//! copies one shelf. Finding a place costs a walk over the shelves' lengths, a thousand or so for 100,000 things.

use std::net::IpAddr;
use std::sync::Arc;

/// A shelf that grows beyond this becomes two.
const SHELF: usize = 128;

/// A list that is cheap to copy and to change in one place.
#[derive(Clone)]
pub struct Shelves<T> {
    shelves: Arc<Vec<Arc<Vec<T>>>>,
}

impl<T> Default for Shelves<T> {
    fn default() -> Self {
        Self { shelves: Arc::default() }
    }
}

impl<T> Shelves<T> {
    /// How many things there are.
    pub fn len(&self) -> usize {
        self.shelves.iter().map(|shelf| shelf.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.shelves.is_empty()
    }

    /// The thing at a position.
    pub fn get(&self, position: usize) -> Option<&T> {
        let (shelf, place) = self.find(position)?;
        self.shelves.get(shelf)?.get(place)
    }

    /// The first thing.
    pub fn first(&self) -> Option<&T> {
        self.get(0)
    }

    /// All things, in order.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { shelves: self.shelves.iter(), shelf: [].iter(), left: self.len() }
    }

    /// Where a thing is, or where it would belong, in a list sorted by what `compare` compares.
    ///
    /// # Errors
    /// The position at which it would have to be inserted.
    pub fn binary_search_by(
        &self,
        mut compare: impl FnMut(&T) -> std::cmp::Ordering,
    ) -> Result<usize, usize> {
        // Things up to and including the first of this shelf may be less, nothing from the next one on is.
        let shelf =
            self.shelves.partition_point(|shelf| shelf.last().is_some_and(|last| compare(last).is_lt()));
        let before: usize = self.shelves.iter().take(shelf).map(|shelf| shelf.len()).sum();
        let Some(things) = self.shelves.get(shelf) else { return Err(before) };
        things.binary_search_by(compare).map(|place| before + place).map_err(|place| before + place)
    }

    fn find(&self, mut position: usize) -> Option<(usize, usize)> {
        for (number, shelf) in self.shelves.iter().enumerate() {
            if position < shelf.len() {
                return Some((number, position));
            }
            position -= shelf.len();
        }
        None
    }
}

impl<T: Clone> Shelves<T> {
    /// Puts a thing at a position; what stands there and after it moves on.
    pub(crate) fn insert(&mut self, position: usize, thing: T) {
        let (number, place) = self.find(position).unwrap_or_else(|| {
            let last = self.shelves.len().saturating_sub(1);
            (last, self.shelves.last().map_or(0, |shelf| shelf.len()))
        });
        let shelves = Arc::make_mut(&mut self.shelves);
        let Some(shelf) = shelves.get_mut(number) else {
            shelves.push(Arc::new(vec![thing]));
            return;
        };
        let things = Arc::make_mut(shelf);
        things.insert(place.min(things.len()), thing);
        if things.len() > SHELF {
            let rest = things.split_off(things.len() / 2);
            shelves.insert(number + 1, Arc::new(rest));
        }
    }

    /// Puts a thing at the end.
    pub(crate) fn push(&mut self, thing: T) {
        let shelves = Arc::make_mut(&mut self.shelves);
        match shelves.last_mut() {
            Some(shelf) if shelf.len() < SHELF => Arc::make_mut(shelf).push(thing),
            _ => shelves.push(Arc::new(vec![thing])),
        }
    }

    /// Takes the thing at a position away.
    pub(crate) fn remove(&mut self, position: usize) -> Option<T> {
        let (number, place) = self.find(position)?;
        let shelves = Arc::make_mut(&mut self.shelves);
        let shelf = shelves.get_mut(number)?;
        let thing = Arc::make_mut(shelf).remove(place);
        if shelf.is_empty() {
            shelves.remove(number);
        }
        Some(thing)
    }

    /// The thing at a position, to be changed.
    pub(crate) fn get_mut(&mut self, position: usize) -> Option<&mut T> {
        let (number, place) = self.find(position)?;
        Arc::make_mut(Arc::make_mut(&mut self.shelves).get_mut(number)?).get_mut(place)
    }
}

/// Things of [`Shelves`], in order.
#[derive(Debug)]
pub struct Iter<'a, T> {
    shelves: std::slice::Iter<'a, Arc<Vec<T>>>,
    shelf: std::slice::Iter<'a, T>,
    left: usize,
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        loop {
            if let Some(thing) = self.shelf.next() {
                self.left = self.left.saturating_sub(1);
                return Some(thing);
            }
            self.shelf = self.shelves.next()?.iter();
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T> ExactSizeIterator for Iter<'_, T> {}

impl<'a, T> IntoIterator for &'a Shelves<T> {
    type Item = &'a T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> FromIterator<T> for Shelves<T> {
    fn from_iter<I: IntoIterator<Item = T>>(things: I) -> Self {
        let mut shelves = Vec::new();
        let mut things = things.into_iter().peekable();
        while things.peek().is_some() {
            shelves.push(Arc::new(things.by_ref().take(SHELF / 2).collect()));
        }
        Self { shelves: Arc::new(shelves) }
    }
}

impl<T> From<Vec<T>> for Shelves<T> {
    fn from(things: Vec<T>) -> Self {
        things.into_iter().collect()
    }
}

impl<T> std::ops::Index<usize> for Shelves<T> {
    type Output = T;

    /// # Panics
    /// There is nothing at the position, as with a slice.
    fn index(&self, position: usize) -> &T {
        let len = self.len();
        self.get(position).unwrap_or_else(|| panic!("position {position} of {len}"))
    }
}

impl<T: PartialEq> PartialEq for Shelves<T> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other)
    }
}

impl<T: Eq> Eq for Shelves<T> {}

impl<T: std::fmt::Debug> std::fmt::Debug for Shelves<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

/// What is known of addresses, sorted by address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByAddress<V>(Shelves<(IpAddr, V)>);

impl<V> Default for ByAddress<V> {
    fn default() -> Self {
        Self(Shelves::default())
    }
}

impl<V> ByAddress<V> {
    /// What is known of an address.
    pub fn get(&self, address: &IpAddr) -> Option<&V> {
        let position = self.position(address).ok()?;
        self.0.get(position).map(|(_, known)| known)
    }

    /// Whether something is known of an address.
    pub fn contains_key(&self, address: &IpAddr) -> bool {
        self.position(address).is_ok()
    }

    /// How many addresses there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All addresses, in order.
    pub fn keys(&self) -> impl Iterator<Item = &IpAddr> {
        self.0.iter().map(|(address, _)| address)
    }

    /// All addresses with what is known of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&IpAddr, &V)> {
        self.0.iter().map(|(address, known)| (address, known))
    }

    fn position(&self, address: &IpAddr) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| known.cmp(address))
    }
}

impl<V: Clone> ByAddress<V> {
    pub(crate) fn insert(&mut self, address: IpAddr, known: V) {
        match self.position(&address) {
            Ok(position) => {
                if let Some(slot) = self.0.get_mut(position) {
                    slot.1 = known;
                }
            }
            Err(position) => self.0.insert(position, (address, known)),
        }
    }

    pub(crate) fn remove(&mut self, address: &IpAddr) {
        if let Ok(position) = self.position(address) {
            self.0.remove(position);
        }
    }
}

impl<V> FromIterator<(IpAddr, V)> for ByAddress<V> {
    /// Of one address the last counts.
    fn from_iter<I: IntoIterator<Item = (IpAddr, V)>>(known: I) -> Self {
        Self(known.into_iter().collect::<std::collections::BTreeMap<_, _>>().into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::{ByAddress, Shelves};
    use std::net::IpAddr;

    #[test]
    fn a_list_on_shelves_is_a_list() {
        let (mut list, mut plain) = (Shelves::<u32>::default(), Vec::new());
        let mut state = 0x8472_u32;
        for round in 0..6000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let value = state >> 8;
            if round % 3 == 2 {
                let position = value as usize % plain.len();
                let copy = list.clone();
                assert_eq!(list.remove(position), Some(plain.remove(position)));
                assert_eq!(copy.len(), list.len() + 1);
            } else {
                let position = plain.binary_search(&value).unwrap_or_else(|position| position);
                assert_eq!(
                    list.binary_search_by(|one| one.cmp(&value)).unwrap_or_else(|position| position),
                    position
                );
                list.insert(position, value);
                plain.insert(position, value);
            }
        }
        assert!(list.iter().eq(&plain) && list == plain.clone().into());
        for (position, value) in plain.iter().enumerate() {
            assert_eq!(list.get(position), Some(value));
            assert_eq!(list.binary_search_by(|one| one.cmp(value)), Ok(position));
        }
        assert_eq!((list.get(plain.len()), list.iter().len()), (None, plain.len()));
    }

    #[test]
    fn addresses_are_found_and_sorted() {
        let address = |last| IpAddr::from([10, 0, 0, last]);
        let mut known: ByAddress<u8> = [(address(9), 9), (address(3), 3)].into_iter().collect();
        known.insert(address(5), 0);
        known.insert(address(5), 5);
        known.remove(&address(9));
        known.remove(&address(8));
        assert_eq!(known.keys().copied().collect::<Vec<_>>(), [address(3), address(5)]);
        assert_eq!(
            (known.get(&address(5)), known.contains_key(&address(9)), known.len()),
            (Some(&5), false, 2)
        );
    }
}
