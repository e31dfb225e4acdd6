//! Where and how readily a thread runs: processors, niceness. Called by each worker once, at its start.
//!
//! sched_setaffinity(2), setpriority(2). Pinning needs no privilege; a niceness below the present one needs
//! `CAP_SYS_NICE` (or `RLIMIT_NICE`). On Linux both are a thread's, whatever POSIX says of processes.
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

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_thread_may_always_be_nicer() {
        assert!(std::thread::spawn(|| set_niceness(5)).join().unwrap().is_ok());
    }
}
