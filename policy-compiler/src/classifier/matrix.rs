//! (row, identity) → entry, in two loads: rows are cut into pages of 64 identities, equal pages are stored once.
//!
//! Most of a row is what it says about identities its rules do not know, so most of its pages are one page. That
//! makes the matrix grow with what rules speak of, not with pods times policies. 4 bytes per row and 64 identities,
//! 256 bytes per distinct page.

use ahash::AHashMap;

/// Identities of a page.
pub(crate) const PAGE: usize = 64;
/// Bytes of a page.
pub(crate) const PAGE_BYTES: usize = PAGE * 4;

#[derive(Debug, Clone)]
pub(crate) struct Matrix {
    /// Pages of each row.
    width: usize,
    /// Where the page of each (row, 64 identities) starts.
    top: Vec<u32>,
    pages: Vec<u32>,
    known: AHashMap<[u32; PAGE], u32>,
}

impl Matrix {
    pub(crate) fn new(identities: usize) -> Self {
        Self { width: identities.div_ceil(PAGE), top: Vec::new(), pages: Vec::new(), known: AHashMap::new() }
    }

    /// Bytes of the part that does not depend on what rows say.
    pub(crate) fn top_bytes(rows: usize, identities: usize) -> usize {
        rows.saturating_mul(identities.div_ceil(PAGE)).saturating_mul(4)
    }

    /// Adds a row: an entry for every identity. `None`: the numbering ran out.
    pub(crate) fn push(&mut self, row: &[u32]) -> Option<()> {
        for page in 0..self.width {
            let entries = row.get(page * PAGE..).unwrap_or_default();
            let entries =
                std::array::from_fn(|place| entries.get(place).or(row.last()).copied().unwrap_or(0));
            let start = if let Some(&start) = self.known.get(&entries) {
                start
            } else {
                let start = u32::try_from(self.pages.len()).ok()?;
                self.pages.extend(entries);
                self.known.insert(entries, start);
                start
            };
            self.top.push(start);
        }
        Some(())
    }

    /// No more rows come.
    pub(crate) fn finish(&mut self) {
        self.known = AHashMap::new();
        self.top.shrink_to_fit();
        self.pages.shrink_to_fit();
    }

    /// The entry. `None` for a row or an identity that is not there.
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
        self.top.len() * 4 + self.pages.len() * 4
    }
}

#[cfg(test)]
mod tests {
    use super::{Matrix, PAGE_BYTES};

    #[test]
    fn entries_are_found_and_equal_pages_stored_once() {
        let mut row = vec![7; 1000];
        row[130] = 8;
        let mut matrix = Matrix::new(row.len());
        for _ in 0..3 {
            assert_eq!(matrix.push(&row), Some(()));
        }
        matrix.finish();
        for number in 0..3 {
            for (identity, &entry) in (0..).zip(&row) {
                assert_eq!(matrix.get(number, identity), Some(entry));
            }
        }
        assert_eq!(matrix.get(3, 0), None);
        assert_eq!(matrix.get(0, 1024), None);
        assert_eq!(matrix.memory_bytes(), Matrix::top_bytes(3, 1000) + 2 * PAGE_BYTES);
    }
}
