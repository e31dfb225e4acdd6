//! The redirect behind a tunnel TAP: what weir writes into it leaves by the underlay's interface.
//!
//! A `clsact` qdisc with a program of [`crate::sys::bpf`] on ingress. Link, qdisc and filter go with the last
//! descriptor of the TAP.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::DefaultNla;
use netlink_packet_route::tc::{TcBpfFlags, TcFilterBpfOption, TcOption};

use super::Netlink;

const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const NAME: &[u8] = b"weir-tunnel\0";

impl Netlink {
    /// Has a program decide about everything that arrives on the link.
    ///
    /// # Errors
    /// The kernel lacks `cls_bpf` or `clsact`, or the capability is missing.
    pub fn add_ingress_program(&self, index: u32, program: BorrowedFd<'_>) -> io::Result<()> {
        self.ensure_clsact(index)?;
        let descriptor = program.as_raw_fd().to_ne_bytes().to_vec();
        let options = [
            TcFilterBpfOption::Other(DefaultNla::new(TCA_BPF_FD, descriptor)),
            TcFilterBpfOption::Other(DefaultNla::new(TCA_BPF_NAME, NAME.to_vec())),
            TcFilterBpfOption::Flags(TcBpfFlags::DirectAction),
        ];
        self.add_filter(index, "bpf", options.into_iter().map(TcOption::Bpf).collect())
    }
}
