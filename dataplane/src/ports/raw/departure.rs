//! How frames leave a packet socket: neighbours of one flow as one train, the others alone.
//!
//! ```text
//!  batch ─► trains ────────────────────────► sendmmsg ─► interface
//!     └───► alone ─► transmit ring, or the same ┘
//! ```
//! A train is put together by the kernel from pieces where they lie, and wants one message. The ring takes what leaves
//! alone, if there is one; the calls of both go in the order of the batch, so nothing overtakes.

use std::io;
use std::os::fd::BorrowedFd;

use super::Joining;
use super::trains::{Cars, TrainHeaders, outer_headers};
use crate::buffer::{Batch, Frame};
use crate::ports::Sent;
use crate::ports::datagrams::Refusal;
use crate::sys::mmsg::{Gather, Gathered, Prefix};
use crate::sys::packet_ring::TransmitRing;
use crate::sys::packet_socket;
use crate::sys::vnet;

/// The way out of one queue.
pub(super) struct Departure {
    joining: Joining,
    gather: Gather,
    ring: Option<TransmitRing>,
    /// Whether trains are offered to the kernel.
    trains_run: bool,
}

impl Departure {
    /// Frames leave by system calls, or alone by the ring if there is one.
    pub(super) fn new(ring: Option<TransmitRing>) -> Self {
        let trains_run = packet_socket::takes_udp_super_packets();
        Self { joining: Joining::default(), gather: Gather::new(), ring, trains_run }
    }

    /// Sends the frames of a batch, in order. An error means that the socket is dead; what was not sent has then failed.
    pub(super) fn send(&mut self, socket: BorrowedFd<'_>, batch: &Batch) -> (Sent, Option<io::Error>) {
        let Self { joining, gather, ring, trains_run } = self;
        let longest = ring.as_ref().map(TransmitRing::frame_bytes);
        let mut sent = Sent::default();
        let mut left: &[Cars] = if *trains_run { joining.couple(batch) } else { joining.apart(batch.len()) };
        while let Some((&first, rest)) = left.split_first() {
            let frames = |cars: &Cars| batch.get(cars.first..cars.first + cars.count).unwrap_or_default();
            let by_ring = goes_by_ring(longest, frames(&first));
            let alike = left.iter().map(frames).take_while(|frames| goes_by_ring(longest, frames) == by_ring);
            let attempt = match ring {
                Some(ring) if by_ring => {
                    ring.send(alike.flatten().map(|frame| (vnet::encode(frame), frame.bytes())))
                }
                _ => gather.send(socket, alike.map(gathered)),
            };
            match attempt {
                // The kernel never takes nothing without a reason. Were it to, the loop has to end.
                Ok(0) => {
                    sent.fail(frames(&first));
                    left = rest;
                }
                Ok(taken) => {
                    let (gone, waiting) = left.split_at_checked(taken).unwrap_or((left, &[]));
                    sent.frames += gone.iter().map(|cars| cars.count).sum::<usize>();
                    left = waiting;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => match Refusal::of(&error) {
                    Refusal::QueueFull => {
                        sent.congest(left.iter().flat_map(frames));
                        break;
                    }
                    Refusal::Gone => {
                        sent.fail(left.iter().flat_map(frames));
                        return (sent, Some(error));
                    }
                    Refusal::Failed if first.count > 1 => {
                        // Perhaps it is the train that is not wanted: the frames by themselves, and none hereafter.
                        *trains_run &= error.raw_os_error() != Some(libc::EINVAL);
                        for frame in frames(&first) {
                            let alone = gathered(std::slice::from_ref(frame));
                            match gather.send(socket, std::iter::once(alone)) {
                                Ok(1) => sent.frames += 1,
                                Ok(_) | Err(_) => sent.fail([frame]),
                            }
                        }
                        left = rest;
                    }
                    Refusal::Congested => {
                        sent.congest(frames(&first));
                        left = rest;
                    }
                    Refusal::Failed => {
                        sent.fail(frames(&first));
                        left = rest;
                    }
                },
            }
        }
        (sent, None)
    }
}

/// A frame as it is, or several as the train they make.
fn gathered(frames: &[Frame]) -> Gathered<impl Iterator<Item = &[u8]>> {
    let headers = match frames {
        [] | [_] => None,
        [first, ..] => outer_headers(first).and_then(|headers| {
            let payload = frames.iter().map(|frame| frame.len().saturating_sub(headers)).sum();
            TrainHeaders::new(first, payload)
        }),
    };
    let (prefix, skip) = match (&headers, frames) {
        (Some(headers), _) => {
            let vnet = vnet::encode_train(headers.segment, headers.udp);
            (Prefix::new(&[&vnet, headers.bytes()]), headers.bytes().len())
        }
        (None, [frame]) => (Prefix::new(&[&vnet::encode(frame)]), 0),
        // No train after all. The kernel refuses an empty message, and the frames go one by one.
        (None, _) => (Prefix::new(&[]), usize::MAX),
    };
    Gathered { prefix, pieces: frames.iter().map(move |frame| frame.bytes().get(skip..).unwrap_or_default()) }
}

/// Whether these frames are one that a ring takes, whose longest frames have so many bytes.
fn goes_by_ring(longest: Option<usize>, frames: &[Frame]) -> bool {
    let fits = |frame: &Frame| frame.gso.is_none() && longest.is_some_and(|longest| frame.len() <= longest);
    matches!(frames, [frame] if fits(frame))
}
