//! Threads of a measurement on processors of their own, so that one run is like the next.
//!
//! Where the scheduler puts a sender and its receiver changes a round trip by a factor of two, and stays as it is for
//! seconds. Pinning needs no privilege.

use dataplane::sys::scheduling;

/// Keeps the calling thread on a processor: the so many-th of those it may use, counted round where there are fewer.
/// Whether that came about.
pub fn pin(number: usize) -> bool {
    let Ok(allowed) = scheduling::allowed_processors() else { return false };
    let chosen = number.checked_rem(allowed.len()).and_then(|at| allowed.get(at));
    chosen.is_some_and(|&processor| scheduling::pin_to(processor).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_may_use_one_processor() {
        let allowed = scheduling::allowed_processors().unwrap();
        let pinned = std::thread::spawn(move || {
            assert!(pin(allowed.len()), "counted round");
            scheduling::allowed_processors().unwrap()
        });
        assert_eq!(pinned.join().unwrap().len(), 1);
    }
}
