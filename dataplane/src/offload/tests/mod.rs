//! Offload held against packets that smoltcp builds one by one: the slow and obvious way to segment is to
//! build each segment from nothing.

mod build;
mod classify;
mod coalesce;
mod fragment;
mod segment;
