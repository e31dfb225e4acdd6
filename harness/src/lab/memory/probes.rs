//! The probes of a lab in memory: the questions and expectations of the lab with namespaces, asked of smoltcp.

use std::net::SocketAddr;
use std::time::Duration;

use dataplane::time::Timestamp;

use super::client::Client;
use super::{MemoryLab, unknown};
use crate::lab::LabError;
use crate::lab::expect::{Expectation, Expected};
use crate::lab::matrix::{Cell, Matrix};
use crate::lab::plan::Family;
use crate::lab::scenario::{PATIENCE, Probe, SILENCE, Service, probes_between};
use crate::traffic::Reach;

/// Probes under way at a time.
const AT_A_TIME: usize = 64;
/// Payload of a UDP probe.
const UDP_BYTES: usize = 32;

/// A probe under way.
struct Asked {
    probe: Probe,
    expected: Expected,
    client: usize,
    deadline: Timestamp,
    observed: Option<Reach>,
}

impl MemoryLab {
    /// All questions worth asking in this lab.
    pub fn all_probes(&self) -> Vec<Probe> {
        probes_between(&self.hosts.iter().map(|host| &host.plan.place).collect::<Vec<_>>())
    }

    /// Asks all of `probes` and compares the answers with what was to be expected. `progress` hears how many are
    /// done; an error from it ends the work.
    ///
    /// # Errors
    /// `progress`'s, or a probe's end is not in this lab.
    pub fn probe(
        &mut self,
        probes: &[Probe],
        expectation: &Expectation,
        mut progress: impl FnMut(usize) -> Result<(), LabError>,
    ) -> Result<Matrix, LabError> {
        let mut cells = Vec::with_capacity(probes.len());
        for wave in probes.chunks(AT_A_TIME) {
            self.meet()?;
            let asked =
                wave.iter().map(|probe| self.ask(*probe, expectation)).collect::<Result<Vec<_>, _>>()?;
            cells.extend(self.wait_for(asked)?);
            progress(cells.len())?;
        }
        Ok(Matrix { ends: self.hosts.iter().map(|host| host.plan.name.clone()).collect(), cells })
    }

    /// Asks once, whatever is expected, for `limit` of simulated time at the most.
    ///
    /// # Errors
    /// There is no host of one of those names.
    pub fn reach(
        &mut self,
        src: &str,
        dst: &str,
        family: Family,
        service: Service,
        limit: Duration,
    ) -> Result<Reach, LabError> {
        let (src, dst) = (self.position(src)?, self.position(dst)?);
        self.meet()?;
        let client = self.start_probe(Probe { src, dst, family, service })?;
        self.run_until(limit, |lab| lab.seen(client) != Reach::Silent)?;
        let reach = self.seen(client);
        self.end_client(client);
        Ok(reach)
    }

    /// Sends a UDP datagram of `size` bytes until it comes back unchanged, for `limit` of simulated time at the most.
    /// The hosts fragment nothing: larger ones than [`super::MTU`] takes are for [`super::raw`].
    ///
    /// # Errors
    /// There is no host of one of those names.
    pub fn echo(
        &mut self,
        src: &str,
        dst: (&str, u16),
        family: Family,
        size: usize,
        limit: Duration,
    ) -> Result<Reach, LabError> {
        let (position, to) = (self.position(src)?, self.socket_address(dst.0, family, dst.1)?);
        self.meet()?;
        let client = self.start(position, |host| Client::udp(host, to, size)).ok_or_else(|| unknown(src))?;
        self.run_until(limit, |lab| lab.seen(client) != Reach::Silent)?;
        let reach = self.seen(client);
        self.end_client(client);
        Ok(reach)
    }

    fn ask(&mut self, probe: Probe, expectation: &Expectation) -> Result<Asked, LabError> {
        let (Some(src), Some(dst)) = (self.hosts.get(probe.src), self.hosts.get(probe.dst)) else {
            return Err(unknown("such end"));
        };
        let expected = expectation.judge(
            probe.service,
            (&src.plan.place, src.address(probe.family)),
            (&dst.plan.place, dst.address(probe.family)),
        );
        let deadline = self.now.plus(if expected.open { PATIENCE } else { SILENCE });
        let client = self.start_probe(probe)?;
        Ok(Asked { probe, expected, client, deadline, observed: None })
    }

    fn start_probe(&mut self, probe: Probe) -> Result<usize, LabError> {
        let to = self.hosts.get(probe.dst).map(|host| host.address(probe.family));
        let to = to.ok_or_else(|| unknown("such end"))?;
        let client = self.start(probe.src, |host| match probe.service {
            Service::Tcp(port) => Client::greet(host, SocketAddr::new(to, port)),
            Service::Udp(port) => Client::udp(host, SocketAddr::new(to, port), UDP_BYTES),
            Service::Ping => Client::ping(host, to),
        });
        client.ok_or_else(|| unknown("such end"))
    }

    /// Rounds until each probe is answered or its time is up.
    fn wait_for(&mut self, mut asked: Vec<Asked>) -> Result<Vec<Cell>, LabError> {
        while asked.iter().any(|asked| asked.observed.is_none()) {
            self.round()?;
            for asked in asked.iter_mut().filter(|asked| asked.observed.is_none()) {
                let seen = self.seen(asked.client);
                if seen != Reach::Silent || self.now >= asked.deadline {
                    asked.observed = Some(seen);
                }
            }
        }
        let cells = asked.into_iter().map(|asked| {
            self.end_client(asked.client);
            Cell::new(&asked.probe, asked.expected, asked.observed.unwrap_or(Reach::Silent))
        });
        Ok(cells.collect())
    }

    fn seen(&self, client: usize) -> Reach {
        self.client(client).map_or(Reach::Silent, Client::reach)
    }
}
