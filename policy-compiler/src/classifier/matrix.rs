//! (row, identity) → entry, in two loads: rows are cut into pages of 64 identities, and a row's pages that say the same
//! throughout are one page.
//!
//! Most of a row is its *default*, what it says about identities its rules do not know. That makes the matrix grow with
//! what rules speak of, not with pods times policies, and lets a new identity touch only the rows that know it.
//! 4 bytes per row and 64 identities, 256 bytes per row and page that is not all default.

use super::draft::Draft;
use std::sync::Arc;

/// Identities of a page.
const PAGE: usize = 64;
/// Bytes of a page.
#[cfg(test)]
const PAGE_BYTES: usize = PAGE * 4;

/// The matrix as it is changed.
#[derive(Debug, Default)]
pub(crate) struct Matrix {
    /// Pages of each row.
    width: usize,
    /// Where the page of each (row, 64 identities) starts.
    top: Draft<u32>,
    pages: Draft<u32>,
}

/// The matrix as it is read.
#[derive(Debug, Clone, Default)]
pub(crate) struct MatrixTable {
    pub(crate) width: usize,
    pub(crate) top: Arc<Vec<u32>>,
    pub(crate) pages: Arc<Vec<u32>>,
}

impl MatrixTable {
    /// Bits of an identity that are its place in a page.
    pub(crate) const PLACE_BITS: u32 = PAGE.trailing_zeros();

    /// The entry of a row that is there. `None` for an identity that is not.
    #[inline]
    pub(crate) fn get(&self, row: u32, identity: u32) -> Option<u32> {
        let (page, place) = (identity as usize / PAGE, identity as usize % PAGE);
        if page >= self.width {
            return None;
        }
        let start = *self.top.get(row as usize * self.width + page)?;
        self.pages.get(start as usize + place).copied()
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        (self.top.len() + self.pages.len()) * 4
    }
}

/// What is needed to change a matrix, beside it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layout {
    /// Where the page of defaults of each row starts.
    defaults: Vec<u32>,
    free_pages: Vec<u32>,
    free_rows: Vec<u32>,
}

impl Matrix {
    /// Bytes of the part that does not depend on what rows say.
    pub(crate) fn top_bytes(rows: usize, identities: usize) -> usize {
        rows.saturating_mul(identities.div_ceil(PAGE)).saturating_mul(4)
    }

    /// The entry of a row that is there. `None` for an identity that is not.
    fn get(&self, row: u32, identity: u32) -> Option<u32> {
        let (page, place) = (identity as usize / PAGE, identity as usize % PAGE);
        if page >= self.width {
            return None;
        }
        let start = self.top.get(row as usize * self.width + page)?;
        self.pages.get(start as usize + place)
    }

    /// The matrix as it is now, for readers.
    pub(crate) fn copy(&mut self) -> MatrixTable {
        MatrixTable { width: self.width, top: self.top.copy(), pages: self.pages.copy() }
    }

    /// Bytes of its tables.
    pub(crate) fn used_bytes(&self) -> usize {
        (self.top.len() + self.pages.len()) * 4
    }
}

impl Layout {
    /// Makes room for this many identities: all rows are laid out anew if there is none.
    pub(crate) fn widen(&self, matrix: &mut Matrix, identities: usize) {
        let needed = identities.div_ceil(PAGE);
        if needed <= matrix.width {
            return;
        }
        let width = needed + if self.defaults.is_empty() { 0 } else { needed / 8 };
        let mut top = Vec::with_capacity(self.defaults.len() * width);
        for (row, &default) in self.defaults.iter().enumerate() {
            let start = row * matrix.width;
            top.extend((start..start + matrix.width).map(|place| matrix.top.get(place).unwrap_or(default)));
            top.resize((row + 1) * width, default);
        }
        matrix.width = width;
        matrix.top.replace(top);
    }

    /// A row that says one thing throughout. `None`: the numbering ran out.
    pub(crate) fn add_row(&mut self, matrix: &mut Matrix, default: u32) -> Option<u32> {
        let page = self.page(matrix, default)?;
        let row = if let Some(row) = self.free_rows.pop() {
            *self.defaults.get_mut(row as usize)? = page;
            row
        } else {
            let row = u32::try_from(self.defaults.len()).ok()?;
            self.defaults.push(page);
            matrix.top.grow(self.defaults.len() * matrix.width, page);
            row
        };
        matrix.top.fill(row as usize * matrix.width, matrix.width, page)?;
        Some(row)
    }

    /// Gives a row back; its number may come again.
    pub(crate) fn remove_row(&mut self, matrix: &mut Matrix, row: u32) {
        let Some(&default) = self.defaults.get(row as usize) else { return };
        for page in 0..matrix.width {
            if let Some(start) = matrix.top.get(row as usize * matrix.width + page)
                && start != default
            {
                self.free_pages.push(start);
            }
        }
        self.free_pages.push(default);
        self.free_rows.push(row);
    }

    /// Changes an entry. `None`: there is no such row or identity, or the numbering ran out.
    pub(crate) fn set(&mut self, matrix: &mut Matrix, row: u32, identity: u32, entry: u32) -> Option<()> {
        if matrix.get(row, identity)? == entry {
            return Some(());
        }
        let default = *self.defaults.get(row as usize)?;
        let (page, place) = (identity as usize / PAGE, identity as usize % PAGE);
        let slot = row as usize * matrix.width + page;
        let mut start = matrix.top.get(slot)?;
        if start == default {
            start = self.page(matrix, matrix.pages.get(default as usize)?)?;
            matrix.top.set(slot, start)?;
        }
        matrix.pages.set(start as usize + place, entry)
    }

    /// A page that says one thing throughout.
    fn page(&mut self, matrix: &mut Matrix, entry: u32) -> Option<u32> {
        if let Some(start) = self.free_pages.pop() {
            matrix.pages.fill(start as usize, PAGE, entry)?;
            return Some(start);
        }
        let start = u32::try_from(matrix.pages.len()).ok()?;
        matrix.pages.grow(start as usize + PAGE, entry);
        Some(start)
    }
}

#[cfg(test)]
mod tests {
    use super::{Layout, Matrix, PAGE_BYTES};

    #[test]
    fn entries_are_found_and_defaults_stored_once() {
        let (mut matrix, mut layout) = (Matrix::default(), Layout::default());
        layout.widen(&mut matrix, 1000);
        for default in 0..3 {
            assert_eq!(layout.add_row(&mut matrix, default), Some(default));
            assert_eq!(layout.set(&mut matrix, default, 130, 77), Some(()));
        }
        let before = matrix.copy();
        layout.widen(&mut matrix, 2000);
        assert_eq!(layout.set(&mut matrix, 1, 1999, 78), Some(()));
        for row in 0..3 {
            for identity in 0..2000 {
                let expected = match (row, identity) {
                    (1, 1999) => 78,
                    (_, 130) => 77,
                    _ => row,
                };
                assert_eq!(matrix.get(row, identity), Some(expected));
            }
            assert_eq!(before.get(row, 130), Some(77), "a copy stays as it was");
        }
        assert_eq!((matrix.get(1 << 20, 0), matrix.get(0, 1 << 20), before.get(0, 1999)), (None, None, None));
        let after = matrix.copy();
        assert_eq!(
            (after.get(1, 1999), after.get(0, 130), after.get(1 << 20, 0)),
            (Some(78), Some(77), None)
        );
        assert_eq!(before.memory_bytes(), Matrix::top_bytes(3, 1000) + 6 * PAGE_BYTES);
    }

    #[test]
    fn what_a_row_gave_back_is_used_again() {
        let (mut matrix, mut layout) = (Matrix::default(), Layout::default());
        layout.widen(&mut matrix, 200);
        let mut used = 0;
        for round in 0..100 {
            assert_eq!(layout.add_row(&mut matrix, round), Some(0));
            assert_eq!(layout.set(&mut matrix, 0, 70, 1000), Some(()));
            assert_eq!(
                (matrix.get(0, 0), matrix.get(0, 70), matrix.get(0, 71)),
                (Some(round), Some(1000), Some(round))
            );
            layout.remove_row(&mut matrix, 0);
            if round == 0 {
                used = matrix.used_bytes();
            }
        }
        assert_eq!(matrix.used_bytes(), used);
    }
}
