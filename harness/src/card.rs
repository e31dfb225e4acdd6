//! What smoltcp hands frames over by, whatever device of ours stands behind it: one vector for each frame.

use std::collections::VecDeque;

use smoltcp::phy::{self, DeviceCapabilities, Medium};
use vxlan::wire::ethernet;

/// A device as smoltcp sees it: Ethernet, for IP packets of `mtu` bytes.
pub(crate) fn capabilities(mtu: usize) -> DeviceCapabilities {
    let mut capabilities = DeviceCapabilities::default();
    capabilities.medium = Medium::Ethernet;
    capabilities.max_transmission_unit = mtu.saturating_add(ethernet::HEADER_BYTES);
    capabilities
}

/// A frame for smoltcp.
pub(crate) struct Incoming(pub(crate) Vec<u8>);

impl phy::RxToken for Incoming {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

/// Who takes smoltcp's frames.
pub(crate) trait Leave {
    /// Takes one.
    fn leave(&mut self, frame: Vec<u8>);
}

impl Leave for VecDeque<Vec<u8>> {
    fn leave(&mut self, frame: Vec<u8>) {
        self.push_back(frame);
    }
}

/// A place for a frame of smoltcp's.
pub(crate) struct Outgoing<'a, L>(pub(crate) &'a mut L);

impl<L: Leave> phy::TxToken for Outgoing<'_, L> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.leave(frame);
        result
    }
}
