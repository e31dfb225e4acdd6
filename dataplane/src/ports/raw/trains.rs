//! Trains: datagrams of one flow and one length that cross the kernel as one frame.
//!
//! ```text
//!  Ethernet | IP | UDP | VXLAN, inner | VXLAN, inner | … | the last, perhaps shorter
//!                       └ gso.size ───┘                       checksum partial, at the outer UDP header
//! ```
//! A peer on a veth that offers datagrams as one (`UDP_SEGMENT`), and a network card that joined them, hand over such a
//! frame; [`Unpacking`] makes the frames of it that it stands for. The other way round a packet socket takes such a frame
//! (`VIRTIO_NET_HDR_GSO_UDP_L4`), which the kernel cuts as late as it can: [`Joining`] finds what may leave as one.
//!
//! A super-packet of TCP that a kernel peer encapsulated is no train: its partial checksum is that of the inner packet. It
//! goes on whole.
//!
//! Anybody can send a train, and it takes dozens of frames: one from a stranger is left out whole, and each of its
//! datagrams counted.

use std::net::IpAddr;

use vxlan::wire::{checksum, ethernet, ipv4, ipv6, udp, vxlan as header};

use crate::buffer::{Batch, Checksum, Frame, GsoKind, Pool};
use crate::ports::{LeftOut, Peers};
use crate::sys::mmsg::{TRAIN_BYTES, TRAIN_FRAMES};

const ETHERNET: usize = ethernet::HEADER_BYTES;
const UDP_CHECKSUM: u16 = 6;

/// Bytes in front of the VXLAN header.
pub(crate) const MOST_OUTER: usize = ETHERNET + ipv6::HEADER_BYTES + udp::HEADER_BYTES;

/// Takes trains apart.
#[derive(Default)]
pub(crate) struct Unpacking {
    /// Who may send, once somebody has said so.
    peers: Option<Peers>,
    whole: Batch,
}

impl Unpacking {
    pub(crate) fn trust(&mut self, peers: &Peers) {
        self.peers = Some(Peers::clone(peers));
    }

    /// Takes apart what stands in the batch from `start` on.
    pub(crate) fn unpack(&mut self, start: usize, batch: &mut Batch, pool: &mut Pool) -> LeftOut {
        let mut left_out = LeftOut::default();
        let received = batch.get(start..).unwrap_or_default();
        if !received.iter().any(|frame| frame.gso.is_some_and(|gso| gso.kind == GsoKind::UdpL4)) {
            return left_out;
        }
        self.whole.extend(batch.drain(start..));
        for frame in self.whole.drain(..) {
            let Some(train) = Shape::of(&frame) else {
                batch.push(frame);
                continue;
            };
            if self.peers.as_ref().is_some_and(|peers| !train.source.is_some_and(|peer| peers(peer))) {
                let payload = frame.len().saturating_sub(train.headers);
                left_out.strangers += payload.div_ceil(train.segment.max(1)) as u64;
                pool.give(frame);
            } else {
                left_out.lost += train.take_apart(frame, batch, pool);
            }
        }
        left_out
    }
}

/// How a train is made up.
struct Shape {
    source: Option<IpAddr>,
    /// Where the outer UDP header begins.
    udp: usize,
    /// Bytes in front of the first datagram's payload.
    headers: usize,
    segment: usize,
}

impl Shape {
    /// The shape of a train; `None` for a frame that is none.
    fn of(frame: &Frame) -> Option<Self> {
        let gso = frame.gso.filter(|gso| gso.kind == GsoKind::UdpL4)?;
        let Checksum::Partial { start, offset: UDP_CHECKSUM } = frame.checksum else { return None };
        let (eth, packet) = ethernet::parse(frame.bytes())?;
        let (udp, source) = match eth.ethertype {
            ethernet::IPV4 => {
                let header = usize::from(packet.first()? & 0x0f) * 4;
                let source = packet.get(12..)?.first_chunk::<4>()?;
                (ETHERNET + header, IpAddr::from(*source))
            }
            ethernet::IPV6 => {
                let source = packet.get(8..)?.first_chunk::<16>()?;
                (ETHERNET + ipv6::HEADER_BYTES, IpAddr::from(*source))
            }
            _ => return None,
        };
        let headers = udp + udp::HEADER_BYTES;
        // Else it is a super-packet of the packet inside.
        (usize::from(start) == udp && frame.len() > headers).then_some(Self {
            source: Some(source),
            udp,
            headers,
            segment: usize::from(gso.size),
        })
    }

    /// Appends the train's frames; how many there was no memory for.
    fn take_apart(&self, mut train: Frame, batch: &mut Batch, pool: &mut Pool) -> u64 {
        let first = batch.len();
        batch.push(Frame::hollow());
        let mut lost = 0;
        let (headers, payload) = train.bytes().split_at_checked(self.headers).unwrap_or_default();
        for bytes in payload.chunks(self.segment.max(1)).skip(1) {
            let Some(mut frame) = pool.take() else {
                lost += 1;
                continue;
            };
            frame.write(headers);
            frame.append(bytes);
            frame.checksum = train.checksum;
            set_lengths(frame.bytes_mut(), self.udp);
            batch.push(frame);
        }
        train.truncate(self.headers.saturating_add(self.segment));
        train.gso = None;
        set_lengths(train.bytes_mut(), self.udp);
        if let Some(place) = batch.get_mut(first) {
            *place = train;
        }
        lost
    }
}

/// Has the length fields of a frame with a UDP header at `udp` say how long it is, and the IPv4 header's checksum agree.
fn set_lengths(frame: &mut [u8], udp: usize) {
    let len = frame.len();
    let put = |bytes: Option<&mut [u8; 2]>, value: usize| {
        if let Some(bytes) = bytes {
            *bytes = u16::try_from(value).unwrap_or(u16::MAX).to_be_bytes();
        }
    };
    let Some((outer, datagram)) = frame.split_at_mut_checked(udp) else { return };
    put(datagram.get_mut(4..).and_then(<[u8]>::first_chunk_mut), len.saturating_sub(udp));
    let Some(packet) = outer.get_mut(ETHERNET..) else { return };
    if packet.first().is_some_and(|first| first >> 4 == 4) {
        put(packet.get_mut(2..).and_then(<[u8]>::first_chunk_mut), len.saturating_sub(ETHERNET));
        put(packet.get_mut(10..).and_then(<[u8]>::first_chunk_mut), 0);
        let sum = checksum::ipv4_header(packet);
        put(packet.get_mut(10..).and_then(<[u8]>::first_chunk_mut), sum.into());
    } else {
        put(packet.get_mut(4..).and_then(<[u8]>::first_chunk_mut), len.saturating_sub(udp));
    }
}

/// Neighbouring frames of a batch that leave as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cars {
    /// Place of the first.
    pub(crate) first: usize,
    /// How many; a single frame leaves as it is.
    pub(crate) count: usize,
}

/// Joins frames to trains.
#[derive(Default)]
pub(crate) struct Joining {
    cars: Vec<Cars>,
}

/// The headers of a train, in front of its first datagram's payload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TrainHeaders {
    bytes: [u8; MOST_OUTER],
    len: usize,
    /// Payload of each datagram but the last.
    pub(crate) segment: u16,
    /// Where the outer UDP header begins.
    pub(crate) udp: u16,
}

impl TrainHeaders {
    /// Of the frame `first`, for a train of `payload` bytes.
    pub(crate) fn new(first: &Frame, payload: usize) -> Option<Self> {
        let headers = outer_headers(first)?;
        let from = first.bytes().get(..headers)?;
        let mut bytes = [0; MOST_OUTER];
        bytes.get_mut(..headers)?.copy_from_slice(from);
        let udp = headers - udp::HEADER_BYTES;
        let total = payload + udp::HEADER_BYTES;
        let (outer, datagram) = bytes.split_at_mut_checked(udp)?;
        let datagram = datagram.first_chunk_mut::<{ udp::HEADER_BYTES }>()?;
        let [_, _, _, _, l0, l1, c0, c1] = datagram;
        let before = u32::from(u16::from_be_bytes([*l0, *l1]));
        let stored = u32::from(u16::from_be_bytes([*c0, *c1]));
        let length = u16::try_from(total).ok()?;
        [*l0, *l1] = length.to_be_bytes();
        // The sum of the pseudo header, with the new length in place of the old (RFC 1624).
        let sum = checksum::fold(stored + u32::from(!u16::try_from(before).ok()?) + u32::from(length));
        [*c0, *c1] = sum.to_be_bytes();
        let packet = outer.get_mut(ETHERNET..)?;
        if udp == ETHERNET + ipv4::MIN_HEADER_BYTES {
            let whole = u16::try_from(total + ipv4::MIN_HEADER_BYTES).ok()?;
            packet.get_mut(2..4)?.copy_from_slice(&whole.to_be_bytes());
            packet.get_mut(10..12)?.fill(0);
            let sum = checksum::ipv4_header(packet);
            packet.get_mut(10..12)?.copy_from_slice(&sum.to_be_bytes());
        } else {
            packet.get_mut(4..6)?.copy_from_slice(&length.to_be_bytes());
        }
        let segment = u16::try_from(first.len() - headers).ok()?;
        Some(Self { bytes, len: headers, segment, udp: udp as u16 })
    }

    /// Ethernet, IP and UDP header.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Bytes in front of the VXLAN header of a frame that weir encapsulated and left the outer checksum of to the kernel.
pub(crate) fn outer_headers(frame: &Frame) -> Option<usize> {
    let Checksum::Partial { start, offset: UDP_CHECKSUM } = frame.checksum else { return None };
    let start = usize::from(start);
    let ours = start == ETHERNET + ipv4::MIN_HEADER_BYTES || start == ETHERNET + ipv6::HEADER_BYTES;
    let headers = start + udp::HEADER_BYTES;
    (ours && frame.gso.is_none() && frame.len() > headers + header::HEADER_BYTES).then_some(headers)
}

/// Whether two frames have the same outer headers but for lengths, checksums and identification: whoever cuts a train
/// counts on from the first one's.
fn one_flow(one: &[u8], other: &[u8], headers: usize) -> bool {
    let udp = headers - udp::HEADER_BYTES;
    let (Some(one), Some(other)) = (one.get(..headers), other.get(..headers)) else { return false };
    let lengths: [std::ops::Range<usize>; 3] = if udp == ETHERNET + ipv4::MIN_HEADER_BYTES {
        // Total length and identification; header checksum.
        [ETHERNET + 2..ETHERNET + 6, ETHERNET + 10..ETHERNET + 12, udp + 4..udp + 8]
    } else {
        [ETHERNET + 4..ETHERNET + 6, 0..0, udp + 4..udp + 8]
    };
    let mut at = 0;
    for skip in lengths.into_iter().filter(|range| !range.is_empty()) {
        if one.get(at..skip.start) != other.get(at..skip.start) {
            return false;
        }
        at = skip.end;
    }
    one.get(at..) == other.get(at..)
}

impl Joining {
    /// Finds the trains among frames that leave in this order.
    pub(crate) fn couple(&mut self, frames: &[Frame]) -> &[Cars] {
        self.cars.clear();
        // Of the train being made: place of its first frame, bytes of payload; gone once a shorter frame came.
        let mut open: Option<(usize, usize)> = None;
        for (place, frame) in frames.iter().enumerate() {
            let headers = outer_headers(frame);
            let joins = open.zip(headers).and_then(|((at, bytes), headers)| {
                let first = frames.get(at)?;
                let payload = frame.len() - headers;
                let same =
                    outer_headers(first) == Some(headers) && one_flow(first.bytes(), frame.bytes(), headers);
                let fits = frame.len() <= first.len() && bytes + payload <= TRAIN_BYTES - ipv6::HEADER_BYTES;
                (same && fits).then_some((at, bytes + payload, frame.len() == first.len()))
            });
            match (self.cars.last_mut(), joins) {
                (Some(last), Some((at, bytes, full))) if last.count < TRAIN_FRAMES => {
                    last.count += 1;
                    open = full.then_some((at, bytes));
                }
                _ => {
                    self.cars.push(Cars { first: place, count: 1 });
                    open = headers.map(|headers| (place, frame.len() - headers));
                }
            }
        }
        &self.cars
    }

    /// So many frames, each by itself.
    pub(crate) fn apart(&mut self, count: usize) -> &[Cars] {
        self.cars.clear();
        self.cars.extend((0..count).map(|first| Cars { first, count: 1 }));
        &self.cars
    }
}

#[cfg(test)]
mod tests;
