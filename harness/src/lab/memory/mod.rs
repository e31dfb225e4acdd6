//! The lab in one process: the same scenario as with namespaces, without a kernel, a thread or a clock.
//!
//! ```text
//!   host ── memory wire ── weir's pipeline ── whole-frame underlay ── weir's pipeline ── memory wire ── host
//!  (smoltcp)                  node-a                                      node-b                    (smoltcp)
//!                               └── TAP ── router, nodes' own hosts ── TAP ──┘
//!                                           └── outside hosts
//! ```
//! Hosts are smoltcp TCP/IP stacks (`host`); nodes are weir's pipeline (`node`) with the generations that
//! `weir run` would build from the same manifests. State, probes, expectation and report are those of the lab
//! with namespaces. Everything is stepped by [`MemoryLab::round`]: each round takes [`ROUND`] of simulated time,
//! which is also what a frame takes over each wire, and where nothing moves time jumps to the next timer. Nothing
//! is left to chance, so two runs count the same packets.

mod build;
mod client;
pub mod demo;
mod host;
mod node;
mod probes;
pub mod raw;
mod router;
mod server;
mod transfer;
mod wire;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use dataplane::drop_reason::DropReason;
use dataplane::time::Timestamp;
use vxlan::mac::Mac;

use super::LabError;
use super::cluster_state::ClusterState;
use super::plan::{Family, Side};
use super::report::Counted;
use super::scenario::Place;
use client::Client;
use host::Host;
use node::Node;
use router::Router;

pub use transfer::{Transfer, TransferId};

/// Simulated time of one round.
pub const ROUND: Duration = Duration::from_micros(10);
/// Longest jump: how often a node's housekeeping runs.
const TICK: Duration = Duration::from_millis(50);
/// How long questions for neighbours and their answers take at the most.
const MEETING: Duration = Duration::from_millis(1);
/// How long the hosts remember the answers; smoltcp does for a minute.
const MET: Duration = Duration::from_secs(30);
/// Largest IP packet of pods and nodes: 1500 less the overhead of the tunnel over IPv6.
pub const MTU: u16 = 1430;

/// A lab that is up.
pub struct MemoryLab {
    state: ClusterState,
    nodes: [Node; 2],
    router: Router,
    hosts: Vec<Host>,
    clients: Vec<Option<(usize, Client)>>,
    now: Timestamp,
    next_tick: Timestamp,
    /// Until when the hosts know their neighbours.
    met_until: Timestamp,
    /// Holds the state; removed last.
    _directory: tempfile::TempDir,
}

impl MemoryLab {
    /// The cluster's state, as files; what changes takes effect with [`Self::reload`].
    pub fn state(&self) -> &ClusterState {
        &self.state
    }

    /// Has both nodes compile the state and judge by it from the next round on.
    ///
    /// # Errors
    /// The state is not valid; the last generation stays.
    pub fn reload(&mut self) -> Result<(), LabError> {
        for node in &mut self.nodes {
            node.reload(&self.state)?;
        }
        // Somebody who got no answer before may get one now.
        self.met_until = Timestamp::ZERO;
        Ok(())
    }

    /// The simulated time since the lab was made.
    pub fn elapsed(&self) -> Duration {
        self.now.since(Timestamp::ZERO)
    }

    /// Packets a node has dropped for a reason.
    pub fn dropped(&self, side: Side, reason: DropReason) -> u64 {
        self.nodes.get(side as usize).map_or(0, |node| node.dropped(reason))
    }

    /// Connections a node follows.
    pub fn connections(&self, side: Side) -> usize {
        self.nodes.get(side as usize).map_or(0, Node::connections)
    }

    /// What a node has counted.
    pub fn counted(&self, side: Side) -> Counted {
        self.nodes.get(side as usize).map(Node::counted).unwrap_or_default()
    }

    /// The address of a pod, outside host or node.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn address(&self, name: &str, family: Family) -> Result<IpAddr, LabError> {
        let host = self.hosts.get(self.position(name)?);
        host.map(|host| host.address(family)).ok_or_else(|| unknown(name))
    }

    /// The way of hand-made packets from one pod to another.
    ///
    /// # Errors
    /// There is no host of one of those names.
    pub fn path(&self, src: &str, dst: &str, family: Family) -> Result<raw::Path, LabError> {
        let from = self.hosts.get(self.position(src)?).ok_or_else(|| unknown(src))?;
        let side = match from.plan.place {
            Place::Pod { side, .. } | Place::Node(side) => side,
            Place::Outside => Side::A,
        };
        Ok(raw::Path {
            src_mac: from.plan.mac,
            dst_mac: self.nodes.get(side as usize).map_or(Mac::ZERO, Node::gateway_mac),
            src: from.address(family),
            dst: self.address(dst, family)?,
        })
    }

    /// Sends frames from a host's wire, as they are.
    ///
    /// # Errors
    /// There is no host of that name.
    pub fn send_frames(&mut self, src: &str, frames: Vec<Vec<u8>>) -> Result<(), LabError> {
        let position = self.position(src)?;
        self.meet()?;
        let host = self.hosts.get_mut(position).ok_or_else(|| unknown(src))?;
        for frame in frames {
            host.wire.send(frame);
        }
        Ok(())
    }

    /// The SCTP packets and fragments that have come to a host since the last call.
    ///
    /// # Errors
    /// There is no host of that name.
    pub fn take_frames(&mut self, dst: &str) -> Result<Vec<Vec<u8>>, LabError> {
        let position = self.position(dst)?;
        Ok(self.hosts.get_mut(position).ok_or_else(|| unknown(dst))?.wire.take_by_hand())
    }

    /// One round: every host, the router and every node do what there is to do. Then time goes on, by [`ROUND`] or,
    /// where nothing moved, to the next timer.
    ///
    /// # Errors
    /// A wire is gone.
    pub fn round(&mut self) -> Result<(), LabError> {
        let mut moved = 0;
        for (host, client) in self.clients.iter_mut().flatten() {
            if let Some(host) = self.hosts.get_mut(*host) {
                client.round(host, self.now);
            }
        }
        for host in &mut self.hosts {
            moved += host.round(self.now)?;
        }
        moved += self.router.round()?;
        let is_tick = self.now >= self.next_tick;
        for node in &mut self.nodes {
            moved += node.round(self.now)?;
            if is_tick {
                node.tick(self.now)?;
            }
        }
        if is_tick {
            self.next_tick = self.now.plus(TICK);
        }
        let next = self.now.plus(ROUND);
        self.now = if moved > 0 { next } else { self.next_event().max(next) };
        Ok(())
    }

    /// Rounds until `is_over`, for `limit` of simulated time at the most. Says whether it came to be.
    ///
    /// # Errors
    /// As [`Self::round`].
    pub fn run_until(
        &mut self,
        limit: Duration,
        mut is_over: impl FnMut(&Self) -> bool,
    ) -> Result<bool, LabError> {
        let end = self.now.plus(limit);
        while !is_over(self) {
            if self.now >= end {
                return Ok(false);
            }
            self.round()?;
        }
        Ok(true)
    }

    /// Rounds for `duration` of simulated time.
    ///
    /// # Errors
    /// As [`Self::round`].
    pub fn run_for(&mut self, duration: Duration) -> Result<(), LabError> {
        self.run_until(duration, |_| false).map(drop)
    }

    /// Has every host ask for the MACs of its neighbours, unless it has done so lately.
    fn meet(&mut self) -> Result<(), LabError> {
        if self.now < self.met_until {
            return Ok(());
        }
        let everybody: Vec<(Place, [IpAddr; 2])> = (self.hosts.iter())
            .map(|host| (host.plan.place.clone(), Family::ALL.map(|family| host.address(family))))
            .collect();
        for host in &mut self.hosts {
            let own = host.plan.place.clone();
            let is_near = |place: &Place| match (&own, place) {
                (Place::Pod { side, .. }, Place::Pod { side: other, .. } | Place::Node(other)) => {
                    side == other && own != *place
                }
                (Place::Node(side), Place::Pod { side: other, .. }) => side == other,
                _ => false,
            };
            let near = everybody.iter().filter(|(place, _)| is_near(place));
            let mut asked: Vec<IpAddr> = near.flat_map(|(_, addresses)| *addresses).collect();
            if let (Place::Outside, Some((v4, v6))) = (&own, host.plan.gateway) {
                asked.extend([IpAddr::V4(v4), IpAddr::V6(v6)]);
            }
            host.ask_for(&asked);
        }
        self.met_until = self.now.plus(MET);
        self.run_for(MEETING)
    }

    /// When the next timer of anybody ends.
    fn next_event(&mut self) -> Timestamp {
        let now = self.now;
        let hosts = self.hosts.iter_mut().filter_map(|host| host.next_event(now));
        let clients = self.clients.iter().flatten().filter_map(|(_, client)| client.next_event());
        hosts.chain(clients).min().map_or(self.next_tick, |next| next.min(self.next_tick))
    }

    /// Sets a client to work on a host; its number.
    fn start(&mut self, host: usize, make: impl FnOnce(&mut Host) -> Client) -> Option<usize> {
        let client = make(self.hosts.get_mut(host)?);
        let slot = self.clients.iter().position(Option::is_none).unwrap_or_else(|| {
            self.clients.push(None);
            self.clients.len().saturating_sub(1)
        });
        *self.clients.get_mut(slot)? = Some((host, client));
        Some(slot)
    }

    fn client(&self, number: usize) -> Option<&Client> {
        self.clients.get(number)?.as_ref().map(|(_, client)| client)
    }

    fn end_client(&mut self, number: usize) {
        let ended = self.clients.get_mut(number).and_then(Option::take);
        if let Some((host, client)) = ended
            && let Some(host) = self.hosts.get_mut(host)
        {
            client.remove(host);
        }
    }

    fn position(&self, name: &str) -> Result<usize, LabError> {
        self.hosts.iter().position(|host| host.plan.name == name).ok_or_else(|| unknown(name))
    }

    fn socket_address(&self, name: &str, family: Family, port: u16) -> Result<SocketAddr, LabError> {
        Ok(SocketAddr::new(self.address(name, family)?, port))
    }
}

fn unknown(name: &str) -> LabError {
    LabError::State(vec![format!("there is no {name} in this lab")])
}
