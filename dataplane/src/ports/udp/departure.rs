//! Departure: which frames leave by which socket, and which of them leave together.
//!
//! ```text
//!  batch ─► by socket, then peer, then as they came ─► trains: equal lengths, equal traffic class ─► UDP_SEGMENT
//! ```
//! An encapsulated super-packet is a train by itself and leaves by another door, see `whole`.
//! Frames of one flow share a socket and keep their order; so do all frames of one socket to one peer. A train that
//! the kernel refuses is sent again frame by frame, so that one bad frame costs no other; where it refuses because the
//! device cannot take trains at all (`EIO`: no checksum offload, or a transformation such as IPsec on the way), none
//! is offered again by this underlay.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::AsFd;

use super::Family;
use super::whole::Whole;
use crate::buffer::{Batch, Frame};
use crate::ports::Sent;
use crate::ports::datagrams::Refusal;
use crate::sys::mmsg::{Address, TRAIN_BYTES, TRAIN_FRAMES, Train, Trains};
use crate::sys::udp_socket::{UdpSocket, class_option};

/// One frame's way out; sorted by this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Way {
    family: usize,
    sender: usize,
    peer: IpAddr,
    /// Place in the batch.
    frame: usize,
}

/// Neighbouring places in the sorted list that leave as one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cars {
    first: usize,
    count: usize,
    /// A super-packet, which is one car.
    whole: bool,
}

/// What sends; its memory is kept between batches.
pub(super) struct Departure {
    port: u16,
    /// Whether trains are offered to the kernel.
    trains_run: bool,
    /// Takes super-packets, where the kernel does.
    whole: Option<Whole>,
    ways: Vec<Way>,
    cars: Vec<Cars>,
    trains: Trains,
}

impl Departure {
    /// To `port` of the peers. Without `checksum` the kernel takes no trains (udp(7)).
    pub(super) fn new(port: u16, checksum: bool) -> Self {
        Self {
            port,
            trains_run: checksum,
            whole: None,
            ways: Vec::with_capacity(crate::buffer::BATCH_FRAMES),
            cars: Vec::with_capacity(crate::buffer::BATCH_FRAMES),
            trains: Trains::new(),
        }
    }

    /// Has super-packets leave this way from now on.
    pub(super) fn take_whole(&mut self, whole: Whole) {
        self.whole = Some(whole);
    }

    /// Whether super-packets leave whole.
    pub(super) fn takes_whole(&self) -> bool {
        self.whole.is_some()
    }

    /// Sends the batch, whose frames stay where they are. An error means that a socket is dead.
    pub(super) fn send(&mut self, families: &[Family], batch: &Batch) -> (Sent, Option<io::Error>) {
        let mut total = Sent::default();
        let mut gone = None;
        let mut ways = std::mem::take(&mut self.ways);
        ways.clear();
        for (index, frame) in batch.iter().enumerate() {
            match way(families, frame, index) {
                Some(way) => ways.push(way),
                None => total.fail([frame]),
            }
        }
        ways.sort_unstable();
        for group in ways.chunk_by(|a, b| (a.family, a.sender) == (b.family, b.sender)) {
            let socket = group.first().and_then(|way| families.get(way.family)?.senders.get(way.sender));
            let Some(socket) = socket else {
                total.fail(group.iter().filter_map(|way| batch.get(way.frame)));
                continue;
            };
            let (sent, error) = self.send_group(socket, group, batch);
            total.add(&sent);
            gone = error.or(gone);
        }
        self.ways = ways;
        (total, gone)
    }

    /// Sends what leaves by one socket.
    fn send_group(&mut self, socket: &UdpSocket, group: &[Way], batch: &Batch) -> (Sent, Option<io::Error>) {
        let mut cars = std::mem::take(&mut self.cars);
        couple(group, batch, self.trains_run, &mut cars);
        let mut sent = Sent::default();
        let mut gone = None;
        let mut next = 0;
        while let Some((&first, rest)) = cars.get(next..).and_then(<[Cars]>::split_first) {
            let frames = |cars: &Cars| {
                let ways = group.get(cars.first..cars.first + cars.count).unwrap_or_default();
                ways.iter().filter_map(|way| batch.get(way.frame))
            };
            let left = || std::iter::once(&first).chain(rest).flat_map(frames);
            let refusal = match self.offer(socket, &first, rest, group, batch) {
                // Nothing to send where something should be: a frame that cannot be addressed.
                Ok(0) => Refusal::Failed,
                Ok(taken) => {
                    let left = cars.get(next..next + taken).unwrap_or_default();
                    sent.frames += left.iter().map(|cars| cars.count).sum::<usize>();
                    next += taken;
                    continue;
                }
                Err(refused) if refused.kind() == io::ErrorKind::Interrupted => continue,
                Err(refused) => {
                    let refusal = Refusal::of(&refused);
                    self.trains_run &= first.count == 1 || refused.raw_os_error() != Some(libc::EIO);
                    if refusal == Refusal::Gone {
                        gone = Some(refused);
                    }
                    refusal
                }
            };
            match refusal {
                Refusal::Gone => {
                    sent.fail(left());
                    break;
                }
                Refusal::QueueFull => {
                    sent.congest(left());
                    break;
                }
                Refusal::Congested => sent.congest(frames(&first)),
                Refusal::Failed if first.count > 1 => {
                    let last = if self.trains_run { next + 1 } else { cars.len() };
                    uncouple(&mut cars, next..last);
                    continue;
                }
                Refusal::Failed => sent.fail(frames(&first)),
            }
            next += 1;
        }
        self.cars = cars;
        (sent, gone)
    }

    /// Offers the kernel the first of these trains and as many of the rest as it takes at once; how many it took.
    fn offer(
        &mut self,
        socket: &UdpSocket,
        first: &Cars,
        rest: &[Cars],
        group: &[Way],
        batch: &Batch,
    ) -> io::Result<usize> {
        if first.whole {
            let (Some(whole), Some(frame)) =
                (&self.whole, group.get(first.first).and_then(|way| batch.get(way.frame)))
            else {
                return Ok(0);
            };
            return whole.send(frame, socket.local()).map(|()| 1);
        }
        let port = self.port;
        let trains = std::iter::once(first).chain(rest).take_while(|cars| !cars.whole);
        self.trains.send(socket.as_fd(), trains.map_while(|cars| train(cars, group, batch, port)))
    }
}

/// Family and sender for a frame; none where no socket can reach its peer.
fn way(families: &[Family], frame: &Frame, index: usize) -> Option<Way> {
    let outer = frame.outer?;
    let family = families.iter().position(|family| family.serves(outer.peer))?;
    let own = &families.get(family)?.own;
    let sender = *own.get(usize::from(outer.source_port).checked_rem(own.len())?)?;
    Some(Way { family, sender, peer: outer.peer, frame: index })
}

/// Finds the trains of a socket's frames.
fn couple(group: &[Way], batch: &Batch, trains_run: bool, cars: &mut Vec<Cars>) {
    cars.clear();
    // Of the train being made: peer and traffic class, length of its first frame, bytes; shut once a shorter one came.
    let mut open: Option<((IpAddr, u8), usize, usize)> = None;
    for (place, way) in group.iter().enumerate() {
        let Some(frame) = batch.get(way.frame) else { continue };
        if frame.gso.is_some() {
            cars.push(Cars { first: place, count: 1, whole: true });
            open = None;
            continue;
        }
        let (len, class) = (frame.len(), (way.peer, frame.outer.map_or(0, |outer| outer.tos)));
        let joins = open.is_some_and(|(of, first, bytes)| {
            trains_run && of == class && len <= first && len > 0 && bytes + len <= TRAIN_BYTES
        });
        match cars.last_mut() {
            Some(last) if joins && last.count < TRAIN_FRAMES => {
                last.count += 1;
                open = open
                    .filter(|&(_, first, _)| len == first)
                    .map(|(of, first, bytes)| (of, first, bytes + len));
            }
            _ => {
                cars.push(Cars { first: place, count: 1, whole: false });
                open = Some((class, len, len));
            }
        }
    }
}

/// The frames of a train, as the kernel is given them.
fn train<'a>(
    cars: &Cars,
    group: &'a [Way],
    batch: &'a Batch,
    port: u16,
) -> Option<Train<impl Iterator<Item = &'a [u8]> + use<'a>>> {
    let ways = group.get(cars.first..cars.first + cars.count)?;
    let first = batch.get(ways.first()?.frame)?;
    let outer = first.outer?;
    let (level, kind) = class_option(outer.peer);
    Some(Train {
        to: Address::new(SocketAddr::new(outer.peer, port)),
        class: (level, kind, outer.tos),
        segment: u16::try_from(first.len()).ok()?,
        frames: ways.iter().filter_map(|way| batch.get(way.frame)).map(Frame::bytes),
    })
}

/// Makes every frame of these trains leave by itself. Allocates, where something is wrong already.
fn uncouple(cars: &mut Vec<Cars>, which: Range<usize>) {
    let Some(trains) = cars.get(which.clone()) else { return };
    let frames = trains.iter().flat_map(|train| train.first..train.first + train.count);
    let single: Vec<Cars> = frames.map(|first| Cars { first, count: 1, whole: false }).collect();
    cars.splice(which, single);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::Outer;

    /// How frames to these peers with these lengths and classes are coupled: the lengths of the trains.
    fn coupled(frames: &[(u8, usize, u8)], trains_run: bool) -> Vec<usize> {
        let peer = |last| IpAddr::from([192, 0, 2, last]);
        let batch: Batch = frames
            .iter()
            .map(|&(last, len, tos)| {
                let mut frame = Frame::from_bytes(&vec![0; len]);
                frame.outer = Some(Outer { peer: peer(last), local: peer(0), source_port: 50_000, tos });
                frame
            })
            .collect();
        let ways: Vec<Way> = frames
            .iter()
            .enumerate()
            .map(|(frame, &(last, ..))| Way { family: 0, sender: 0, peer: peer(last), frame })
            .collect();
        let mut cars = Vec::new();
        couple(&ways, &batch, trains_run, &mut cars);
        // Every frame is in exactly one train, in order.
        let mut next = 0;
        for one in &cars {
            assert_eq!(one.first, next);
            next += one.count;
        }
        assert_eq!(next, frames.len());
        cars.iter().map(|cars| cars.count).collect()
    }

    #[test]
    fn frames_of_one_length_to_one_peer_leave_together() {
        assert_eq!(coupled(&[(1, 100, 0); 5], true), [5]);
        assert_eq!(coupled(&[(1, 100, 0); 5], false), [1; 5]);
        assert_eq!(coupled(&[], true), [0; 0]);
    }

    #[test]
    fn a_shorter_frame_ends_a_train_and_a_longer_one_begins_another() {
        assert_eq!(coupled(&[(1, 100, 0), (1, 100, 0), (1, 40, 0), (1, 40, 0)], true), [3, 1]);
        assert_eq!(coupled(&[(1, 40, 0), (1, 100, 0), (1, 100, 0)], true), [1, 2]);
    }

    #[test]
    fn uncoupled_trains_are_single_frames_in_the_same_order() {
        let train = |first, count| Cars { first, count, whole: false };
        let mut cars = vec![train(0, 2), train(2, 3), train(5, 1)];
        uncouple(&mut cars, 1..2);
        assert_eq!(cars, [train(0, 2), train(2, 1), train(3, 1), train(4, 1), train(5, 1)]);
        uncouple(&mut cars, 0..5);
        assert_eq!(cars.iter().map(|cars| cars.first).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn peers_and_traffic_classes_are_kept_apart() {
        assert_eq!(coupled(&[(1, 100, 0), (2, 100, 0), (2, 100, 2)], true), [1, 1, 1]);
    }

    #[test]
    fn a_train_has_no_more_frames_and_bytes_than_the_kernel_takes() {
        assert_eq!(coupled(&[(1, 100, 0); 150], true), [64, 64, 22]);
        assert_eq!(coupled(&[(1, 1458, 0); 100], true), [44, 44, 12]);
        assert_eq!(coupled(&[(1, 60_000, 0); 3], true), [1, 1, 1]);
    }
}
