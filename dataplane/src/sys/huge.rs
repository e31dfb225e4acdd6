//! Large tables in huge pages (mmap(2), madvise(2)): zeros at first, real memory as it is touched.
//!
//! A table of a hundred megabytes that is read in no order misses the processor's page translations (TLB) with nearly
//! every read, and in a virtual machine each of those misses reads a handful of tables more. In pages of 2 MiB all
//! of it is a few dozen translations, which stay. Asked for is transparent huge pages: where the kernel has none to
//! give, or forbids them (`/sys/kernel/mm/transparent_hugepage/enabled`), pages of the usual size do the same, slower.
//! Slices of less than a huge page are never put into one.
//!
//! A worker calls nothing here but [`HugeSlice::prefetch`]; that a page is given at the first touch is between it and
//! the kernel, as with any memory.

#![allow(unsafe_code)]

use std::alloc::{Layout, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// Bytes of a huge page on every architecture that weir is built for, with base pages of 4 KiB.
pub const HUGE_PAGE: usize = 2 << 20;
/// Most that a mapping is aligned to by itself.
const BASE_PAGE: usize = 4096;

/// Types of which memory full of zeros holds a value, and which want no drop.
///
/// # Safety
/// All-zero bytes are a valid value of the type.
pub unsafe trait Zeroed {}

// SAFETY: an integer.
unsafe impl Zeroed for u64 {}
// SAFETY: an integer.
unsafe impl Zeroed for AtomicU32 {}
// SAFETY: an integer.
unsafe impl Zeroed for AtomicU64 {}
// SAFETY: an array of zeros is one of elements of zeros.
unsafe impl<T: Zeroed, const N: usize> Zeroed for [T; N] {}

/// A slice that begins as zeros.
pub struct HugeSlice<T> {
    elements: NonNull<T>,
    len: usize,
    /// What was mapped, which may begin before the elements; none for an empty slice.
    mapped: Option<(NonNull<libc::c_void>, usize)>,
}

// SAFETY: it owns its elements as a `Box<[T]>` does.
unsafe impl<T: Send> Send for HugeSlice<T> {}
// SAFETY: as above; sharing it shares the elements.
unsafe impl<T: Sync> Sync for HugeSlice<T> {}

impl<T: Zeroed> HugeSlice<T> {
    /// `len` elements of zeros. Ends the process as any allocation does where there is no room for them.
    pub fn new(len: usize) -> Self {
        const { assert!(align_of::<T>() <= BASE_PAGE && !std::mem::needs_drop::<T>()) };
        let bytes = len.saturating_mul(size_of::<T>());
        if bytes == 0 {
            return Self { elements: NonNull::dangling(), len: 0, mapped: None };
        }
        // Huge pages begin at multiples of their size: room to begin at one.
        let spare = if bytes < HUGE_PAGE { 0 } else { HUGE_PAGE - BASE_PAGE };
        let mapped_bytes = bytes.saturating_add(spare);
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: an anonymous mapping at no given address touches no memory that is in use.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), mapped_bytes, protection, flags, -1, 0) };
        let given = NonNull::new(start).filter(|_| start != libc::MAP_FAILED);
        let Some(mapped) = given else {
            handle_alloc_error(Layout::array::<T>(len).unwrap_or(Layout::new::<T>()));
        };
        // Below `spare` bytes: the address is a multiple of the base page.
        let skip = if spare == 0 { 0 } else { mapped.as_ptr().addr().wrapping_neg() % HUGE_PAGE };
        // SAFETY: `skip + bytes` is at most `mapped_bytes`.
        let elements = unsafe { mapped.byte_add(skip) };
        if spare > 0 {
            // SAFETY: advice about memory of this mapping; it changes no content. A kernel that does not take it is no
            // harm.
            unsafe { libc::madvise(elements.as_ptr(), bytes, libc::MADV_HUGEPAGE) };
        }
        Self { elements: elements.cast(), len, mapped: Some((mapped, mapped_bytes)) }
    }
}

impl<T> HugeSlice<T> {
    /// Has the line at the beginning of an element brought into the cache, without waiting for it; does nothing where
    /// there is no such element.
    #[inline]
    pub fn prefetch(&self, index: usize) {
        if let Some(element) = self.get(index) {
            prefetch(element);
        }
    }
}

/// Asks for huge pages for the memory of an empty vector, which is to grow to its capacity.
pub fn advise<T>(vector: &Vec<T>) {
    let (start, bytes) = (vector.as_ptr().addr(), vector.capacity().saturating_mul(size_of::<T>()));
    let (first, end) = (start.next_multiple_of(BASE_PAGE), (start + bytes) / BASE_PAGE * BASE_PAGE);
    if bytes < HUGE_PAGE || first >= end {
        return;
    }
    let first = vector.as_ptr().with_addr(first).cast_mut();
    // SAFETY: advice about pages that belong to the vector as a whole; it changes no content. A kernel that does not
    // take it is no harm.
    unsafe { libc::madvise(first.cast(), end - first.addr(), libc::MADV_HUGEPAGE) };
}

/// Has the line at `at` brought into the cache, without waiting for it.
#[inline]
pub fn prefetch<T>(at: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint about a valid address; SSE belongs to the architecture.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(at).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

impl<T> Deref for HugeSlice<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: so many elements, aligned (the mapping is, to a page), valid since zeros are (`Zeroed`), and ours.
        unsafe { std::slice::from_raw_parts(self.elements.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for HugeSlice<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as for `deref`, borrowed by nobody else.
        unsafe { std::slice::from_raw_parts_mut(self.elements.as_ptr(), self.len) }
    }
}

impl<T> Drop for HugeSlice<T> {
    fn drop(&mut self) {
        if let Some((start, bytes)) = self.mapped {
            // SAFETY: the whole of a mapping that nobody else knows; its elements want no drop.
            unsafe { libc::munmap(start.as_ptr(), bytes) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn slices_of_all_sizes_begin_as_zeros_and_keep_what_is_written() {
        for len in [0, 1, 511, HUGE_PAGE / 8 - 1, HUGE_PAGE / 8, 3 * HUGE_PAGE / 8 + 1] {
            let mut slice: HugeSlice<u64> = HugeSlice::new(len);
            assert_eq!(slice.len(), len);
            assert!(slice.iter().all(|word| *word == 0));
            slice.iter_mut().enumerate().for_each(|(place, word)| *word = place as u64);
            assert!(slice.iter().enumerate().all(|(place, word)| *word == place as u64), "{len}");
            slice.prefetch(0);
            slice.prefetch(len);
        }
    }

    #[test]
    fn large_slices_begin_where_a_huge_page_may() {
        let slice: HugeSlice<AtomicU64> = HugeSlice::new(HUGE_PAGE);
        assert!(slice.as_ptr().addr().is_multiple_of(HUGE_PAGE));
    }

    #[test]
    fn advice_changes_no_vector() {
        for capacity in [0, 8, HUGE_PAGE] {
            let mut vector: Vec<u64> = Vec::with_capacity(capacity);
            advise(&vector);
            vector.extend(0..capacity as u64);
            assert!(vector.iter().enumerate().all(|(place, word)| *word == place as u64));
        }
    }

    #[test]
    fn threads_share_a_slice() {
        let slice: HugeSlice<AtomicU32> = HugeSlice::new(64);
        std::thread::scope(|scope| {
            for part in 0..2 {
                let slice = &slice;
                scope.spawn(move || {
                    slice.iter().skip(part).step_by(2).for_each(|word| word.store(7, Ordering::Relaxed));
                });
            }
        });
        assert!(slice.iter().all(|word| word.load(Ordering::Relaxed) == 7));
    }
}
