//! The super-packets in the making on their way to one port: one of each of a few flows.
//!
//! ```text
//!  a1 b1 a2 c1 b2 a3 ─► a1a2a3 b1b2 c1
//! ```
//! Packets of different flows that alternate are joined all the same. A joined packet leaves where its first one stood: within
//! a flow the order is kept, since a packet that does not follow ends what its flow has in the making; flows among one
//! another have none.

use vxlan::wire::headers::{IpHeaders, L4};

use super::Joint;
use crate::buffer::{Batch, Frame, Pool};

/// Flows that are looked after at once; with one more the oldest is written down.
const MOST: usize = 8;

/// Super-packets in the making among the frames of a batch.
#[derive(Debug, Default)]
pub struct Open {
    /// By the time they were begun.
    joints: Vec<Making>,
}

#[derive(Debug)]
struct Making {
    flow: u64,
    /// Its frame's place in the batch.
    place: usize,
    joint: Joint,
}

impl Open {
    /// Adds a frame to the batch, or joins it to one that is there and gives it back to the pool.
    pub fn add(&mut self, batch: &mut Batch, frame: Frame, headers: &IpHeaders, pool: &mut Pool) {
        let flow = flow(headers);
        if let Some(found) = self.joints.iter().position(|making| making.flow == flow) {
            if let Some((making, whole)) = self
                .joints
                .get_mut(found)
                .and_then(|making| batch.get_mut(making.place).map(|whole| (making, whole)))
                && making.joint.join(whole, &frame, headers)
            {
                whole.packets = whole.packets.saturating_add(frame.packets);
                return pool.give(frame);
            }
            // Another flow of the same number, or the end of a row: either way nothing may be joined past this frame.
            self.close_one(found, batch);
        }
        if let Some(joint) = Joint::begin(&frame, headers) {
            if self.joints.len() >= MOST {
                self.close_one(0, batch);
            }
            self.joints.push(Making { flow, place: batch.len(), joint });
        }
        batch.push(frame);
    }

    /// Writes down all that is in the making: nothing is joined to these frames any more.
    pub fn close(&mut self, batch: &mut Batch) {
        for making in self.joints.drain(..) {
            if let Some(whole) = batch.get_mut(making.place) {
                making.joint.close(whole);
            }
        }
    }

    fn close_one(&mut self, index: usize, batch: &mut Batch) {
        let making = self.joints.remove(index);
        if let Some(whole) = batch.get_mut(making.place) {
            making.joint.close(whole);
        }
    }
}

/// A number that packets of one flow share, and few others: ports, protocol and the low bits of addresses.
fn flow(headers: &IpHeaders) -> u64 {
    let low = |address| match address {
        std::net::IpAddr::V4(address) => u32::from(address),
        std::net::IpAddr::V6(address) => u128::from(address) as u32,
    };
    let ports = match headers.l4 {
        L4::Tcp { src_port, dst_port, .. } | L4::Udp { src_port, dst_port } => {
            u32::from(src_port) << 16 | u32::from(dst_port)
        }
        _ => 0,
    };
    let ends = low(headers.src).rotate_left(7) ^ low(headers.dst) ^ u32::from(headers.protocol) << 24;
    u64::from(ports) << 32 | u64::from(ends)
}
