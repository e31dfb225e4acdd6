//! The rings: numbers that only one side writes, and entries between them.
//!
//! The producer counts what it has put in, the consumer what it has taken out; both count on through the wrap, and the
//! difference is what lies between. Each publishes its count with `Release`, and reads the other's with `Acquire`: so
//! entries and chunks are written before they are seen, and read before they are given back. The kernel does the same
//! (`net/xdp/xsk_queue.h`).
//!
//! A count of the kernel's that makes no sense (more than the ring holds) is taken as a full or empty ring.

use std::io;
use std::marker::PhantomData;
use std::sync::atomic::Ordering;

use crate::sys::mapping::{Mapping, Plain};

/// Where the parts of a ring lie in its mapping: `struct xdp_ring_offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Layout {
    pub(super) producer: u64,
    pub(super) consumer: u64,
    pub(super) entries: u64,
    pub(super) flags: u64,
}

/// Where a frame lies: `struct xdp_desc`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Descriptor {
    /// Its first byte, counted from the start of the memory.
    pub addr: u64,
    /// How many bytes.
    pub len: u32,
    /// `XDP_PKT_CONTD` where the next descriptor is of the same frame.
    pub options: u32,
}

const _: () = assert!(size_of::<Descriptor>() == 16, "no padding");

impl Descriptor {
    /// Whether the frame goes on in the next descriptor.
    pub fn continues(&self) -> bool {
        self.options & libc::XDP_PKT_CONTD != 0
    }
}

#[allow(unsafe_code)]
mod plain {
    // SAFETY: three numbers without padding, as asserted above.
    unsafe impl super::Plain for super::Descriptor {}
}

/// What both ends of a ring have in common.
#[derive(Debug)]
struct Ring<T> {
    mapping: Mapping,
    producer: usize,
    consumer: usize,
    flags: usize,
    entries: usize,
    /// Entries, a power of two.
    size: u32,
    of: PhantomData<T>,
}

impl<T: Plain> Ring<T> {
    fn new(mapping: Mapping, layout: Layout, size: u32) -> io::Result<Self> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidData);
        let place = |offset: u64| usize::try_from(offset).map_err(|_| invalid());
        let ring = Self {
            mapping,
            producer: place(layout.producer)?,
            consumer: place(layout.consumer)?,
            flags: place(layout.flags)?,
            entries: place(layout.entries)?,
            size,
            of: PhantomData,
        };
        let numbers = [ring.producer, ring.consumer, ring.flags];
        let whole = size.is_power_of_two()
            && numbers.iter().all(|&at| ring.mapping.number(at).is_some())
            && ring.mapping.read::<T>(ring.place(size - 1)).is_some();
        if whole { Ok(ring) } else { Err(invalid()) }
    }

    fn place(&self, index: u32) -> usize {
        self.entries.saturating_add((index & (self.size - 1)) as usize * size_of::<T>())
    }

    /// A number of the ring: 0 cannot be, as [`Ring::new`] has looked.
    fn load(&self, at: usize, order: Ordering) -> u32 {
        self.mapping.number(at).map_or(0, |number| number.load(order))
    }

    fn store(&self, at: usize, value: u32) {
        if let Some(number) = self.mapping.number(at) {
            number.store(value, Ordering::Release);
        }
    }

    fn wants_wakeup(&self) -> bool {
        self.load(self.flags, Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0
    }
}

/// The end that puts in: of the fill and the tx ring.
#[derive(Debug)]
pub struct Producer<T> {
    ring: Ring<T>,
    /// What has been put in, published or not.
    next: u32,
    published: u32,
    /// The other side's count, as it was last looked at.
    taken: u32,
}

#[allow(private_bounds, reason = "entries are what this module says")]
impl<T: Plain> Producer<T> {
    pub(super) fn new(mapping: Mapping, layout: Layout, size: u32) -> io::Result<Self> {
        let ring = Ring::new(mapping, layout, size)?;
        let (next, taken) =
            (ring.load(ring.producer, Ordering::Relaxed), ring.load(ring.consumer, Ordering::Acquire));
        Ok(Self { ring, next, published: next, taken })
    }

    /// Puts an entry in; the kernel sees it after [`Producer::publish`]. False when the ring is full.
    pub fn push(&mut self, entry: T) -> bool {
        if self.next.wrapping_sub(self.taken) >= self.ring.size {
            self.taken = self.ring.load(self.ring.consumer, Ordering::Acquire);
            if self.next.wrapping_sub(self.taken) >= self.ring.size {
                return false;
            }
        }
        let written = self.ring.mapping.write(self.ring.place(self.next), entry);
        self.next = self.next.wrapping_add(u32::from(written));
        written
    }

    /// Shows the kernel what was put in.
    pub fn publish(&mut self) {
        if self.published != self.next {
            self.published = self.next;
            self.ring.store(self.ring.producer, self.next);
        }
    }

    /// Published entries that the kernel has not taken out yet.
    pub fn waiting(&mut self) -> u32 {
        self.taken = self.ring.load(self.ring.consumer, Ordering::Acquire);
        self.published.wrapping_sub(self.taken).min(self.ring.size)
    }

    /// The kernel has to be told before it looks.
    pub fn wants_wakeup(&self) -> bool {
        self.ring.wants_wakeup()
    }
}

/// The end that takes out: of the rx and the completion ring.
#[derive(Debug)]
pub struct Consumer<T> {
    ring: Ring<T>,
    /// What has been taken out, released or not.
    next: u32,
    released: u32,
    /// The other side's count, as it was last looked at.
    put: u32,
}

#[allow(private_bounds, reason = "entries are what this module says")]
impl<T: Plain> Consumer<T> {
    pub(super) fn new(mapping: Mapping, layout: Layout, size: u32) -> io::Result<Self> {
        let ring = Ring::new(mapping, layout, size)?;
        let next = ring.load(ring.consumer, Ordering::Relaxed);
        Ok(Self { ring, next, released: next, put: next })
    }

    /// How many entries there are, looked up anew.
    pub fn available(&mut self) -> u32 {
        self.put = self.ring.load(self.ring.producer, Ordering::Acquire);
        self.known()
    }

    /// How many there were when it was last looked at.
    pub fn known(&self) -> u32 {
        let known = self.put.wrapping_sub(self.next);
        if known <= self.ring.size { known } else { 0 }
    }

    /// Takes the next entry of those known to be there; the kernel may reuse it after [`Consumer::release`].
    pub fn pop(&mut self) -> Option<T> {
        if self.known() == 0 {
            return None;
        }
        let entry = self.ring.mapping.read(self.ring.place(self.next))?;
        self.next = self.next.wrapping_add(1);
        Some(entry)
    }

    /// Gives the kernel back what was taken out. True when the ring was full until then, so that something may have been
    /// lost.
    pub fn release(&mut self) -> bool {
        if self.released == self.next {
            return false;
        }
        let put = self.ring.load(self.ring.producer, Ordering::Relaxed);
        let full = put.wrapping_sub(self.released) >= self.ring.size;
        self.released = self.next;
        self.ring.store(self.ring.consumer, self.next);
        full
    }
}

#[cfg(test)]
mod tests;
