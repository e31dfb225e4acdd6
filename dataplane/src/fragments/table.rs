//! The table of fragmented datagrams under way, and the frames that wait for their first fragment.
//!
//! Key: addresses, protocol, identification and in-port. Value: what the first fragment said, the ranges seen,
//! the end if known. Held frames stand in one list in order of arrival; those of a datagram that was killed or
//! ran out of time wait apart until [`Table::expire`] hands them out, and count as held until then.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use ahash::RandomState;

use crate::buffer::Frame;
use crate::drop_reason::DropReason;
use crate::time::Timestamp;

use super::ranges::{Added, Ranges};
use super::shares::Shares;

/// Bounds of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FragConfig {
    /// Most datagrams under way, 1 to 65,536 (clamped). Default 1,024.
    pub max_datagrams: usize,
    /// Most frames waiting for their first fragment, up to 4,096 (clamped). Default 64.
    pub max_held_frames: usize,
    /// Most of them of one datagram. Default 16.
    pub max_held_per_datagram: usize,
    /// How long after its first sight a datagram is given up. Default 30 s, as Linux's `ipfrag_time`.
    pub timeout: Duration,
}

impl Default for FragConfig {
    fn default() -> Self {
        Self {
            max_datagrams: 1_024,
            max_held_frames: 64,
            max_held_per_datagram: 16,
            timeout: Duration::from_secs(30),
        }
    }
}

/// What fragments of one datagram have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FragKey {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Protocol of the payload (for IPv6 the fragment header's next header).
    pub protocol: u8,
    /// Identification: 16 bits for IPv4, 32 for IPv6.
    pub id: u32,
    /// The port it came in at, by any number: fragments that take different ways in do not mix.
    pub port: u32,
}

/// What becomes of a later fragment.
#[derive(Debug)]
pub enum Later<L> {
    /// Treat it as the first fragment, which said this.
    Known(L, Frame),
    /// The table keeps it until the first fragment comes.
    Held,
    /// Drop it for this reason.
    Drop(Frame, DropReason),
}

struct Datagram<L> {
    key: FragKey,
    deadline: Timestamp,
    first: Option<L>,
    /// Where the datagram ends, once the last fragment has been seen.
    end: Option<u16>,
    killed: Option<DropReason>,
    held: usize,
    live: bool,
    ranges: Ranges,
}

/// How often ended datagrams are looked for.
const SWEEP_EVERY: Duration = Duration::from_millis(250);

/// The table. `L` is what the caller wants to know of the first fragment when it sees a later one.
pub(super) struct Table<L> {
    config: FragConfig,
    by_key: HashMap<FragKey, u32, RandomState>,
    datagrams: Vec<Datagram<L>>,
    vacant: Vec<u32>,
    shares: Shares,
    held: Vec<(u32, Frame)>,
    doomed: Vec<(Frame, DropReason)>,
    next_sweep: Timestamp,
}

impl<L: Copy> Table<L> {
    /// An empty table. All of its memory is allocated here.
    pub(super) fn new(config: FragConfig) -> Self {
        let max_datagrams = config.max_datagrams.clamp(1, 65_536);
        let max_held_frames = config.max_held_frames.min(4_096);
        Self {
            // Twice the room that can be needed: the map then never grows, however often keys come and go.
            by_key: HashMap::with_capacity_and_hasher(max_datagrams * 2, RandomState::new()),
            datagrams: Vec::with_capacity(max_datagrams),
            vacant: Vec::with_capacity(max_datagrams),
            shares: Shares::new(max_datagrams, max_held_frames),
            held: Vec::with_capacity(max_held_frames),
            doomed: Vec::with_capacity(max_held_frames),
            next_sweep: Timestamp::ZERO,
            config: FragConfig { max_datagrams, max_held_frames, ..config },
        }
    }

    /// Enters the first fragment of a datagram, whose payload ends at byte `end`, and moves the fragments that
    /// waited for it into `released`, in the order they came. They need no further call: treat them as later
    /// fragments whose first fragment said `l4`.
    ///
    /// # Errors
    /// The reason to drop the first fragment for.
    pub(super) fn first(
        &mut self,
        key: FragKey,
        end: u32,
        l4: L,
        now: Timestamp,
        released: &mut Vec<Frame>,
    ) -> Result<(), DropReason> {
        let index = self.admit(&key, 0, end, true, now)?;
        self.record(index, 0, end, true)?;
        if let Some(datagram) = self.datagrams.get_mut(index as usize) {
            datagram.first = Some(l4);
        }
        self.take_held(index, |frame| released.push(frame));
        self.close_if_complete(index);
        Ok(())
    }

    /// Takes a later fragment: `len` bytes of payload at byte `offset` (not 0), with `more` to follow or not.
    pub(super) fn later(
        &mut self,
        key: FragKey,
        offset: u32,
        len: u32,
        more: bool,
        frame: Frame,
        now: Timestamp,
    ) -> Later<L> {
        if offset == 0 {
            return Later::Drop(frame, DropReason::BadHeader);
        }
        let end = offset.saturating_add(len);
        let recorded = self.admit(&key, offset, end, more, now).and_then(|index| {
            self.record(index, offset, end, more)?;
            Ok(index)
        });
        let index = match recorded {
            Ok(index) => index,
            Err(reason) => return Later::Drop(frame, reason),
        };
        if let Some(l4) = self.datagrams.get(index as usize).and_then(|datagram| datagram.first) {
            self.close_if_complete(index);
            return Later::Known(l4, frame);
        }
        if self.may_hold(index) {
            self.held.push((index, frame));
            return Later::Held;
        }
        // The receiver will never have the whole of it: let go of what it holds, too.
        Later::Drop(frame, self.kill(index, DropReason::FragmentTableFull))
    }

    /// Gives up datagrams whose time has passed (at most 250 ms late; none is used after it, however). Appends
    /// the frames held in vain, of these and of datagrams killed since the last call, each with its reason.
    pub(super) fn expire(&mut self, now: Timestamp, dropped: &mut Vec<(Frame, DropReason)>) {
        self.sweep(now);
        dropped.append(&mut self.doomed);
    }

    /// Datagrams under way.
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// When [`Table::expire`] has something to do next; none while no datagram is under way.
    pub(super) fn due(&self) -> Option<Timestamp> {
        if !self.doomed.is_empty() {
            return Some(Timestamp::ZERO);
        }
        (!self.by_key.is_empty()).then_some(self.next_sweep)
    }

    /// Frames the table holds, those included that [`Table::expire`] will hand out.
    pub(super) fn held_frames(&self) -> usize {
        self.held.len() + self.doomed.len()
    }

    /// Finds or makes the entry of a fragment that is not malformed by itself.
    fn admit(
        &mut self,
        key: &FragKey,
        start: u32,
        end: u32,
        more: bool,
        now: Timestamp,
    ) -> Result<u32, DropReason> {
        if end <= start || (more && !(end - start).is_multiple_of(8)) {
            return Err(DropReason::LengthMismatch);
        }
        let known = self.by_key.get(key).copied();
        let over = |datagram: &Datagram<L>| datagram.deadline <= now;
        let known = match known {
            Some(index) if self.datagrams.get(index as usize).is_none_or(over) => {
                self.close(index);
                None
            }
            known => known,
        };
        if end > u32::from(u16::MAX) {
            return Err(match known {
                Some(index) => self.kill(index, DropReason::LengthMismatch),
                None => DropReason::LengthMismatch,
            });
        }
        let Some(index) = known else { return self.open(key, now) };
        match self.datagrams.get(index as usize).and_then(|datagram| datagram.killed) {
            Some(reason) => Err(reason),
            None => Ok(index),
        }
    }

    fn open(&mut self, key: &FragKey, now: Timestamp) -> Result<u32, DropReason> {
        if self.by_key.len() >= self.config.max_datagrams {
            self.sweep(now);
        }
        if self.by_key.len() >= self.config.max_datagrams || !self.shares.open(key.port, key.src) {
            return Err(DropReason::FragmentTableFull);
        }
        let datagram = Datagram {
            key: *key,
            deadline: now.plus(self.config.timeout),
            first: None,
            end: None,
            killed: None,
            held: 0,
            live: true,
            ranges: Ranges::EMPTY,
        };
        let index = if let Some(index) = self.vacant.pop() {
            if let Some(place) = self.datagrams.get_mut(index as usize) {
                *place = datagram;
            }
            index
        } else {
            self.datagrams.push(datagram);
            self.datagrams.len() as u32 - 1
        };
        self.by_key.insert(*key, index);
        Ok(index)
    }

    /// Enters a fragment's range, or kills the datagram that it contradicts.
    fn record(&mut self, index: u32, start: u32, end: u32, more: bool) -> Result<(), DropReason> {
        let Some(datagram) = self.datagrams.get_mut(index as usize) else {
            return Err(DropReason::FragmentTableFull);
        };
        let (Ok(start), Ok(end)) = (u16::try_from(start), u16::try_from(end)) else {
            return Err(DropReason::LengthMismatch);
        };
        let ends_elsewhere = match datagram.end {
            Some(known) if more => end > known,
            Some(known) => end != known,
            None => !more && datagram.ranges.reaches_beyond(end),
        };
        let reason = if ends_elsewhere {
            DropReason::FragmentOverlap
        } else {
            match datagram.ranges.add(start, end) {
                Added::New => {
                    if !more {
                        datagram.end = Some(end);
                    }
                    return Ok(());
                }
                // The same fragment once more, unless it says otherwise about what follows.
                Added::Duplicate if more != (datagram.end == Some(end)) => {
                    return Err(DropReason::FragmentOverlap);
                }
                Added::Duplicate | Added::Overlap => DropReason::FragmentOverlap,
                Added::TooMany => DropReason::FragmentTableFull,
            }
        };
        Err(self.kill(index, reason))
    }

    fn may_hold(&mut self, index: u32) -> bool {
        let room = self.held_frames() < self.config.max_held_frames;
        let Some(datagram) = self.datagrams.get_mut(index as usize) else { return false };
        let FragKey { port, src, .. } = datagram.key;
        if !room || datagram.held >= self.config.max_held_per_datagram || !self.shares.hold(port, src) {
            return false;
        }
        datagram.held += 1;
        true
    }

    /// Marks a datagram dead and gives up its held frames. Returns the reason.
    fn kill(&mut self, index: u32, reason: DropReason) -> DropReason {
        if let Some(datagram) = self.datagrams.get_mut(index as usize) {
            datagram.killed = Some(reason);
        }
        self.doom_held(index, reason);
        reason
    }

    fn close_if_complete(&mut self, index: u32) {
        let complete = self
            .datagrams
            .get(index as usize)
            .is_some_and(|datagram| datagram.end.is_some_and(|end| datagram.ranges.cover(end)));
        if complete {
            self.close(index);
        }
    }

    /// Ends a datagram; whatever it still holds has waited in vain.
    fn close(&mut self, index: u32) {
        self.doom_held(index, DropReason::FragmentNoFirst);
        let Some(datagram) = self.datagrams.get_mut(index as usize) else { return };
        datagram.live = false;
        self.by_key.remove(&datagram.key);
        self.shares.close(datagram.key.port, datagram.key.src);
        self.vacant.push(index);
    }

    fn sweep(&mut self, now: Timestamp) {
        if now < self.next_sweep || self.by_key.is_empty() {
            return;
        }
        self.next_sweep = now.plus(SWEEP_EVERY);
        for index in 0..self.datagrams.len() {
            let over = |datagram: &Datagram<L>| datagram.live && datagram.deadline <= now;
            if self.datagrams.get(index).is_some_and(over) {
                self.close(index as u32);
            }
        }
    }

    fn doom_held(&mut self, index: u32, reason: DropReason) {
        // Lent out for the call, so that `take_held` may have the rest of the table; moves no frame.
        let mut doomed = std::mem::take(&mut self.doomed);
        self.take_held(index, |frame| doomed.push((frame, reason)));
        self.doomed = doomed;
    }

    /// Hands out the held frames of a datagram in the order they came.
    fn take_held(&mut self, index: u32, mut hand_out: impl FnMut(Frame)) {
        let Some(datagram) = self.datagrams.get_mut(index as usize) else { return };
        if datagram.held == 0 {
            return;
        }
        let mut taken = 0;
        for (_, frame) in self.held.extract_if(.., |(of, _)| *of == index) {
            hand_out(frame);
            taken += 1;
        }
        datagram.held = 0;
        self.shares.release(datagram.key.port, datagram.key.src, taken);
    }
}
