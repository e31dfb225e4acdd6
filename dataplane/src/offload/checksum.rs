//! Completing a partial checksum: what an interface that claims checksum offload would have done.
//!
//! The sender's kernel stored the sum of the pseudo header in the checksum field and left the rest to the
//! interface (`VIRTIO_NET_HDR_F_NEEDS_CSUM`). The Internet checksum (RFC 1071) over everything from
//! `start`, that stored sum included, is then the value to store. Cost: one pass over those bytes.

use vxlan::wire::checksum::{fold, sum};

use super::field;
use crate::buffer::{Checksum, Frame};

/// Where a TCP header has its checksum.
pub(super) const TCP_CHECKSUM: u16 = 16;
/// Where a UDP header has its checksum.
pub(super) const UDP_CHECKSUM: u16 = 6;

/// Turns a [`Checksum::Partial`] into a complete one; a complete one is left as it is. `false` (and no
/// change) when the metadata points outside the frame: such a frame must be dropped.
///
/// Sums to the end of the frame, so trailing padding must have been cut off. Where the field lies is
/// [`super::accept_metadata`]'s to judge.
#[must_use]
pub fn complete_checksum(frame: &mut Frame) -> bool {
    let Checksum::Partial { start, offset } = frame.checksum else { return true };
    let Some(value) = completed(frame.bytes(), start, offset) else { return false };
    let at = usize::from(start) + usize::from(offset);
    if field::write_u16(frame.bytes_mut(), at, value).is_none() {
        return false;
    }
    frame.checksum = Checksum::Complete;
    true
}

/// The value that belongs at `start + offset` of `bytes`; `None` when that is outside.
///
/// As the sender would have written it: where a UDP header has its checksum never 0, which would mean "none" (RFC 768).
pub(super) fn completed(bytes: &[u8], start: u16, offset: u16) -> Option<u16> {
    let covered = bytes.get(usize::from(start)..)?;
    field::read_u16(covered, usize::from(offset))?;
    Some(match (!fold(sum(covered)), offset) {
        (0, UDP_CHECKSUM) => 0xffff,
        (value, _) => value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_at_the_very_end_is_completed_and_one_beyond_is_refused() {
        let mut frame = Frame::from_bytes(&[0x12, 0x34, 0, 1]);
        frame.checksum = Checksum::Partial { start: 0, offset: 2 };
        assert!(complete_checksum(&mut frame));
        assert_eq!(frame.bytes(), [0x12, 0x34, 0xed, 0xca]);
        assert_eq!(frame.checksum, Checksum::Complete);

        for (start, offset) in [(0, 3), (3, 0), (5, 0), (u16::MAX, u16::MAX), (1, 2)] {
            let mut frame = Frame::from_bytes(&[0x12, 0x34, 0, 1]);
            frame.checksum = Checksum::Partial { start, offset };
            assert!(!complete_checksum(&mut frame), "{start}+{offset}");
            assert_eq!(frame.bytes(), [0x12, 0x34, 0, 1]);
        }
    }

    #[test]
    fn a_sum_of_zero_is_stored_as_its_other_form_over_udp_alone() {
        for (offset, stored) in [(6, [0xff; 2]), (16, [0; 2])] {
            let mut frame = Frame::from_bytes(&[&[0xff, 0xff][..], &[0; 16]].concat());
            frame.checksum = Checksum::Partial { start: 0, offset };
            assert!(complete_checksum(&mut frame));
            let at = usize::from(offset);
            assert_eq!(frame.bytes()[at..at + 2], stored, "{offset}");
        }
    }
}
