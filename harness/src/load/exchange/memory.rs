//! weir's pipeline in memory: a pod of the node asks one behind the tunnel, and every segment passes the whole pipeline,
//! requests into the tunnel, responses out of it. No ports, no queues: what is missing, the pipeline dropped for a reason.

use std::io;
use std::time::Duration;

use dataplane::buffer::{BATCH_FRAMES, Batch, Frame, Pool};
use dataplane::drop_reason::DropReason;
use dataplane::time::Timestamp;
use vxlan::encap::{OUTER_BYTES_V4, OuterConfig, write_outer};
use vxlan::mac::Mac;

use super::bed::Link;
use super::end::Card;
use super::nic::Nic;
use crate::bench::{Direction, Node, Shape, Underlay};
use crate::report::Book;

/// Largest IP packet of a pod.
const MTU: usize = 1_450;
/// Connections that the table holds without an eviction.
const CONNECTIONS: usize = 262_144;

/// The node, and what went in.
pub(super) struct Memory {
    node: Node,
    /// Headers of what comes out of the tunnel.
    outer: OuterConfig,
    sent: u64,
    before: Vec<u64>,
}

impl Memory {
    pub(super) fn new(policies: usize) -> Result<Self, String> {
        let shape = Shape::new(policies, CONNECTIONS, Underlay::Frame);
        let outer = Direction::Decap.tunnel().ok_or("there is no tunnel to come out of")?;
        Ok(Self { node: Node::new(&shape)?, outer, sent: 0, before: Vec::new() })
    }

    /// Of the pod and the one behind the tunnel.
    pub(super) fn cards() -> [Card; 2] {
        let (client_mac, gateway, client, server) = Direction::Encap.ends();
        let (peer_mac, vtep_mac, ..) = Direction::Decap.ends();
        let card = |mac, next_hop, address| Card { mac, address, next_hop: Some(next_hop), mtu: MTU };
        [card(client_mac, gateway, client.into()), card(peer_mac, vtep_mac, server.into())]
    }

    fn dropped(&self) -> Vec<u64> {
        DropReason::ALL.iter().map(|reason| self.node.counters.dropped(*reason)).collect()
    }
}

impl Link for Memory {
    fn begin(&mut self) {
        self.sent = 0;
        self.before = self.dropped();
    }

    fn carry(&mut self, [client, server]: [&mut Nic; 2], now: Duration) -> io::Result<usize> {
        let now = Timestamp::from_nanos(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX));
        let mut moved = 0;
        let underlay_mac = self.outer.source_mac;
        for direction in [Direction::Encap, Direction::Decap] {
            let from = if direction == Direction::Encap { &mut *client } else { &mut *server };
            let outer = (direction == Direction::Decap).then_some(&self.outer);
            let Node { pool, batch, .. } = &mut self.node;
            let others = fill(pool, batch, &mut from.others, outer);
            let segments = fill(pool, batch, &mut from.segments, outer);
            self.sent = self.sent.saturating_add(segments as u64);
            if others + segments == 0 {
                continue;
            }
            moved += others + segments;
            self.node.pass(direction);
            self.node.hand_over(now, |frame| arrive(frame, underlay_mac, client, server));
        }
        Ok(moved)
    }

    fn drain(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn rest(&self) {
        std::thread::yield_now();
    }

    fn book(&self, arrived: u64) -> Book {
        let counted = DropReason::ALL.iter().zip(self.dropped()).zip(&self.before);
        let dropped: Vec<_> = counted
            .map(|((reason, now), before)| (reason.name().to_owned(), now.saturating_sub(*before)))
            .collect();
        Book::close(self.sent, arrived, 0, &dropped)
    }
}

/// Fills a batch as far as it goes, with these headers around each frame. Returns how many.
fn fill(
    pool: &mut Pool,
    batch: &mut Batch,
    frames: &mut std::collections::VecDeque<Vec<u8>>,
    outer: Option<&OuterConfig>,
) -> usize {
    let mut count = 0;
    while batch.len() < BATCH_FRAMES && !frames.is_empty() {
        let Some(mut frame) = pool.take() else { break };
        let Some(bytes) = frames.pop_front() else { break };
        frame.write(&bytes);
        if let Some(outer) = outer
            && let Some(room) = frame.push_front(OUTER_BYTES_V4)
        {
            // Both addresses are IPv4 and the room is theirs.
            let _ = write_outer(room, &bytes, outer);
        }
        batch.push(frame);
        count += 1;
    }
    count
}

fn arrive(frame: &Frame, underlay_mac: Mac, client: &mut Nic, server: &mut Nic) {
    let size = frame.gso.map(|gso| gso.size);
    if frame.bytes().starts_with(&underlay_mac.0) {
        server.arrive(frame.bytes().get(OUTER_BYTES_V4..).unwrap_or_default(), size);
    } else {
        client.arrive(frame.bytes(), size);
    }
}
