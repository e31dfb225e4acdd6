//! Control messages (`cmsghdr`): read and written.
//!
//! ```text
//!   0        8       12     16
//!   ├ length ┼ level ┼ kind ┼ data … ┤ padding to 8 │ next …        (64 bit; the length counts the header)
//! ```
//! The kernel wrote them, so they are believed to be well formed; a length that is not ends the walk.

use super::CONTROL_BYTES;

const WORD: usize = size_of::<usize>();
const HEADER: usize = WORD + 8;

/// Room for control messages, aligned as the kernel wants it.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Control(pub(super) [u8; CONTROL_BYTES]);

impl Control {
    pub(super) const EMPTY: Self = Self([0; CONTROL_BYTES]);

    /// Writes one message that carries an `int`; the bytes in use.
    pub(super) fn write_int(&mut self, level: i32, kind: i32, value: i32) -> usize {
        self.write(0, level, kind, &value.to_ne_bytes())
    }

    /// Writes a message behind the first `used` bytes; the bytes in use then. Without room nothing changes.
    pub(super) fn write(&mut self, used: usize, level: i32, kind: i32, data: &[u8]) -> usize {
        let len = HEADER + data.len();
        let Some(room) = self.0.get_mut(used..).filter(|room| room.len() >= len.next_multiple_of(WORD))
        else {
            return used;
        };
        let mut room = room;
        for field in [&len.to_ne_bytes()[..], &level.to_ne_bytes(), &kind.to_ne_bytes(), data] {
            let Some((to, rest)) = room.split_at_mut_checked(field.len()) else { return used };
            to.copy_from_slice(field);
            room = rest;
        }
        used + len.next_multiple_of(WORD)
    }
}

/// One control message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControlMessage<'a> {
    /// `SOL_SOCKET`, `IPPROTO_IP`, `SOL_PACKET` …
    pub level: i32,
    /// Which of the level's messages.
    pub kind: i32,
    /// What it says.
    pub data: &'a [u8],
}

impl ControlMessage<'_> {
    /// The first four bytes of the data as an `int`.
    pub fn int(&self) -> Option<u32> {
        self.data.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
    }
}

/// The control messages of one datagram.
#[derive(Debug, Clone)]
pub struct ControlMessages<'a> {
    rest: &'a [u8],
}

impl<'a> ControlMessages<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for ControlMessages<'a> {
    type Item = ControlMessage<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let (header, _) = self.rest.split_at_checked(HEADER)?;
        let len = usize::from_ne_bytes(*header.first_chunk()?);
        let level = i32::from_ne_bytes(*header.get(WORD..)?.first_chunk()?);
        let kind = i32::from_ne_bytes(*header.get(WORD + 4..)?.first_chunk()?);
        let data = self.rest.get(HEADER..len)?;
        self.rest = self.rest.get(len.checked_next_multiple_of(WORD)?..).unwrap_or_default();
        Some(ControlMessage { level, kind, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_reads_back_as_written() {
        let mut control = Control::EMPTY;
        let len = control.write_int(41, 67, 0x2e);
        let mut messages = ControlMessages::new(&control.0[..len]);
        let message = messages.next().unwrap();
        assert_eq!((message.level, message.kind, message.int()), (41, 67, Some(0x2e)));
        assert_eq!(messages.next(), None);
    }

    #[test]
    fn messages_are_written_one_behind_the_other_while_there_is_room() {
        let mut control = Control::EMPTY;
        let first = control.write(0, 1, 2, &[7; 4]);
        let second = control.write(first, 3, 4, &9_u16.to_ne_bytes());
        let read: Vec<_> =
            ControlMessages::new(&control.0[..second]).map(|one| (one.level, one.kind)).collect();
        assert_eq!(read, [(1, 2), (3, 4)]);
        assert_eq!(control.write(CONTROL_BYTES - HEADER, 5, 6, &[0; 4]), CONTROL_BYTES - HEADER);
        assert_eq!(control.write(CONTROL_BYTES + 1, 5, 6, &[0; 4]), CONTROL_BYTES + 1);
    }

    #[test]
    fn a_length_that_lies_ends_the_walk() {
        for len in [0, HEADER - 1, CONTROL_BYTES + 1, usize::MAX] {
            let mut control = Control::EMPTY;
            control.write_int(1, 2, 3);
            control.0[..WORD].copy_from_slice(&len.to_ne_bytes());
            assert_eq!(ControlMessages::new(&control.0).count(), 0, "{len}");
        }
        assert_eq!(ControlMessages::new(&[]).count(), 0);
    }

    #[test]
    fn messages_follow_one_another_at_word_boundaries() {
        let mut bytes = Vec::new();
        for data in [&[1_u8][..], &[2, 2, 2, 2, 2], &[3; 8]] {
            bytes.extend_from_slice(&(HEADER + data.len()).to_ne_bytes());
            bytes.extend_from_slice(&0_i32.to_ne_bytes());
            bytes.extend_from_slice(&1_i32.to_ne_bytes());
            bytes.extend_from_slice(data);
            bytes.resize(bytes.len().next_multiple_of(WORD), 0);
        }
        let lens: Vec<_> = ControlMessages::new(&bytes).map(|message| message.data.len()).collect();
        assert_eq!(lens, [1, 5, 8]);
    }
}
