//! AF_XDP: frames of an interface's queue in memory shared with the kernel, and the program that picks them.
//!
//! ```text
//!                 fill ring: chunks for frames to come ─►            ─► rx ring: frames that came
//!   weir  ◄─────────────────────────────────────────────  kernel  ──────────────────────────────►  weir
//!                 tx ring: frames to be sent ─►                      ─► completion ring: chunks that were sent
//! ```
//! A [`Socket`] belongs to one queue of one interface and has [memory](Memory) of its own, cut into chunks of one size.
//! Who holds a chunk is said by the rings alone: a chunk put into the fill or the tx ring is the kernel's until it comes
//! back. [`Attachment`] is the XDP program at the interface with the sockets it redirects to; both end with their last
//! descriptor, so a killed process leaves nothing behind.
//!
//! What the kernel writes into the rings is read once and held against the bounds. Kernel:
//! `Documentation/networking/af_xdp.rst`; rings with wakeup flags from Linux 5.4, attaching by link from 5.9, frames in
//! parts from 6.6. Needs `CAP_NET_RAW`, `CAP_NET_ADMIN` and `CAP_BPF` (before 5.8 `CAP_SYS_ADMIN`), and
//! `CAP_IPC_LOCK` or a limit of locked memory that has room for the chunks.

mod attachment;
mod channels;
mod features;
mod memory;
mod program;
mod ring;
mod socket;

pub use attachment::{Attachment, try_program};
pub use channels::{Channels, channels};
pub use features::{FeatureList, Features};
pub use memory::Memory;
pub use ring::{Consumer, Descriptor, Producer};
pub use socket::{Binding, Rings, Socket, Statistics};

pub use super::bpf::XdpMode;
