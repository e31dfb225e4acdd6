//! Where and how readily a thread runs: processors, policy, niceness. Called by each worker once, at its start.
//!
//! sched_setaffinity(2), sched_setscheduler(2), setpriority(2). Pinning and policies need no privilege; a niceness below the
//! present one needs `CAP_SYS_NICE` (or `RLIMIT_NICE`). On Linux all are a thread's, whatever POSIX says of processes.
#![allow(unsafe_code)]

use std::io;

/// Words of a processor mask: 8,192 processors, the most any Linux build has.
const WORDS: usize = 128;
const BYTES: usize = WORDS * size_of::<u64>();

/// The processors the calling thread may run on, by number.
pub fn allowed_processors() -> io::Result<Vec<usize>> {
    let mut mask = [0_u64; WORDS];
    // SAFETY: the kernel writes at most `BYTES` bytes to `mask`, which is that long and lives to the end of the call.
    check(unsafe { libc::sched_getaffinity(0, BYTES, mask.as_mut_ptr().cast()) })?;
    let is_set = |number: &usize| mask.get(number / 64).is_some_and(|word| word & (1 << (number % 64)) != 0);
    Ok((0..WORDS * 64).filter(is_set).collect())
}

/// How many processors the machine has in use, whoever may run on them.
pub fn online_processors() -> usize {
    // SAFETY: the call takes a number only.
    let count = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    usize::try_from(count).unwrap_or(0).max(1)
}

/// Makes the calling thread run on `processor` alone.
pub fn pin_to(processor: usize) -> io::Result<()> {
    let mut mask = [0_u64; WORDS];
    let Some(word) = mask.get_mut(processor / 64) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    *word = 1 << (processor % 64);
    // SAFETY: the kernel reads `BYTES` bytes of `mask`, which is that long and lives to the end of the call.
    check(unsafe { libc::sched_setaffinity(0, BYTES, mask.as_ptr().cast()) })
}

/// Sets the niceness of the calling thread: -20 runs most readily, 0 is everybody's.
pub fn set_niceness(niceness: i8) -> io::Result<()> {
    // SAFETY: the call takes numbers only; 0 is the calling thread.
    check(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, niceness.into()) })
}

/// Which threads yield to which ([sched(7)](https://man7.org/linux/man-pages/man7/sched.7.html)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// `SCHED_OTHER`, everybody's: a thread that wakes may run before the one that is running.
    Other,
    /// `SCHED_BATCH`: a thread that wakes waits until the one that is running sleeps or has used up its slice.
    Batch,
}

/// Sets the policy of the calling thread; its niceness stays.
pub fn set_policy(policy: Policy) -> io::Result<()> {
    let policy = match policy {
        Policy::Other => libc::SCHED_OTHER,
        Policy::Batch => libc::SCHED_BATCH,
    };
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the kernel reads one `sched_param`, which lives to the end of the call; 0 is the calling thread.
    check(unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_processors_are_allowed_than_are_in_use() {
        assert!(allowed_processors().unwrap().len() <= online_processors());
    }

    #[test]
    fn a_pinned_thread_may_run_nowhere_else() {
        let allowed = allowed_processors().unwrap();
        let last = *allowed.last().unwrap();
        let pinned = std::thread::spawn(move || {
            pin_to(last)?;
            allowed_processors()
        });
        assert_eq!(pinned.join().unwrap().unwrap(), [last]);
        assert_eq!(allowed_processors().unwrap(), allowed, "other threads run where they did");
    }

    #[test]
    fn a_processor_that_is_not_there_is_refused() {
        assert!(pin_to(WORDS * 64).is_err());
        assert!(pin_to(WORDS * 64 - 1).is_err());
    }

    #[test]
    fn a_thread_may_change_its_policy_there_and_back() {
        let changed = std::thread::spawn(|| {
            set_policy(Policy::Batch)?;
            // SAFETY: the call takes a number only; 0 is the calling thread.
            let had = unsafe { libc::sched_getscheduler(0) };
            set_policy(Policy::Other).map(|()| had)
        });
        assert_eq!(changed.join().unwrap().unwrap(), libc::SCHED_BATCH);
    }

    #[test]
    fn a_thread_may_always_be_nicer() {
        assert!(std::thread::spawn(|| set_niceness(5)).join().unwrap().is_ok());
    }
}
