//! A long list that is changed while readers hold copies of it: how one generation's tables become the next's.
//!
//! Readers get whole copies, so that a lookup is one load from one array. The writer keeps the list itself and knows of
//! each piece of 4,096 elements when it last changed; a copy that nobody holds any more is brought up to date piece by
//! piece and handed out again. So a change costs the pieces it lies in (16 KiB of numbers each), if the copy before last
//! has been let go, and else one copy of the list. Bytes: the list, and at most two copies of it beside those that
//! are held.

use std::sync::Arc;

const BITS: u32 = 12;
const PIECE: usize = 1 << BITS;
/// Copies that may be handed out again: the last one and the one before.
const KEPT: usize = 2;

#[derive(Debug)]
struct Copied<T> {
    elements: Arc<Vec<T>>,
    /// Changes from this edition on are not in it.
    edition: u64,
}

#[derive(Debug)]
pub(crate) struct Draft<T> {
    elements: Vec<T>,
    /// The edition in which each piece last changed.
    touched: Vec<u64>,
    /// Changes made now are in this edition.
    edition: u64,
    changed: bool,
    copies: Vec<Copied<T>>,
}

impl<T> Default for Draft<T> {
    fn default() -> Self {
        Self { elements: Vec::new(), touched: Vec::new(), edition: 0, changed: true, copies: Vec::new() }
    }
}

impl<T: Copy + PartialEq> Draft<T> {
    pub(crate) fn len(&self) -> usize {
        self.elements.len()
    }

    pub(crate) fn get(&self, position: usize) -> Option<T> {
        self.elements.get(position).copied()
    }

    /// Changes an element unless it is that already. `None` beyond the end.
    pub(crate) fn set(&mut self, position: usize, value: T) -> Option<()> {
        let element = self.elements.get_mut(position)?;
        // A write that changes nothing must not have a piece copied.
        if *element != value {
            *element = value;
            self.touch(position, position + 1);
        }
        Some(())
    }

    /// Sets `count` elements from `start` on.
    pub(crate) fn fill(&mut self, start: usize, count: usize, value: T) -> Option<()> {
        let end = start.checked_add(count)?;
        self.elements.get_mut(start..end)?.fill(value);
        self.touch(start, end);
        Some(())
    }

    /// Makes it longer; what is new is `value`.
    pub(crate) fn grow(&mut self, len: usize, value: T) {
        let start = self.elements.len();
        if len > start {
            self.elements.resize(len, value);
            self.touch(start, len);
        }
    }

    pub(crate) fn extend(&mut self, values: &[T]) {
        let start = self.elements.len();
        self.elements.extend_from_slice(values);
        self.touch(start, self.elements.len());
    }

    /// Other elements in place of all.
    pub(crate) fn replace(&mut self, values: Vec<T>) {
        self.elements = values;
        self.touched.clear();
        self.touch(0, self.elements.len());
    }

    fn touch(&mut self, start: usize, end: usize) {
        self.changed = true;
        self.touched.resize(self.elements.len().div_ceil(PIECE), self.edition);
        if let Some(pieces) = self.touched.get_mut(start >> BITS..end.div_ceil(PIECE)) {
            pieces.fill(self.edition);
        }
    }

    /// The list as it is now, for readers.
    pub(crate) fn copy(&mut self) -> Arc<Vec<T>> {
        if !self.changed
            && let Some(last) = self.copies.last()
        {
            return Arc::clone(&last.elements);
        }
        let mut copied = self.let_go().unwrap_or_else(|| Copied { elements: Arc::default(), edition: 0 });
        // Nobody else holds it: no element is cloned but those that are copied here.
        self.bring_up_to_date(Arc::make_mut(&mut copied.elements), copied.edition);
        self.edition += 1;
        self.changed = false;
        copied.edition = self.edition;
        let elements = Arc::clone(&copied.elements);
        if self.copies.len() >= KEPT {
            self.copies.remove(0);
        }
        self.copies.push(copied);
        elements
    }

    /// A copy that nobody holds.
    fn let_go(&mut self) -> Option<Copied<T>> {
        let free = self.copies.iter_mut().position(|copied| Arc::get_mut(&mut copied.elements).is_some())?;
        Some(self.copies.remove(free))
    }

    fn bring_up_to_date(&self, elements: &mut Vec<T>, edition: u64) {
        let known = elements.len().min(self.elements.len());
        elements.truncate(known);
        if known == 0 {
            // Room to grow in, as the list itself has.
            elements.reserve_exact(self.elements.capacity());
        }
        for (number, &touched) in self.touched.iter().enumerate() {
            let (start, end) = (number * PIECE, ((number + 1) * PIECE).min(known));
            if touched >= edition
                && let (Some(to), Some(from)) = (elements.get_mut(start..end), self.elements.get(start..end))
            {
                to.copy_from_slice(from);
            }
        }
        elements.extend_from_slice(self.elements.get(known..).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::{Draft, PIECE};
    use std::sync::Arc;

    #[test]
    fn a_copy_keeps_what_it_was() {
        let mut draft = Draft::default();
        let values: Vec<u32> = (0..10_000).collect();
        draft.extend(&values);
        let copy = draft.copy();
        assert!(Arc::ptr_eq(&copy, &draft.copy()), "nothing has changed");
        assert_eq!((draft.set(9_999, 1), draft.set(10_000, 1)), (Some(()), None));
        let next = draft.copy();
        assert_eq!((*copy).as_slice(), values);
        assert_eq!((next.len(), next.get(9_998), next.get(9_999)), (10_000, Some(&9_998), Some(&1)));
    }

    #[test]
    fn whatever_is_changed_and_held_a_copy_is_the_list() {
        let mut state = 0x8472_u64;
        let mut below = |bound: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as usize % bound
        };
        let mut draft: Draft<u32> = Draft::default();
        let mut plain: Vec<u32> = Vec::new();
        let mut held = Vec::new();
        let mut addresses = std::collections::BTreeSet::new();
        for round in 0..2000_u32 {
            match below(6) {
                0 if plain.len() < 10 * PIECE => {
                    plain.resize(plain.len() + below(2 * PIECE), round);
                    draft.grow(plain.len(), round);
                }
                1 if plain.len() < 10 * PIECE => {
                    plain.extend([round; 3]);
                    draft.extend(&[round; 3]);
                }
                2 if below(50) == 0 => {
                    plain = vec![round; below(3 * PIECE)];
                    draft.replace(plain.clone());
                }
                3 if plain.len() > 100 => {
                    let start = below(plain.len() - 64);
                    plain[start..start + 64].fill(round);
                    assert_eq!(draft.fill(start, 64, round), Some(()));
                }
                _ if !plain.is_empty() => {
                    let position = below(plain.len());
                    plain[position] = round;
                    assert_eq!(draft.set(position, round), Some(()));
                }
                _ => {}
            }
            if below(2) == 0 {
                let copy = draft.copy();
                assert_eq!(*copy, plain);
                addresses.insert(Arc::as_ptr(&copy) as usize);
                held.push((copy, plain.clone()));
            }
            if below(3) == 0 && !held.is_empty() {
                held.clear();
            }
            assert!(held.iter().all(|(copy, then)| **copy == *then), "what is held does not change");
        }
        assert!(addresses.len() < 500, "copies are used again");
    }
}
