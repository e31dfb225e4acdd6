//! The probes of a lab: between all ends, on a few services, in both families, many at a time.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dataplane::sys::netns::Netns;
use serde::{Serialize, Serializer};

use super::expect::Expectation;
use super::matrix::{Cell, Matrix};
use super::plan::{Family, Side};
use super::{End, Lab, LabError};
use crate::traffic::{Reach, ping, tcp, udp};

/// Probes under way at a time. Most of them wait for an answer that a policy keeps from coming.
const AT_A_TIME: usize = 48;
/// How long the absence of an answer is waited for where none is expected.
pub(super) const SILENCE: Duration = Duration::from_secs(1);
/// How long an expected answer is waited for; a busy machine is no finding.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);
/// How often an expected answer is asked for.
const ATTEMPTS: usize = 3;

/// What a probe asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    /// A TCP connection to that port.
    Tcp(u16),
    /// A UDP datagram to that port, and back.
    Udp(u16),
    /// An ICMP or ICMPv6 echo.
    Ping,
}

impl Service {
    /// Those of the demonstration: the service, a port no policy opens, DNS, ping.
    pub const ALL: [Self; 4] = [Self::Tcp(8080), Self::Tcp(9090), Self::Udp(53), Self::Ping];

    /// Protocol number and ports, as the classifier wants them.
    pub fn key(self, ipv6: bool) -> (u8, u16, u16) {
        const ANY_SOURCE_PORT: u16 = 49_152;
        const ECHO_REQUEST: u16 = 8 << 8;
        const ECHO_REQUEST_V6: u16 = 128 << 8;
        match self {
            Self::Tcp(port) => (6, ANY_SOURCE_PORT, port),
            Self::Udp(port) => (17, ANY_SOURCE_PORT, port),
            Self::Ping if ipv6 => (58, 0, ECHO_REQUEST_V6),
            Self::Ping => (1, 0, ECHO_REQUEST),
        }
    }
}

impl std::fmt::Display for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(port) => write!(f, "TCP {port}"),
            Self::Udp(port) => write!(f, "UDP {port}"),
            Self::Ping => f.write_str("ping"),
        }
    }
}

impl Serialize for Service {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What an end is, as far as policies are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A pod.
    Pod {
        /// `namespace/name`.
        name: String,
        /// Its node.
        side: Side,
    },
    /// A node itself.
    Node(Side),
    /// A host outside the cluster.
    Outside,
}

/// One question: can `src` reach `dst`? Ends are numbered as in [`Lab::ends`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Who asks.
    pub src: usize,
    /// Who is asked.
    pub dst: usize,
    /// Over which family.
    pub family: Family,
    /// For what.
    pub service: Service,
}

/// All questions worth asking: pods among each other, outside hosts and pods both ways, each node to its
/// own pods (as kubelet does).
pub fn all_probes(ends: &[End]) -> Vec<Probe> {
    probes_between(&ends.iter().map(|end| &end.place).collect::<Vec<_>>())
}

/// The same, of ends that are somewhere else than in namespaces.
pub fn probes_between(places: &[&Place]) -> Vec<Probe> {
    let mut probes = Vec::new();
    for (src, from) in places.iter().enumerate() {
        for (dst, to) in places.iter().enumerate() {
            let asked = match (from, to) {
                (Place::Pod { .. }, Place::Pod { .. } | Place::Outside) => src != dst,
                (Place::Outside, Place::Pod { .. }) => true,
                (Place::Node(node), Place::Pod { side, .. }) => node == side,
                _ => false,
            };
            if !asked {
                continue;
            }
            for family in Family::ALL {
                for service in Service::ALL {
                    probes.push(Probe { src, dst, family, service });
                }
            }
        }
    }
    probes
}

/// Asks all of `probes` and compares the answers with what was to be expected. `progress` hears how many are
/// done, of how many.
pub fn run(
    lab: &Lab,
    probes: &[Probe],
    expectation: &Expectation,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Matrix, LabError> {
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let cells: Mutex<Vec<(usize, Result<Cell, LabError>)>> = Mutex::new(Vec::with_capacity(probes.len()));
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME.min(probes.len()) {
            scope.spawn(|| {
                while let Some((number, probe)) = take(&next, probes) {
                    let cell = lab.check_interrupt().and_then(|()| ask(lab, probe, expectation));
                    let failed = cell.is_err();
                    if let Ok(mut cells) = cells.lock() {
                        cells.push((number, cell));
                    }
                    progress(done.fetch_add(1, Ordering::Relaxed).saturating_add(1), probes.len());
                    if failed {
                        // The others stop at their next turn.
                        next.store(probes.len(), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let mut cells = cells.into_inner().unwrap_or_default();
    cells.sort_by_key(|(number, _)| *number);
    let cells = cells.into_iter().map(|(_, cell)| cell).collect::<Result<Vec<_>, _>>()?;
    Ok(Matrix { ends: lab.ends().iter().map(|end| end.name.clone()).collect(), cells })
}

fn take<'a>(next: &AtomicUsize, probes: &'a [Probe]) -> Option<(usize, &'a Probe)> {
    let number = next.fetch_add(1, Ordering::Relaxed);
    probes.get(number).map(|probe| (number, probe))
}

fn ask(lab: &Lab, probe: &Probe, expectation: &Expectation) -> Result<Cell, LabError> {
    let (Some(src), Some(dst)) = (lab.ends().get(probe.src), lab.ends().get(probe.dst)) else {
        return Err(LabError::State(vec![format!("no ends {} and {} in this lab", probe.src, probe.dst)]));
    };
    let (from, to) = (src.address(probe.family), dst.address(probe.family));
    let expected = expectation.judge(probe.service, (&src.place, from), (&dst.place, to));
    let mut observed = Reach::Silent;
    for _ in 0..if expected.open { ATTEMPTS } else { 1 } {
        observed = once(&src.netns, to, probe.service, if expected.open { PATIENCE } else { SILENCE })?;
        if observed.is_open() {
            break;
        }
        lab.check_interrupt()?;
    }
    Ok(Cell::new(probe, expected, observed))
}

/// Asks once, from a namespace.
pub fn once(netns: &Netns, to: IpAddr, service: Service, timeout: Duration) -> io::Result<Reach> {
    match service {
        Service::Tcp(port) => tcp::probe(netns, SocketAddr::new(to, port), timeout),
        Service::Udp(port) => udp::probe(netns, SocketAddr::new(to, port), timeout),
        Service::Ping => ping::probe(netns, to, 56, timeout),
    }
}
