//! The TCP connections of a namespace, as its `/proc/net/tcp` and `/proc/net/tcp6` have them.

use std::io;

use dataplane::sys::netns::Netns;

/// `TCP_TIME_WAIT` and `TCP_LISTEN` of include/net/tcp_states.h: sockets that begin nothing.
const SILENT: [&str; 2] = ["06", "0A"];

/// Lines of those that may still send something of their own accord.
pub(crate) fn unfinished(netns: &Netns) -> io::Result<Vec<String>> {
    // The thread's own view: `/proc/net` is that of the process.
    let tables = netns.run(|| {
        ["tcp", "tcp6"].map(|name| std::fs::read_to_string(format!("/proc/thread-self/net/{name}")))
    })?;
    let mut lines = Vec::new();
    for table in tables {
        lines.extend(table?.lines().skip(1).filter(|line| is_unfinished(line)).map(str::to_owned));
    }
    Ok(lines)
}

fn is_unfinished(line: &str) -> bool {
    line.split_whitespace().nth(3).is_none_or(|state| !SILENT.contains(&state))
}
