//! Doubly linked lists over the indices of the slab: any number of lists, each index in one of them at the most.
//!
//! Eight bytes an index, apart from the entries, so that relinking does not touch them. Every operation costs
//! the same. An index outside the range it was made for is left out.

/// No index.
const END: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Link {
    prev: u32,
    next: u32,
}

/// The ends of one list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct List {
    head: u32,
    tail: u32,
}

impl List {
    pub(super) const EMPTY: Self = Self { head: END, tail: END };

    /// The index that was put in first.
    pub(super) const fn first(self) -> Option<u32> {
        if self.head == END { None } else { Some(self.head) }
    }
}

/// The links of all lists. Memory for `capacity` indices is reserved at once and touched as they come into use.
pub(super) struct Links {
    links: Vec<Link>,
    capacity: usize,
}

impl Links {
    pub(super) fn new(capacity: usize) -> Self {
        Self { links: Vec::with_capacity(capacity), capacity }
    }

    /// Puts `index`, which is in no list, at the end of `list`.
    pub(super) fn push(&mut self, list: &mut List, index: u32) {
        let position = index as usize;
        if position >= self.capacity {
            return;
        }
        if position >= self.links.len() {
            self.links.resize(position + 1, Link { prev: END, next: END });
        }
        self.set(index, Link { prev: list.tail, next: END });
        match self.links.get_mut(list.tail as usize) {
            Some(last) => last.next = index,
            None => list.head = index,
        }
        list.tail = index;
    }

    /// Takes `index` out of `list`, which it is in.
    pub(super) fn unlink(&mut self, list: &mut List, index: u32) {
        let Some(&Link { prev, next }) = self.links.get(index as usize) else { return };
        match self.links.get_mut(prev as usize) {
            Some(before) => before.next = next,
            None => list.head = next,
        }
        match self.links.get_mut(next as usize) {
            Some(after) => after.prev = prev,
            None => list.tail = prev,
        }
    }

    /// Takes out the index that was put in first.
    pub(super) fn pop(&mut self, list: &mut List) -> Option<u32> {
        let index = list.first()?;
        self.unlink(list, index);
        Some(index)
    }

    fn set(&mut self, index: u32, link: Link) {
        if let Some(place) = self.links.get_mut(index as usize) {
            *place = link;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_gives_back_in_order_what_was_not_taken_out() {
        let (mut links, mut list, mut other) = (Links::new(8), List::EMPTY, List::EMPTY);
        for index in [3, 1, 7, 0] {
            links.push(&mut list, index);
        }
        links.push(&mut other, 5);
        links.unlink(&mut list, 1);
        links.unlink(&mut list, 0);
        links.unlink(&mut list, 3);
        links.push(&mut list, 3);
        assert_eq!(links.pop(&mut list), Some(7));
        assert_eq!(links.pop(&mut list), Some(3));
        assert_eq!(links.pop(&mut list), None);
        assert_eq!(list, List::EMPTY);
        assert_eq!(links.pop(&mut other), Some(5));
    }

    #[test]
    fn an_index_beyond_the_capacity_is_left_out() {
        let (mut links, mut list) = (Links::new(2), List::EMPTY);
        links.push(&mut list, 2);
        assert_eq!(list.first(), None);
    }
}
