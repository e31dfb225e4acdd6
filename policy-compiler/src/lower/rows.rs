//! Subjects → rows: pods that the same policies judge in the same way share one row per direction.
//!
//! A row is made when its first subject comes and goes with its last. The matrix has a line for each: of new rows the
//! entries that may not be what the row says by default are written, of all others those of new identities.

use super::TooLarge;
use super::catalogue::Catalogue;
use super::cell::Cells;
use super::fixed::FixedRules;
use super::identity::Identities;
use super::members::Members;
use super::row::{BY_IDENTITY, Row, RowKey, SubjectView};
use crate::classifier::matrix::{Layout, Matrix};
use crate::model::Direction;
use ahash::AHashMap;
use std::collections::BTreeSet;
/// All rows, and the matrix.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    numbers: AHashMap<RowKey, u32>,
    list: Vec<Option<Row>>,
    pub(crate) matrix: Matrix,
    layout: Layout,
    /// Rows that have no entries yet.
    new: BTreeSet<u32>,
}

impl Rows {
    /// The rows of one more subject: by direction (egress, ingress) and family (IPv4, IPv6).
    pub(crate) fn add(
        &mut self,
        subject: &SubjectView<'_>,
        fixed: &FixedRules,
        cells: &mut Cells,
        catalogue: &mut Catalogue,
    ) -> Result<[u32; 4], TooLarge> {
        let mut rows = [0; 4];
        let all = Direction::ALL.into_iter().flat_map(|direction| [(direction, true), (direction, false)]);
        for (slot, (direction, v4)) in rows.iter_mut().zip(all) {
            let key = RowKey::of(subject, direction, v4, catalogue);
            *slot = match self.numbers.get(&key) {
                Some(&row) => row,
                None => self.make(key, fixed, cells, catalogue)?,
            };
            if let Some(Some(row)) = self.list.get_mut(*slot as usize) {
                row.subjects += 1;
            }
        }
        Ok(rows)
    }

    /// A subject no longer has these rows.
    pub(crate) fn remove(&mut self, rows: [u32; 4]) {
        for number in rows {
            let Some(slot) = self.list.get_mut(number as usize) else { continue };
            let Some(row) = slot else { continue };
            row.subjects = row.subjects.saturating_sub(1);
            if row.subjects == 0 {
                self.numbers.remove(&row.key);
                self.layout.remove_row(&mut self.matrix, number);
                self.new.remove(&number);
                *slot = None;
            }
        }
    }

    fn make(
        &mut self,
        key: RowKey,
        fixed: &FixedRules,
        cells: &mut Cells,
        catalogue: &mut Catalogue,
    ) -> Result<u32, TooLarge> {
        let row = Row::new(key, fixed, cells, catalogue)?;
        let key = row.key.clone();
        let number = self.layout.add_row(&mut self.matrix, row.default);
        let number = number.ok_or(TooLarge { part: "verdict matrix", needed: usize::MAX })?;
        self.list.resize_with(self.list.len().max(number as usize + 1), || None);
        if let Some(slot) = self.list.get_mut(number as usize) {
            *slot = Some(row);
        }
        self.numbers.insert(key, number);
        self.new.insert(number);
        Ok(number)
    }

    /// Source classes are others now.
    pub(crate) fn forget_choices(&mut self) {
        for row in self.list.iter_mut().flatten() {
            row.forget_choices();
        }
    }

    /// Writes the entries of new rows, and those of new identities in all others.
    pub(crate) fn fill(
        &mut self,
        identities: &mut Identities,
        fixed: &FixedRules,
        cells: &mut Cells,
        catalogue: &mut Catalogue,
        around: usize,
    ) -> Result<(), TooLarge> {
        let new_identities = identities.take_new();
        let new_rows = std::mem::take(&mut self.new);
        let seen = &identities.seen;
        let top = Matrix::top_bytes(self.list.len(), seen.len());
        cells.around = around.saturating_add(self.matrix.used_bytes()).saturating_add(top);
        cells.check("verdict matrix", catalogue)?;
        self.layout.widen(&mut self.matrix, seen.len());
        let members = (!new_rows.is_empty()).then(|| Members::new(seen, catalogue.atoms.len()));
        let Self { list, matrix, layout, .. } = self;
        for (number, row) in (0..).zip(list) {
            let Some(row) = row else { continue };
            let known: Vec<usize> = match members.as_ref().filter(|_| new_rows.contains(&number)) {
                Some(members) => match row.special(members, catalogue) {
                    Some(special) => {
                        cells.budget.toil(row.effort.saturating_add(special.len()), BY_IDENTITY)?;
                        special.into_iter().collect()
                    }
                    None => (0..seen.len()).collect(),
                },
                None => new_identities.iter().copied().collect(),
            };
            for identity in known {
                let Some(seen) = seen.get(identity) else { continue };
                let entry = row.entry(seen, fixed, cells, catalogue)?;
                let identity = u32::try_from(identity).ok();
                let written = identity.and_then(|identity| layout.set(matrix, number, identity, entry));
                written.ok_or(TooLarge { part: "verdict matrix", needed: usize::MAX })?;
            }
            cells.around = around.saturating_add(matrix.used_bytes());
            cells.check("verdict matrix", catalogue)?;
        }
        Ok(())
    }
}
