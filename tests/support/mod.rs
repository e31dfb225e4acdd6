//! What the end-to-end tests share: the right to build labs, labs around the `weir` under test, waiting, and the
//! books that have to balance.
//!
//! A test begins with [`turn`] or [`turn_alone`]. Where network namespaces may not be made, the test runs again in
//! a user namespace of its own; where that may not be had either, it says what is missing and passes, but for
//! `CI=true`, where it fails. Labs share two cores: what measures time or loss runs alone.
#![allow(dead_code, reason = "each test binary uses its own part of this")]

pub(crate) mod capture;
pub(crate) mod features;
pub(crate) mod sockets;
pub(crate) mod wire;

use std::fs::File;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use dataplane::control::{StateStatus, Status};
use dataplane::sys::{netns::Netns, process};
use harness::lab::plan::Side;
use harness::lab::{End, Lab, LabBuilder, LabError, userns};

/// The program under test.
pub(crate) const WEIR: &str = env!("CARGO_BIN_EXE_weir");

/// Set in a test that runs in a user namespace already.
const INSIDE: &str = "WEIR_TEST_IN_USER_NAMESPACE";

/// Held by a test while it uses the machine.
pub(crate) struct Turn(#[allow(dead_code, reason = "held, not read")] File);

/// The right to build a lab beside others; none where this test is done (elsewhere, or skipped).
pub(crate) fn turn() -> Option<Turn> {
    is_permitted().then(|| {
        let file = turnstile();
        file.lock_shared().unwrap();
        Turn(file)
    })
}

/// The same, with no other lab up.
pub(crate) fn turn_alone() -> Option<Turn> {
    is_permitted().then(|| {
        let file = turnstile();
        file.lock().unwrap();
        Turn(file)
    })
}

fn turnstile() -> File {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("labs.lock");
    File::options().create(true).append(true).open(path).unwrap()
}

fn is_permitted() -> bool {
    let name = format!("weir-test-{}-{:?}", std::process::id(), std::thread::current().id());
    let name = name.replace(['(', ')'], "-");
    let made = Netns::create(&name).and_then(|_| Netns::delete(&name));
    let missing = match (made, userns::check_tun()) {
        (Ok(()), Ok(())) => return true,
        (Ok(()), Err(error)) => error.to_string(),
        (Err(error), _) => match in_user_namespace() {
            Some(output) => {
                assert!(output.status.success(), "{}", text(&output));
                println!("in a user namespace of its own:\n{}", text(&output));
                return false;
            }
            None => format!("no right to make network namespaces ({error}), nor user namespaces"),
        },
    };
    assert!(std::env::var("CI").as_deref() != Ok("true"), "under CI this may not be skipped: {missing}");
    println!("skipped: {missing}");
    false
}

/// Runs the calling thread's test in a fresh user namespace, if one can be had.
fn in_user_namespace() -> Option<Output> {
    let may = |arguments: &[&str]| Command::new("unshare").args(arguments).stderr(Stdio::null()).status();
    let enter = ["--user", "--map-root-user", "--net", "--mount"];
    if std::env::var_os(INSIDE).is_some() || process::is_root() {
        return None;
    }
    may(&[&enter[..], &["true"]].concat()).ok().filter(std::process::ExitStatus::success)?;
    let test = std::thread::current().name()?.to_owned();
    Command::new("unshare")
        .args(enter)
        .args(["sh", "-c", "mount -t tmpfs tmpfs /run && exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().ok()?)
        .args(["--exact", &test, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .ok()
}

/// A lab with the program under test.
pub(crate) fn lab() -> LabBuilder {
    Lab::builder().binary(Path::new(WEIR))
}

/// Builds it, or says why not.
pub(crate) fn build(builder: LabBuilder) -> Lab {
    builder.build().unwrap_or_else(|error| panic!("{error}"))
}

/// The value, or the error as people read it.
pub(crate) fn must<T>(outcome: Result<T, LabError>) -> T {
    outcome.unwrap_or_else(|error| panic!("{error}"))
}

/// Runs the program under test to its end.
pub(crate) fn weir(arguments: &[&str]) -> Output {
    Command::new(WEIR).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// All that a program said.
pub(crate) fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Waits until the condition holds, and says how long that took.
pub(crate) fn wait_until(what: &str, timeout: Duration, mut condition: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < timeout, "waited {timeout:?} for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
    start.elapsed()
}

/// A node's status.
pub(crate) fn status(lab: &Lab, side: Side) -> Status {
    must(lab.status(side))
}

/// Waits until every weir on a raw underlay knows its next hops; others have none to know.
pub(crate) fn wait_for_next_hops(lab: &Lab) {
    for side in Side::ALL.into_iter().filter(|side| lab.weir(*side).is_some()) {
        let known = |status: &Status| !status.peers.iter().any(|peer| peer.state.starts_with("unresolved"));
        must(lab.wait_for(side, Duration::from_secs(5), "next hops", known));
    }
}

/// Waits until no TCP connection of these pods has anything to say any more. What is left of one when weir ends, a FIN
/// to be repeated, fits no connection of the next weir (decision 0011) and would stand among its drops.
pub(crate) fn wait_until_closed(pods: &[&End]) {
    for pod in pods {
        let closed = || sockets::unfinished(&pod.netns).unwrap().is_empty();
        wait_until(&format!("the connections of {} to be over", pod.name), Duration::from_secs(10), closed);
    }
}

/// Packets dropped for that reason so far.
pub(crate) fn drops(lab: &Lab, side: Side, reason: &str) -> u64 {
    status(lab, side).drops.get(reason).copied().unwrap_or(0)
}

/// Waits until what is in the state directory is in force.
pub(crate) fn wait_for_state(lab: &Lab, side: Side, wanted: StateStatus) -> Status {
    must(lab.wait_for(side, Duration::from_secs(5), &format!("state {wanted:?}"), |status| {
        status.state.status == wanted
    }))
}

/// Every received packet was forwarded, answered or dropped for a reason. The books are closed once a batch is
/// through, so a difference has a second to go away.
pub(crate) fn assert_books_balance(lab: &Lab, side: Side) {
    let balanced = |status: &Status| {
        let packets = status.packets;
        let by_reason: u64 = status.drops.values().sum();
        packets.received == packets.forwarded + packets.answered + packets.dropped
            && packets.dropped == by_reason
    };
    let what = "received = forwarded + answered + dropped";
    if let Err(error) = lab.wait_for(side, Duration::from_secs(2), what, balanced) {
        let status = status(lab, side);
        panic!("{error}\n{:?}\n{:?}", status.packets, status.drops);
    }
}
