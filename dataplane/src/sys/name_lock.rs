//! A name in a network namespace that one process has at a time.
//!
//! It is bound as an abstract Unix socket (unix(7)): the kernel gives it to one process of the network namespace, whatever
//! directories, users and mounts the processes have, and takes it back when that ends, however it ends. Whoever is refused
//! connects to it, and the kernel says who listens there. Nobody takes these connections in: they wait, some bytes each,
//! until the holder ends; beyond `BACKLOG` the holder's number is not to be had any more.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use super::{peer, socket};

const BACKLOG: i32 = 128;

/// How long a holder may take from having the name to listening.
const PATIENCE: Duration = Duration::from_millis(200);

/// The name, as long as this lives.
#[derive(Debug)]
pub struct NameLock(#[allow(dead_code, reason = "held, not read")] OwnedFd);

/// Why the name could not be had.
#[derive(Debug)]
pub enum NameError {
    /// Another process has it: which, if the kernel says.
    Held(Option<u32>),
    /// Sockets of this kind are not to be had, or the name is too long.
    Io(io::Error),
}

impl NameLock {
    /// Takes `name` in the network namespace of the calling thread.
    ///
    /// # Errors
    /// See [`NameError`].
    pub fn take(name: &str) -> Result<Self, NameError> {
        let address = address(name);
        let open = || socket::open(libc::AF_UNIX, libc::SOCK_STREAM, 0).map_err(NameError::Io);
        let until = Instant::now() + PATIENCE;
        loop {
            let own = open()?;
            match socket::bind(own.as_fd(), &address) {
                Ok(()) => {
                    socket::listen(own.as_fd(), BACKLOG).map_err(NameError::Io)?;
                    return Ok(Self(own));
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(NameError::Io(error)),
            }
            let asking = open()?;
            match socket::connect(asking.as_fd(), &address) {
                Ok(()) => return Err(NameError::Held(peer::pid(asking.as_fd()).ok().flatten())),
                // It does not listen yet, or has just ended.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(_) => return Err(NameError::Held(None)),
            }
        }
    }
}

/// `struct sockaddr_un` of an abstract name: the family, a zero, the name.
fn address(name: &str) -> Vec<u8> {
    let mut bytes = (libc::AF_UNIX as u16).to_ne_bytes().to_vec();
    bytes.push(0);
    bytes.extend_from_slice(name.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::netns::Netns;

    fn name(of: &str) -> String {
        format!("weir-test-{}-{of}", std::process::id())
    }

    #[test]
    fn one_has_it_and_the_other_is_told_who() {
        let name = name("one");
        let held = NameLock::take(&name).expect("free");
        let Err(NameError::Held(holder)) = NameLock::take(&name) else { panic!("taken twice") };
        assert_eq!(holder, Some(std::process::id()));
        drop(held);
        assert!(NameLock::take(&name).is_ok());
    }

    #[test]
    fn of_many_at_once_one_has_it() {
        let name = name("many");
        let taken = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16).map(|_| scope.spawn(|| NameLock::take(&name))).collect();
            threads.into_iter().map(|thread| thread.join().expect("ended")).collect::<Vec<_>>()
        });
        assert_eq!(taken.iter().filter(|taken| taken.is_ok()).count(), 1);
        for refused in taken.iter().filter_map(|taken| taken.as_ref().err()) {
            assert!(
                matches!(refused, NameError::Held(Some(pid)) if *pid == std::process::id()),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn more_questions_than_wait_leave_it_held() {
        let name = name("asked");
        let _held = NameLock::take(&name).expect("free");
        for _ in 0..200 {
            assert!(matches!(NameLock::take(&name), Err(NameError::Held(_))));
        }
        assert!(matches!(NameLock::take(&name), Err(NameError::Held(None))));
    }

    #[test]
    fn another_namespace_has_names_of_its_own() {
        let name = name("elsewhere");
        let _held = NameLock::take(&name).expect("free");
        match Netns::run_in_new(|| NameLock::take(&name).is_ok()) {
            Ok(free) => assert!(free),
            Err(error) => println!("skipped: no right to make a network namespace ({error})"),
        }
    }

    #[test]
    fn a_name_that_is_too_long_is_no_lock() {
        assert!(matches!(NameLock::take(&"x".repeat(200)), Err(NameError::Io(_))));
    }
}
