//! The stamp: twelve bytes at the head of a datagram by which it is known again.
//!
//! ```text
//!  0        4        8        12
//!  │ mark   │ number │ sent   │      network byte order
//! ```
//! The mark says which trial of which seed; its last bit, whether the datagram was meant to be denied. The number
//! counts up within those; the time of sending is in nanoseconds modulo 2^32, so that 4.2 s are told apart, which is
//! longer than anything waits in a queue. Twelve bytes are what fits an IPv4 frame of 64 and make it 78 with IPv6.
//!
//! [`find`] looks for it behind Ethernet, IPv4 or IPv6, and UDP, and behind VXLAN once more, wherever the device has
//! left or put it. What is found is not believed beyond what [`super::Tally`] can check.

use vxlan::wire::ethernet;
use vxlan::wire::headers::PROTOCOL_UDP;

use super::shape::ETHERNET;

/// Bytes of a stamp.
pub(super) const STAMP_BYTES: usize = 12;

/// Which trial a datagram belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark(u32);

impl Mark {
    /// That of a trial of a seed.
    pub fn of(seed: u64, trial: u32) -> Self {
        let mut rng = crate::generate::Rng::new(seed ^ (u64::from(trial) << 32 | 0x5eed));
        Self(rng.number() as u32 & !1)
    }
}

/// What a datagram says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Its trial.
    pub mark: Mark,
    /// Whether it was meant to be denied.
    pub denied: bool,
    /// The how many-th, modulo 2^32.
    pub number: u32,
    /// When it was sent, in nanoseconds modulo 2^32.
    pub sent: u32,
}

impl Stamp {
    /// As it stands in a frame.
    pub fn to_bytes(self) -> [u8; STAMP_BYTES] {
        let [m0, m1, m2, m3] = (self.mark.0 | u32::from(self.denied)).to_be_bytes();
        let [n0, n1, n2, n3] = self.number.to_be_bytes();
        let [s0, s1, s2, s3] = self.sent.to_be_bytes();
        [m0, m1, m2, m3, n0, n1, n2, n3, s0, s1, s2, s3]
    }

    /// Reads it.
    pub fn from_bytes([m0, m1, m2, m3, n0, n1, n2, n3, s0, s1, s2, s3]: [u8; STAMP_BYTES]) -> Self {
        let mark = u32::from_be_bytes([m0, m1, m2, m3]);
        Self {
            mark: Mark(mark & !1),
            denied: mark & 1 == 1,
            number: u32::from_be_bytes([n0, n1, n2, n3]),
            sent: u32::from_be_bytes([s0, s1, s2, s3]),
        }
    }

    /// The stamp of an Ethernet frame, with or without a tunnel around it, if it has one of this mark.
    pub fn find(frame: &[u8], mark: Mark) -> Option<Self> {
        let payload = datagram(frame)?;
        if let Some(stamp) = marked(payload, mark) {
            return Some(stamp);
        }
        marked(datagram(payload.get(vxlan::wire::vxlan::HEADER_BYTES..)?)?, mark)
    }
}

fn marked(payload: &[u8], mark: Mark) -> Option<Stamp> {
    let stamp = Stamp::from_bytes(*payload.first_chunk()?);
    (stamp.mark == mark).then_some(stamp)
}

/// The payload of the UDP datagram in a frame.
fn datagram(frame: &[u8]) -> Option<&[u8]> {
    let [e0, e1] = *frame.get(12..ETHERNET)?.first_chunk()?;
    let packet = frame.get(ETHERNET..)?;
    let (protocol, header) = match u16::from_be_bytes([e0, e1]) {
        ethernet::IPV4 => (*packet.get(9)?, usize::from(packet.first()? & 0x0f).checked_mul(4)?),
        ethernet::IPV6 => (*packet.get(6)?, 40),
        _ => return None,
    };
    (protocol == PROTOCOL_UDP).then_some(packet.get(header.checked_add(8)?..)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_stamp_reads_back(seed: u64, trial: u32, denied: bool, number: u32, sent: u32) {
            let stamp = Stamp { mark: Mark::of(seed, trial), denied, number, sent };
            prop_assert_eq!(Stamp::from_bytes(stamp.to_bytes()), stamp);
        }

        #[test]
        fn arbitrary_bytes_are_looked_through_without_harm(bytes: Vec<u8>) {
            let _ = Stamp::find(&bytes, Mark::of(1, 1));
        }
    }

    #[test]
    fn trials_have_marks_of_their_own() {
        assert_ne!(Mark::of(1, 1), Mark::of(1, 2));
        assert_ne!(Mark::of(1, 1), Mark::of(2, 1));
    }
}
