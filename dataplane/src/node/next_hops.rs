//! Next hops: whose MACs outer frames carry that weir builds itself, as the kernel has them.
//!
//! ```text
//!  each VTEP's underlay address ─► route ─► the peer itself or a router, on the underlay's interface ─► neighbour table
//! ```
//! The kernel finds out and keeps MACs; here it is asked what it knows, and told to ask where it knows nothing or has not
//! heard of a neighbour for long, as it would itself if it sent there. When a route, a neighbour or the interface's own MAC
//! changes the kernel says so ([`word`]), and the control thread looks at once, as long as looking takes it no more than a
//! fifth of its time. Without word of any change everything is looked at once a second.
//!
//! What is known goes into the generation: a change of it makes another generation of the same policy.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use vxlan::mac::Mac;
use vxlan::vtep::Vtep;

use crate::sys::netlink::{Neighbour, Netlink};
use crate::tables::{Generation, NextHops};

mod word;

use word::Word;

/// How often everything is looked at without word of a change, and how often the kernel is told to ask.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long the answer of a neighbour is waited for that is asked for the first time.
const FIRST_ANSWER: Duration = Duration::from_millis(20);
/// How many times as long as the last look took there is no other, whatever changes.
const REST: u32 = 4;

/// Finds next hops on one interface.
pub(super) struct Resolver {
    netlink: Netlink,
    _word: Word,
    /// There was word of a change.
    told: bool,
    index: u32,
    locals: Vec<IpAddr>,
    known: NextHops,
    /// Peers that have been looked for before.
    asked: BTreeSet<IpAddr>,
    next_look: Instant,
    /// There is no look before that.
    rests_until: Instant,
    /// Why some peer cannot be reached, to be said once.
    problems: Vec<String>,
}

impl Resolver {
    /// For the interface of that index, which has these addresses. Has somebody `tell` [`Resolver::hear`] of changes, from a
    /// thread of its own.
    pub(super) fn new(
        index: u32,
        own: Mac,
        locals: Vec<IpAddr>,
        tell: impl Fn() + Send + 'static,
    ) -> io::Result<Self> {
        let now = Instant::now();
        Ok(Self {
            netlink: Netlink::open()?,
            _word: Word::listen(index, tell)?,
            told: false,
            index,
            locals,
            known: NextHops { own, peers: HashMap::default() },
            asked: BTreeSet::new(),
            next_look: now,
            rests_until: now,
            problems: Vec::new(),
        })
    }

    /// Something has changed.
    pub(super) fn hear(&mut self) {
        self.told = true;
    }

    /// Looks where there may be something new; what is known of the peers then, if it is not what `generation` has.
    pub(super) fn tend(&mut self, generation: &Generation) -> Option<NextHops> {
        let now = Instant::now();
        let due = now >= self.next_look || (self.told && now >= self.rests_until);
        if !due {
            return None;
        }
        self.look(&addresses(generation.fdb.iter().map(|(_, vtep)| vtep)), Instant::now() >= self.next_look);
        let own = &generation.own;
        let news = own.underlay_mac != self.known.own || own.underlay_neighbours != self.known.peers;
        news.then(|| self.known.clone())
    }

    /// What is known of the next hops to `peers`, those that are new having been asked for.
    pub(super) fn resolve(&mut self, peers: &[IpAddr]) -> NextHops {
        let new = peers.iter().filter(|peer| self.asked.insert(**peer)).count() > 0;
        self.look(peers, true);
        let until = Instant::now() + FIRST_ANSWER;
        while new && Instant::now() < until && peers.iter().any(|peer| !self.known.peers.contains_key(peer)) {
            std::thread::sleep(Duration::from_millis(1));
            self.look(peers, false);
        }
        self.known.clone()
    }

    /// Asks the kernel for all there is to know, and has it ask where it knows nothing, or also, to `ask`, where it has not
    /// heard of a neighbour for long.
    fn look(&mut self, peers: &[IpAddr], ask: bool) {
        let begin = Instant::now();
        if ask {
            self.next_look = begin + LOOK_EVERY;
        }
        self.told = false;
        let mut problems = Vec::new();
        match self.read(peers, ask, &mut problems) {
            Ok(known) => self.known = known,
            Err(error) => problems.push(format!("cannot look for the next hops: {error}")),
        }
        for problem in problems.iter().filter(|problem| !self.problems.contains(problem)) {
            tracing::warn!("underlay: {problem}");
        }
        self.problems = problems;
        self.rests_until = Instant::now() + begin.elapsed().saturating_mul(REST);
    }

    fn read(&self, peers: &[IpAddr], ask: bool, problems: &mut Vec<String>) -> io::Result<NextHops> {
        let own = self.netlink.link_by_index(self.index)?.map_or(self.known.own, |link| Mac(link.mac));
        let neighbours: HashMap<IpAddr, Neighbour> =
            self.netlink.neighbours(self.index)?.into_iter().map(|found| (found.ip, found)).collect();
        let mut found = NextHops { own, peers: HashMap::default() };
        let mut told = BTreeSet::new();
        for &peer in peers {
            let Some(local) = self.locals.iter().find(|local| local.is_ipv4() == peer.is_ipv4()) else {
                continue;
            };
            let hop = match self.netlink.next_hop(peer, *local)? {
                None => {
                    problems.push(format!("{peer}: the host has no route there"));
                    continue;
                }
                Some(hop) if hop.dev != self.index => {
                    problems.push(format!(
                        "{peer}: the host's route leads over link {}, not over underlay.interface: a raw underlay sends \
                         on that alone; name the other, or use `underlay.kind: udp`",
                        hop.dev
                    ));
                    continue;
                }
                Some(hop) => hop.neighbour,
            };
            let known = neighbours.get(&hop);
            if let Some(mac) = known.and_then(|known| known.mac) {
                found.peers.insert(peer, Mac(mac));
            }
            // Where the kernel has forgotten a neighbour, as it does when the interface's MAC changes, nothing can be sent.
            let unknown = known.is_none_or(|known| known.mac.is_none());
            if (ask || unknown) && !known.is_some_and(|known| known.fresh) && told.insert(hop) {
                self.netlink.ask_for_neighbour(self.index, hop)?;
            }
        }
        Ok(found)
    }
}

/// The underlay addresses of these nodes.
pub(super) fn addresses<'a>(vteps: impl IntoIterator<Item = &'a Vtep>) -> Vec<IpAddr> {
    let both = |vtep: &Vtep| [vtep.underlay_v4.map(IpAddr::V4), vtep.underlay_v6.map(IpAddr::V6)];
    vteps.into_iter().flat_map(both).flatten().collect()
}
