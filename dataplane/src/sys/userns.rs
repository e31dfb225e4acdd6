//! A user namespace in which an ordinary user may make network namespaces, links and TAPs.
//!
//! The process becomes root of fresh user, mount and network namespaces; its own user is the only one mapped.
//! `/run` becomes a private tmpfs, since named network namespaces live there and the real one belongs to
//! the real root. Nothing of it is seen outside, and all of it ends with the last process.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::fs;
use std::io;
use std::ptr;

/// Moves the calling process into namespaces of its own, as their root.
///
/// # Errors
/// `InvalidInput` where the process already has more than one thread (the kernel moves only processes with
/// one); otherwise the kernel's reason: user namespaces may be switched off or limited
/// (`user.max_user_namespaces`, `kernel.apparmor_restrict_unprivileged_userns`, a container's seccomp filter).
pub fn enter_as_root() -> io::Result<()> {
    // SAFETY: no arguments, cannot fail.
    let user = unsafe { libc::geteuid() };
    // SAFETY: no arguments, cannot fail.
    let group = unsafe { libc::getegid() };
    let fresh = libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWNET;
    // SAFETY: the call takes numbers only; the kernel refuses it where other threads run.
    if unsafe { libc::unshare(fresh) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // An unprivileged process may map its group only once it has given up `setgroups`.
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {group} 1"))?;
    // What is mounted from here on must not propagate to the mount namespace this one was copied from.
    mount(c"none", c"/", None, libc::MS_REC | libc::MS_PRIVATE)?;
    mount(c"tmpfs", c"/run", Some(c"tmpfs"), libc::MS_NOSUID | libc::MS_NODEV)
}

fn mount(source: &CStr, target: &CStr, kind: Option<&CStr>, flags: libc::c_ulong) -> io::Result<()> {
    let kind = kind.map_or(ptr::null(), CStr::as_ptr);
    // SAFETY: NUL-terminated strings that outlive the call (or null, as mount(2) allows), no data.
    let result = unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind, flags, ptr::null()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
