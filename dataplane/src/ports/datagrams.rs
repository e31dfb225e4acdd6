//! Batches over sockets: what the packet and UDP ports have in common.
//!
//! Receiving asks the kernel for as many frames as last came, twice as many each time they all came, so that
//! an idle port costs a few pool operations and a busy one a system call per 64 frames. Sending goes on
//! after a frame that was refused: one bad frame costs itself, not those behind it.

use std::io;
use std::os::fd::BorrowedFd;

use super::{BATCH_BYTES, Received, Sent};
use crate::buffer::{Batch, Frame, Pool};
use crate::sys::mmsg::{Datagram, Incoming, MESSAGES, Message, Outgoing};
use crate::sys::socket;

/// Fewest frames asked for at a time.
const FEWEST: usize = 4;

/// Receives into frames of the pool.
pub(super) struct Receiver {
    incoming: Incoming,
    want: usize,
}

impl Receiver {
    pub(super) fn new() -> Self {
        Self { incoming: Incoming::new(), want: FEWEST }
    }

    /// Appends up to `limit` frames to `batch`. `accept` takes over what came with a frame, whose length is
    /// set, and says whether the frame makes sense. Where the kernel reports anything else than an empty
    /// queue, that comes back beside the count; frames received before it are in the batch.
    pub(super) fn recv(
        &mut self,
        fd: BorrowedFd<'_>,
        pool: &mut Pool,
        batch: &mut Batch,
        limit: usize,
        mut accept: impl FnMut(&mut Frame, &Message<'_>) -> bool,
    ) -> (Received, Option<io::Error>) {
        let mut received = Received::default();
        let mut bytes = 0_usize;
        loop {
            // Malformed frames count against the limit: a flood of them must not keep the worker here.
            let left = limit.saturating_sub(received.frames + received.malformed);
            received.more = left == 0;
            let start = batch.len();
            let ask = self.want.min(left);
            batch.extend(std::iter::from_fn(|| pool.take()).take(ask));
            let armed = batch.get_mut(start..).unwrap_or_default();
            if armed.is_empty() {
                received.more = true;
                return (received, None);
            }
            let asked = armed.len();
            let got = match self.incoming.recv(fd, armed) {
                Ok(got) => got,
                Err(error) => {
                    pool.give_all(batch.drain(start..));
                    return match error.kind() {
                        io::ErrorKind::WouldBlock => {
                            self.want = FEWEST;
                            (received, None)
                        }
                        io::ErrorKind::Interrupted => continue,
                        _ => (received, Some(error)),
                    };
                }
            };
            let kept = sift(&self.incoming, armed, got, &mut accept);
            bytes += armed.iter().take(kept).map(Frame::len).sum::<usize>();
            received.frames += kept;
            received.malformed += got - kept;
            pool.give_all(batch.drain(start + kept..));
            if got < asked {
                self.want = got.clamp(FEWEST, MESSAGES);
                return (received, None);
            }
            if bytes >= BATCH_BYTES {
                received.more = true;
                return (received, None);
            }
            self.want = self.want.saturating_mul(2).min(MESSAGES);
        }
    }
}

/// Moves the good ones of the first `got` frames to the front, in order; how many they are.
fn sift(
    incoming: &Incoming,
    frames: &mut [Frame],
    got: usize,
    accept: &mut impl FnMut(&mut Frame, &Message<'_>) -> bool,
) -> usize {
    let mut kept = 0;
    for index in 0..got.min(frames.len()) {
        let (Some(message), Some(frame)) = (incoming.message(index), frames.get_mut(index)) else { break };
        frame.set_len(message.len);
        if accept(frame, &message) && !message.truncated {
            frames.swap(kept, index);
            kept += 1;
        }
    }
    kept
}

/// Turns the kernel's running count of losses into what was lost since it was last looked at.
///
/// The kernel tells the count in two ways: with each frame (`SO_RXQ_OVFL`), as it was when that frame was queued, and
/// whenever it is asked.
#[derive(Debug, Default)]
pub(super) struct Losses {
    seen: u32,
}

impl Losses {
    /// Asks the socket; nothing where the kernel does not say.
    pub(super) fn look(&mut self, fd: BorrowedFd<'_>) -> u64 {
        self.advance(socket::losses(fd).ok())
    }

    /// Takes the count that came with a frame.
    pub(super) fn advance(&mut self, count: Option<u32>) -> u64 {
        let Some(count) = count else { return 0 };
        let new = count.wrapping_sub(self.seen);
        // Of a frame that was queued before somebody asked.
        if new.cast_signed() < 0 {
            return 0;
        }
        self.seen = count;
        u64::from(new)
    }
}

/// What a refusal means for the frame and those behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No room for this frame, nor for the next ones.
    QueueFull,
    /// No room for this frame.
    Congested,
    /// This frame is at fault, or its way out.
    Failed,
    /// The descriptor is of no use any more.
    Gone,
}

impl Refusal {
    pub(super) fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EAGAIN) => Self::QueueFull,
            Some(libc::ENOBUFS | libc::ENOMEM) => Self::Congested,
            Some(libc::EBADF | libc::EBADFD | libc::ENOTSOCK | libc::ENXIO | libc::ENODEV) => Self::Gone,
            _ => Self::Failed,
        }
    }
}

/// Sends what `datagram` makes of each of the `frames`, in order. An error means that the descriptor is dead; what was
/// not sent has then failed.
pub(super) fn send<'a>(
    outgoing: &mut Outgoing,
    fd: BorrowedFd<'_>,
    frames: &'a [Frame],
    datagram: impl Fn(&'a Frame) -> Datagram<'a>,
) -> (Sent, Option<io::Error>) {
    let mut sent = Sent::default();
    let mut left = frames;
    while let Some((first, rest)) = left.split_first() {
        match outgoing.send(fd, left.iter().map(&datagram)) {
            // The kernel never takes nothing without a reason. Were it to, the loop has to end.
            Ok(0) => {
                sent.fail([first]);
                left = rest;
            }
            Ok(taken) => {
                sent.frames += taken;
                left = left.get(taken..).unwrap_or_default();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => match Refusal::of(&error) {
                Refusal::QueueFull => {
                    sent.congest(left);
                    break;
                }
                Refusal::Congested => {
                    sent.congest([first]);
                    left = rest;
                }
                Refusal::Failed => {
                    sent.fail([first]);
                    left = rest;
                }
                Refusal::Gone => {
                    sent.fail(left);
                    return (sent, Some(error));
                }
            },
        }
    }
    (sent, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::mmsg::Address;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    fn pair() -> (UdpSocket, UdpSocket, Address) {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = Address::new(receiver.local_addr().unwrap());
        (receiver, sender, to)
    }

    fn datagram(frame: &Frame, to: Address) -> Datagram<'_> {
        Datagram { prefix: None, bytes: frame.bytes(), to: Some(to), class: None }
    }

    #[test]
    fn a_limit_and_an_empty_pool_end_a_receive_and_unused_frames_go_back() {
        let (receiver, sender, _) = pair();
        for n in 0..20_u8 {
            sender.send_to(&[n], receiver.local_addr().unwrap()).unwrap();
        }
        let (mut pool, mut batch) = (Pool::new(15), Batch::new());
        let mut port = Receiver::new();
        let (received, error) = port.recv(receiver.as_fd(), &mut pool, &mut batch, 6, |_, _| true);
        assert!(error.is_none());
        assert_eq!((received.frames, batch.len()), (6, 6));
        let (received, _) = port.recv(receiver.as_fd(), &mut pool, &mut batch, 64, |_, _| true);
        assert_eq!((received.frames, batch.len()), (9, 15));
        pool.give_all(batch.drain(..));
        let (received, _) = port.recv(receiver.as_fd(), &mut pool, &mut batch, 64, |_, _| true);
        assert_eq!(received.frames, 5);
        assert_eq!(batch.last().unwrap().bytes(), [19]);
        pool.give_all(batch.drain(..));
        assert_eq!(std::iter::from_fn(|| pool.take()).count(), 15);
    }

    #[test]
    fn malformed_frames_are_left_out_and_the_others_keep_their_order() {
        let (receiver, sender, _) = pair();
        for n in 0..30_u8 {
            sender.send_to(&[n], receiver.local_addr().unwrap()).unwrap();
        }
        let (mut pool, mut batch) = (Pool::new(64), Batch::new());
        let odd = |frame: &mut Frame, _: &Message<'_>| frame.bytes()[0] % 2 == 1;
        let (received, _) = Receiver::new().recv(receiver.as_fd(), &mut pool, &mut batch, 64, odd);
        assert_eq!((received.frames, received.malformed), (15, 15));
        let order: Vec<u8> = batch.iter().map(|frame| frame.bytes()[0]).collect();
        assert_eq!(order, (0..30).filter(|n| n % 2 == 1).collect::<Vec<_>>());
    }

    #[test]
    fn a_refused_datagram_costs_only_itself() {
        let (receiver, sender, to) = pair();
        let huge = vec![0; 65_535];
        let frames: Vec<Frame> = (1..10)
            .map(|index| {
                let mut frame = Frame::from_bytes(if index % 3 == 2 { &huge[..] } else { b"x" });
                frame.packets = index;
                frame
            })
            .collect();
        let (sent, error) = send(&mut Outgoing::new(), sender.as_fd(), &frames, |frame| datagram(frame, to));
        assert!(error.is_none());
        assert_eq!(sent, Sent { frames: 6, failed: 3, failed_packets: 2 + 5 + 8, ..Sent::default() });
        receiver.set_nonblocking(true).unwrap();
        assert_eq!(std::iter::from_fn(|| receiver.recv(&mut [0; 8]).ok()).count(), 6);
    }

    #[test]
    fn more_datagrams_than_one_call_takes_are_all_sent() {
        let (_receiver, sender, to) = pair();
        let frames: Vec<Frame> = (0..150).map(|_| Frame::from_bytes(b"x")).collect();
        let (sent, _) = send(&mut Outgoing::new(), sender.as_fd(), &frames, |frame| datagram(frame, to));
        assert_eq!(sent.frames, 150);
    }

    #[test]
    fn losses_count_on_through_the_wrap() {
        let mut losses = Losses::default();
        assert_eq!(losses.advance(None), 0);
        let half = i32::MAX.cast_unsigned();
        assert_eq!(losses.advance(Some(half)), u64::from(half));
        assert_eq!(losses.advance(Some(half * 2)), u64::from(half));
        assert_eq!(losses.advance(Some(4)), 6);
        // Of a frame that was queued before the count was asked for.
        assert_eq!(losses.advance(Some(2)), 0);
        assert_eq!(losses.advance(Some(5)), 1);
    }

    #[test]
    fn a_frame_that_was_queued_before_the_last_look_tells_nothing_new() {
        let mut losses = Losses::default();
        assert_eq!(losses.advance(Some(100)), 100);
        assert_eq!(losses.advance(Some(40)), 0);
        assert_eq!(losses.advance(Some(101)), 1);
    }
}
