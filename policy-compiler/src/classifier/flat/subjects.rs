//! Subjects: whose packets are judged, by number.
//!
//! What a lookup needs of a subject is one word, its *seat*, by direction and family: the row, and twelve bits of the
//! subject's own address. An address that has these bits too may be the subject's own, which is one compare where a lookup
//! of the address would be a load more; what it really is is then asked here. Bytes: 80 per subject.

use std::net::IpAddr;

/// Bits of a seat that are the row; those above are the own address's lowest.
pub(crate) const ROW_BITS: u32 = 20;
/// Rows from here on do not fit a seat.
pub(crate) const MOST_ROWS: u32 = 1 << ROW_BITS;

/// Families and directions.
const SEATS: usize = 4;

/// A pod's rows, its node, and its own addresses (none if it is cut off: then even these are denied).
#[derive(Debug, Clone)]
pub(crate) struct FlatSubject {
    own_v4: Option<u32>,
    own_v6: Option<u128>,
    /// By direction (egress, ingress) and family (IPv4, IPv6).
    pub(crate) rows: [u32; SEATS],
    /// Position in [`super::Flat::nodes`].
    pub(crate) node: u32,
}

impl FlatSubject {
    /// Bytes of a subject, seats included.
    pub(crate) const BYTES: usize = size_of::<Self>() + SEATS * 4;

    /// `own`: at most one address per family.
    pub(crate) fn new(own: &[IpAddr], rows: [u32; SEATS], node: u32) -> Self {
        let mut subject = Self { own_v4: None, own_v6: None, rows, node };
        for address in own.iter().rev() {
            match address {
                IpAddr::V4(address) => subject.own_v4 = Some(address.to_bits()),
                IpAddr::V6(address) => subject.own_v6 = Some(address.to_bits()),
            }
        }
        subject
    }

    #[inline]
    pub(crate) fn owns(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.own_v4 == Some(address.to_bits()),
            IpAddr::V6(address) => self.own_v6 == Some(address.to_bits()),
        }
    }

    fn seats(&self) -> [u32; SEATS] {
        let own = [self.own_v4.unwrap_or(0), self.own_v6.unwrap_or(0) as u32];
        std::array::from_fn(|at| own[at % 2] << ROW_BITS | self.rows[at].min(MOST_ROWS - 1))
    }
}

/// All subjects.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subjects {
    list: Vec<FlatSubject>,
    /// Four for each.
    seats: Vec<u32>,
}

impl Subjects {
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    #[inline]
    pub(crate) fn get(&self, number: u32) -> Option<&FlatSubject> {
        self.list.get(number as usize)
    }

    #[cfg(target_arch = "x86_64")]
    pub(crate) fn seats(&self) -> &[u32] {
        &self.seats
    }

    /// At most at the end.
    pub(crate) fn insert(&mut self, place: usize, subject: FlatSubject) {
        let place = place.min(self.list.len());
        self.seats.splice(place * SEATS..place * SEATS, subject.seats());
        self.list.insert(place, subject);
    }

    pub(crate) fn remove(&mut self, place: usize) {
        if place < self.list.len() {
            self.list.remove(place);
            self.seats.drain(place * SEATS..(place + 1) * SEATS);
        }
    }

    pub(crate) fn set_rows(&mut self, place: usize, rows: [u32; SEATS]) {
        let Some(subject) = self.list.get_mut(place) else { return };
        subject.rows = rows;
        if let Some(seats) = self.seats.get_mut(place * SEATS..(place + 1) * SEATS) {
            seats.copy_from_slice(&subject.seats());
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.list.len() * FlatSubject::BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::{FlatSubject, ROW_BITS, Subjects};
    use std::net::IpAddr;

    #[test]
    fn seats_follow_their_subjects() {
        let mut subjects = Subjects::default();
        let subject = |last: u8| FlatSubject::new(&[IpAddr::from([10, 0, 0, last])], [last.into(); 4], 0);
        for (place, last) in [(0, 1), (0, 2), (1, 3), (9, 4)] {
            subjects.insert(place, subject(last));
        }
        subjects.set_rows(1, [30, 31, 32, 33]);
        subjects.remove(0);
        subjects.remove(7);
        assert_eq!(subjects.len(), 3);
        let own = |last: u32| last << ROW_BITS;
        let expected = [
            [own(3) | 30, 31, own(3) | 32, 33],
            [own(1) | 1, 1, own(1) | 1, 1],
            [own(4) | 4, 4, own(4) | 4, 4],
        ];
        assert_eq!(subjects.seats, expected.concat());
        assert!(
            subjects.get(1).is_some_and(|one| one.owns(IpAddr::from([10, 0, 0, 1])) && one.rows == [1; 4])
        );
    }
}
