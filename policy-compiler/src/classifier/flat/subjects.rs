//! Subjects: whose packets are judged, by number.
//!
//! What a lookup needs of a subject is one number, its *seat*, by direction and family: where its row begins, and 32 bits
//! of the subject's own address. An address that has these bits too may be the subject's own, which is one compare where
//! looking the address up would be a load more; what it really is is then asked here. Bytes: 96 per subject.

use std::net::IpAddr;

/// Families and directions.
const SEATS: usize = 4;

/// By direction (egress, ingress) and family (IPv4, IPv6).
pub(crate) type Seats = [u64; SEATS];

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
    pub(crate) const BYTES: usize = size_of::<Self>() + size_of::<Seats>();

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

    fn seats(&self, width: usize) -> Seats {
        let own = [self.own_v4.map_or(0, sign_v4), self.own_v6.map_or(0, sign_v6)];
        std::array::from_fn(|at| {
            // A row that begins further away is none that a seat can say, nor one that is there.
            let start = u32::try_from(self.rows[at] as usize * width).unwrap_or(u32::MAX);
            u64::from(own[at % 2]) << 32 | u64::from(start)
        })
    }
}

/// The bits of an address that a seat has.
#[inline(always)]
pub(crate) const fn sign_v4(address: u32) -> u32 {
    address
}

/// The same of an IPv6 address: of pods both the node's part and the pod's tell them apart.
#[inline(always)]
pub(crate) const fn sign_v6(address: u128) -> u32 {
    let (high, low) = ((address >> 64) as u64, address as u64);
    (high.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 ^ low) as u32
}

/// All subjects.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subjects {
    list: Vec<FlatSubject>,
    seats: Vec<Seats>,
    /// Pages of a row, when seats were made.
    width: usize,
}

impl Subjects {
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    #[inline]
    pub(crate) fn get(&self, number: u32) -> Option<&FlatSubject> {
        self.list.get(number as usize)
    }

    pub(crate) fn seats(&self) -> &[Seats] {
        &self.seats
    }

    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Rows have that many pages now.
    pub(crate) fn set_width(&mut self, width: usize) {
        self.width = width;
        self.seats.clear();
        self.seats.extend(self.list.iter().map(|subject| subject.seats(width)));
    }

    /// At most at the end.
    pub(crate) fn insert(&mut self, place: usize, subject: FlatSubject) {
        let place = place.min(self.list.len());
        self.seats.insert(place, subject.seats(self.width));
        self.list.insert(place, subject);
    }

    pub(crate) fn remove(&mut self, place: usize) {
        if place < self.list.len() {
            self.list.remove(place);
            self.seats.remove(place);
        }
    }

    pub(crate) fn set_rows(&mut self, place: usize, rows: [u32; SEATS]) {
        if let (Some(subject), Some(seats)) = (self.list.get_mut(place), self.seats.get_mut(place)) {
            subject.rows = rows;
            *seats = subject.seats(self.width);
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.list.len() * FlatSubject::BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::{FlatSubject, Subjects};
    use std::net::IpAddr;

    #[test]
    fn seats_follow_their_subjects() {
        let mut subjects = Subjects::default();
        let subject = |last: u8| FlatSubject::new(&[IpAddr::from([10, 0, 0, last])], [last.into(); 4], 0);
        for (place, last) in [(0, 1), (0, 2), (1, 3), (9, 4)] {
            subjects.insert(place, subject(last));
        }
        subjects.set_width(10);
        subjects.set_rows(1, [30, 31, 32, 33]);
        subjects.remove(0);
        subjects.remove(7);
        assert_eq!((subjects.len(), subjects.width()), (3, 10));
        let seat = |last: u64, row: u64| ((0x0a00_0000 | last) << 32) + row;
        let expected = [
            [seat(3, 300), 310, seat(3, 320), 330],
            [seat(1, 10), 10, seat(1, 10), 10],
            [seat(4, 40), 40, seat(4, 40), 40],
        ];
        assert_eq!(subjects.seats(), expected);
        assert!(
            subjects.get(1).is_some_and(|one| one.owns(IpAddr::from([10, 0, 0, 1])) && one.rows == [1; 4])
        );
    }
}
