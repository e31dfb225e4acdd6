//! The defaults of the configuration, in one place.

use super::byte_size::ByteSize;
use super::checked::{LogFormat, LogLevel, OnInvalid, Segmentation, UnderlayKind};
use super::located::Located;
use super::workers::WorkerCount;

/// Entries of the connection table.
pub(super) const MAX_ENTRIES: u64 = 262_144;
/// Share of the connection table that one pod may use up: one in so many.
pub(super) const POD_QUOTA_SHARE: u32 = 4;
/// Niceness of the workers: everybody's. One that runs at once for each packet finds no second one (docs/decisions/0022).
pub(super) const NICENESS: i64 = 0;
/// Where the control socket is, for daemon and clients.
pub(super) const SOCKET: &str = "/run/weir/weir.sock";

pub(super) fn state_directory() -> Located<String> {
    "/etc/weir/state".to_owned().into()
}

pub(super) fn on_invalid() -> OnInvalid {
    OnInvalid::Refuse
}

pub(super) fn underlay_kind() -> UnderlayKind {
    UnderlayKind::Udp
}

pub(super) fn port() -> Located<u64> {
    8472.into()
}

pub(super) fn vni() -> Located<u64> {
    1.into()
}

pub(super) fn checksum() -> bool {
    true
}

pub(super) fn segmentation() -> Segmentation {
    Segmentation::Auto
}

pub(super) fn source_ports() -> Located<u64> {
    16.into()
}

pub(super) fn ring() -> Located<bool> {
    false.into()
}

pub(super) fn transmit_ring() -> bool {
    true
}

pub(super) fn gateway_interface() -> Located<String> {
    "weir0".to_owned().into()
}

pub(super) fn socket() -> Located<String> {
    SOCKET.to_owned().into()
}

pub(super) fn workers() -> Located<WorkerCount> {
    WorkerCount::Auto.into()
}

pub(super) fn pin() -> bool {
    true
}

pub(super) fn niceness() -> Located<i64> {
    NICENESS.into()
}

pub(super) fn max_entries() -> Located<u64> {
    MAX_ENTRIES.into()
}

pub(super) fn compile_memory() -> Located<ByteSize> {
    ByteSize(256 << 20).into()
}

pub(super) fn log_level() -> LogLevel {
    LogLevel::Info
}

pub(super) fn log_format() -> LogFormat {
    LogFormat::Auto
}
