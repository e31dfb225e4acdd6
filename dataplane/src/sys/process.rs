//! Child processes: started in a namespace, tied to their parent's life, signalled by number.
//!
//! Each is ended by its own process id, never by name.
#![allow(unsafe_code)]

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{self, Command};

use super::netns::Netns;

/// Which signal [`signal`] sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// `SIGTERM`: end in order.
    Terminate,
    /// `SIGKILL`: end now.
    Kill,
    /// `SIGHUP`: read the configuration again.
    HangUp,
    /// `SIGSTOP`: do nothing until [`Signal::Continue`].
    Stop,
    /// `SIGCONT`: go on.
    Continue,
}

/// Makes the command run in `netns`, which must stay open until the command is spawned.
pub fn run_in(command: &mut Command, netns: &Netns) -> io::Result<()> {
    let descriptor = netns.as_fd().try_clone_to_owned()?;
    let enter = move || {
        // SAFETY: `setns` is async-signal-safe, and the closure owns the descriptor.
        let result = unsafe { libc::setns(descriptor.as_raw_fd(), libc::CLONE_NEWNET) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    // SAFETY: between fork and exec the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(enter) };
    Ok(())
}

/// Makes the kernel kill the command's process once the **thread** that spawns it ends, however it ends.
pub fn die_with_parent(command: &mut Command) {
    let parent = process::id();
    let tie = move || {
        // SAFETY: the call takes numbers only and is async-signal-safe.
        if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // The parent may have died before the call took hold.
        // SAFETY: no arguments, cannot fail, async-signal-safe.
        let now = unsafe { libc::getppid() };
        if u32::try_from(now) == Ok(parent) { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) }
    };
    // SAFETY: between fork and exec the closure makes two system calls and allocates nothing.
    unsafe { command.pre_exec(tie) };
}

/// Sends a signal to one process.
pub fn signal(pid: u32, signal: Signal) -> io::Result<()> {
    let number = match signal {
        Signal::Terminate => libc::SIGTERM,
        Signal::Kill => libc::SIGKILL,
        Signal::HangUp => libc::SIGHUP,
        Signal::Stop => libc::SIGSTOP,
        Signal::Continue => libc::SIGCONT,
    };
    // Zero and negative numbers mean groups of processes.
    let pid = i32::try_from(pid).ok().filter(|&pid| pid > 0).ok_or(io::ErrorKind::InvalidInput)?;
    // SAFETY: the call takes numbers only.
    let result = unsafe { libc::kill(pid, number) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes the calling thread give way to others from now on (`nice` 19), and so the threads it starts: for work beside
/// packets.
pub fn give_way() -> io::Result<()> {
    // Linux counts threads as processes here: 0 is the calling thread alone (sched(7)).
    // SAFETY: the call takes numbers only.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 19) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether a process of that number runs. One that has ended and only waits to be reaped does not.
pub fn is_alive(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // `pid (name) state …`, where the name may hold anything, closing brackets too.
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    !matches!(state, Some('Z' | 'X'))
}

/// The processes whose main thread is in the network namespace with that inode.
pub fn in_netns(inode: u64) -> io::Result<Vec<u32>> {
    let pids = fs::read_dir("/proc")?
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| fs::metadata(format!("/proc/{pid}/ns/net")).is_ok_and(|file| file.ino() == inode));
    Ok(pids.collect())
}

/// Whether the effective user is root.
pub fn is_root() -> bool {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::geteuid() == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_group_cannot_be_signalled_by_accident() {
        assert_eq!(signal(0, Signal::Kill).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(signal(u32::MAX, Signal::Kill).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_child_is_alive_until_it_ends_not_until_it_is_reaped() {
        let mut command = Command::new("sleep");
        command.arg("60");
        die_with_parent(&mut command);
        let mut child = command.spawn().unwrap();
        assert!(is_alive(child.id()));
        signal(child.id(), Signal::Terminate).unwrap();
        while is_alive(child.id()) {
            std::thread::yield_now();
        }
        assert!(fs::exists(format!("/proc/{}", child.id())).unwrap(), "not reaped yet");
        assert!(!child.wait().unwrap().success());
        assert!(!is_alive(child.id()));
    }
}
