//! How many frames an interface has dropped on their way out (`tx_dropped`), as `/proc/net/dev` says.
//!
//! For a TAP, whose way out is ours in, these are the frames that found its queue full: the kernel tells them nowhere else
//! (`drivers/net/tun.c`). Netlink has the same counter, behind the lock of all interfaces, which is held for as long as it
//! takes to remove a namespace; this file is read under RCU alone, so a worker may read it. It lists every interface of the
//! namespace: some microseconds for a pod's two.
//!
//! The file is that of the namespace of the thread that opened it, whichever thread reads it, and keeps that namespace, as
//! the descriptor of a TAP does too.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const FILE: &str = "/proc/thread-self/net/dev";

/// The kernel hands over a page at the most.
const PIECE: usize = 4096;

/// The counters of a namespace's interfaces.
#[derive(Debug)]
pub struct Counters(File);

impl Counters {
    /// Those of the namespace of the calling thread.
    pub fn open() -> io::Result<Self> {
        File::open(FILE).map(Self)
    }

    /// Frames that `interface` has dropped since it was made; none where there is no such interface. `text` is room to
    /// read into.
    pub fn of(&self, interface: &str, text: &mut Vec<u8>) -> io::Result<Option<u64>> {
        text.clear();
        loop {
            let length = text.len();
            text.resize(length.saturating_add(PIECE), 0);
            let count = self.0.read_at(text.get_mut(length..).unwrap_or_default(), length as u64)?;
            text.truncate(length.saturating_add(count));
            if count == 0 {
                return Ok(find(text, interface));
            }
        }
    }
}

/// `tx_dropped` of the line that begins with the interface's name.
fn find(text: &[u8], interface: &str) -> Option<u64> {
    // Eight counters of what was received; bytes, packets and errors of what was sent.
    const BEFORE: usize = 8 + 3;
    text.split(|byte| *byte == b'\n').find_map(|line| {
        let counters = line.trim_ascii_start().strip_prefix(interface.as_bytes())?.strip_prefix(b":")?;
        let word = counters.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).nth(BEFORE)?;
        std::str::from_utf8(word).ok()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
  eth0:       1       2    3    4    5     6          7         8        9      10   11   12   13    14      15         16
 eth01:18446744073709551615 2 3 4 5 6 7 8 9 10 11 18446744073709551615 13 14 15 16
";

    #[test]
    fn the_interface_of_that_very_name_is_read() {
        assert_eq!(find(TEXT, "lo"), Some(0));
        assert_eq!(find(TEXT, "eth0"), Some(12));
        assert_eq!(find(TEXT, "eth01"), Some(u64::MAX));
        for other in ["eth", "th0", "0", "", "eth2", "face |bytes"] {
            assert_eq!(find(TEXT, other), None, "{other:?}");
        }
    }

    #[test]
    fn a_text_cut_short_says_nothing_wrong() {
        for len in 0..TEXT.len() {
            assert!(find(&TEXT[..len], "lo").is_none_or(|count| count == 0), "{len}");
        }
    }

    #[test]
    fn the_running_kernel_is_understood() {
        let (counters, mut text) = (Counters::open().unwrap(), Vec::new());
        assert!(counters.of("lo", &mut text).unwrap().is_some());
        assert_eq!(counters.of("none such", &mut text).unwrap(), None);
    }
}
