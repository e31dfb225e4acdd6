//! Ctrl-C: long work ends in good order, and says what it has.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Exit code of what was interrupted, as shells have it: 128 and the signal.
pub(super) const INTERRUPTED: u8 = 130;

/// The first signal ends the work in good order, a second one the process.
pub(super) fn interruptible() -> io::Result<Arc<AtomicBool>> {
    let interrupt = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag unset and sets it, a second one ends the process.
        flag::register_conditional_shutdown(signal, INTERRUPTED.into(), Arc::clone(&interrupt))?;
        flag::register(signal, Arc::clone(&interrupt))?;
    }
    Ok(interrupt)
}
