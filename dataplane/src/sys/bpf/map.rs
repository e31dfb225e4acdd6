//! The sockets a program redirects to, by queue (`BPF_MAP_TYPE_XSKMAP`, Linux 4.18). A socket that is closed leaves it.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::{call, call_for_descriptor};

const BPF_MAP_CREATE: libc::c_int = 0;
const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
const BPF_MAP_TYPE_XSKMAP: u32 = 17;

/// The head of `union bpf_attr` for `BPF_MAP_CREATE`; fields behind it count as zero.
#[repr(C)]
struct MapRequest {
    kind: u32,
    key_bytes: u32,
    value_bytes: u32,
    entries: u32,
}

const _: () = assert!(size_of::<MapRequest>() == 16, "no padding");

/// `union bpf_attr` for `BPF_MAP_UPDATE_ELEM`.
#[repr(C)]
struct UpdateRequest {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

const _: () = assert!(size_of::<UpdateRequest>() == 32, "no padding");

/// AF_XDP sockets by queue.
#[derive(Debug)]
pub(in crate::sys) struct SocketMap(OwnedFd);

impl SocketMap {
    /// An empty map for `queues` queues.
    pub(in crate::sys) fn new(queues: u32) -> io::Result<Self> {
        let request = MapRequest { kind: BPF_MAP_TYPE_XSKMAP, key_bytes: 4, value_bytes: 4, entries: queues };
        // SAFETY: the request holds numbers alone, and makes a descriptor.
        unsafe { call_for_descriptor(BPF_MAP_CREATE, &request) }.map(Self)
    }

    /// Has a queue's frames go to the socket.
    pub(in crate::sys) fn set(&self, queue: u32, socket: BorrowedFd<'_>) -> io::Result<()> {
        let socket = socket.as_raw_fd();
        let request = UpdateRequest {
            map: self.0.as_raw_fd().cast_unsigned(),
            padding: 0,
            key: (&raw const queue).addr() as u64,
            value: (&raw const socket).addr() as u64,
            flags: 0,
        };
        // SAFETY: the kernel reads four bytes at either address, as the map was made: a local each, alive to the end of
        // the call.
        unsafe { call(BPF_MAP_UPDATE_ELEM, &request) }.map(drop)
    }
}

impl AsFd for SocketMap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
