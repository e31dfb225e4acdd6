//! Where a worker runs: on which processor, and how readily.
//!
//! Asked for by the configuration, had as far as the kernel allows: a worker that may not be pinned or preferred runs
//! all the same. Decided once, when the thread starts.

use crate::sys::scheduling::{self, Policy};

/// Where a worker runs, wanted or had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Placement {
    /// The one processor it runs on; none where the kernel moves it about.
    pub processor: Option<usize>,
    /// Its policy, where weir has set it.
    pub policy: Option<Policy>,
    /// Its niceness, where weir has set it.
    pub niceness: Option<i8>,
}

impl Placement {
    /// Brings the calling thread there; where it is now.
    pub(super) fn take_effect(self) -> Self {
        let mut had = Self::default();
        if let Some(processor) = self.processor {
            match scheduling::pin_to(processor) {
                Ok(()) => had.processor = Some(processor),
                Err(error) => tracing::warn!(processor, %error, "worker not pinned"),
            }
        }
        if let Some(policy) = self.policy {
            match scheduling::set_policy(policy) {
                Ok(()) => had.policy = Some(policy),
                Err(error) => {
                    tracing::warn!(?policy, %error, "the worker's scheduling policy stays as it was");
                }
            }
        }
        if let Some(niceness) = self.niceness {
            match scheduling::set_niceness(niceness) {
                Ok(()) => had.niceness = Some(niceness),
                Err(error) => {
                    tracing::warn!(niceness, %error, "worker not preferred (CAP_SYS_NICE is missing); under load it shares its processor evenly with whoever else runs there");
                }
            }
        }
        had
    }
}
