//! Threads of a measurement on processors of their own, so that one run is like the next.
//!
//! Where the scheduler puts a sender and its receiver changes a round trip by a factor of two, and stays as it is for
//! seconds. `taskset` moves the calling thread, by its number; without it threads stay where the scheduler has them,
//! and [`is_possible`] says so.

use std::fs;
use std::process::{Command, Stdio};

/// Whether threads can be pinned here.
pub fn is_possible() -> bool {
    let mut command = Command::new("taskset");
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Keeps the calling thread on a processor, counted round where there are fewer. Whether that came about.
pub fn pin(number: usize) -> bool {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let number = number.checked_rem(processors).unwrap_or(0);
    // `PID/task/TID`
    let Ok(link) = fs::read_link("/proc/thread-self") else { return false };
    let Some(thread) = link.file_name().and_then(|name| name.to_str()) else { return false };
    let mut command = Command::new("taskset");
    command.args(["-c", "-p", &number.to_string(), thread]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_may_use_one_processor() {
        if !is_possible() {
            println!("skipped: there is no taskset");
            return;
        }
        std::thread::spawn(|| {
            assert!(pin(0));
            let status = fs::read_to_string("/proc/thread-self/status").unwrap();
            let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
            assert_eq!(allowed.map(str::trim), Some("0"));
        })
        .join()
        .unwrap();
    }
}
