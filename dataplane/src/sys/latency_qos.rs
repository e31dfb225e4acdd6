//! How long a processor may take to wake: the kernel's CPU latency QoS.
//!
//! A processor without work goes into an idle state, in a virtual machine out of the machine altogether, and comes back
//! microseconds to tens of them after it is called. Whoever holds `/dev/cpu_dma_latency` bounds that, for all
//! processors. At 0 a processor without work waits for some in a loop of the kernel's own: idle time in every account,
//! which gives way to any thread of any control group at once. The bound ends with the descriptor, and so with a
//! process that is killed.
//!
//! Documentation/power/pm_qos_interface.rst. The device is root's.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

const DEVICE: &str = "/dev/cpu_dma_latency";
/// `PM_QOS_DEFAULT_VALUE` of `linux/pm_qos.h`: no bound.
const UNBOUNDED: i32 = -1;

/// A bound on all processors, not set yet. It ends when this is dropped.
#[derive(Debug)]
pub struct LatencyQos(File);

impl LatencyQos {
    /// Opens the kernel's device.
    ///
    /// # Errors
    /// `NotFound` where the kernel or the container has none, `PermissionDenied` to who is not root.
    pub fn open() -> io::Result<Self> {
        Self::open_at(DEVICE.as_ref())
    }

    /// The same with another file in its place.
    pub(crate) fn open_at(path: &Path) -> io::Result<Self> {
        File::options().write(true).open(path).map(Self)
    }

    /// Bounds the time to wake, to the microsecond, or lets go.
    ///
    /// # Errors
    /// The kernel takes no such bound.
    pub fn bound(&self, latency: Option<Duration>) -> io::Result<()> {
        let bound =
            latency.map_or(UNBOUNDED, |latency| i32::try_from(latency.as_micros()).unwrap_or(i32::MAX));
        // Four bytes in one write are a number; more would be text.
        (&self.0).write_all(&bound.to_ne_bytes())
    }
}
