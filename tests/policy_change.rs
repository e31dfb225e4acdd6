//! A policy that is removed while a TCP transfer runs cuts it within one second; added again, it lets a new
//! connection through.

mod support;

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use harness::lab::cluster_state::POLICIES;
use harness::lab::plan::{Family, Side};
use harness::lab::{Attach, End, Lab, NodeKind};
use harness::traffic::servers::Request;
use harness::traffic::tcp;
use support::{build, drops, lab, must, turn_alone, wait_until};

const ALLOWING: &str = "policy-frontend-to-backend.yaml";

/// A connection that sends as much as it takes.
struct Bulk {
    stream: TcpStream,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Bulk {
    fn start(src: &End, to: SocketAddr) -> Self {
        let mut stream = tcp::connect(&src.netns, to, Duration::from_secs(3)).unwrap();
        stream.write_all(&[Request::Discard as u8]).unwrap();
        let (mut writer, sent) = (stream.try_clone().unwrap(), Arc::new(AtomicU64::new(0)));
        let count = Arc::clone(&sent);
        let thread = std::thread::spawn(move || {
            let chunk = [0x77; 16 * 1024];
            while let Ok(written) = writer.write(&chunk) {
                count.fetch_add(written as u64, Ordering::SeqCst);
            }
        });
        Self { stream, sent, thread: Some(thread) }
    }
}

/// When anything last moved, once that is a while ago; none if something still moves after `timeout`.
fn wait_until_still(moved: impl Fn() -> [u64; 2], timeout: Duration) -> Option<Instant> {
    const QUIET: Duration = Duration::from_millis(500);
    let start = Instant::now();
    let mut last = (moved(), start);
    while start.elapsed() < timeout {
        std::thread::sleep(Duration::from_millis(2));
        let now = moved();
        if now != last.0 {
            last = (now, Instant::now());
        } else if last.1.elapsed() > QUIET {
            return Some(last.1);
        }
    }
    None
}

impl Drop for Bulk {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn removal_cuts_and_return_opens(lab: &Lab, src: &str, dst: &str, family: Family) {
    let (src, dst) = (must(lab.pod(src)), must(lab.pod(dst)));
    let to = SocketAddr::new(dst.address(family), 8080);
    let pair = format!("{} -> {} ({to})", src.name, dst.name);
    let bulk = Bulk::start(src, to);
    let echo = tcp::EchoFlow::start(&src.netns, to, Duration::from_millis(1)).unwrap();
    wait_until("both transfers to run", Duration::from_secs(3), || {
        bulk.sent.load(Ordering::SeqCst) > 8 << 20 && echo.returned() > 20
    });
    let revoked = drops(lab, Side::A, "policy_revoked");

    let removed = Instant::now();
    lab.state().remove(ALLOWING).unwrap();
    let moved = || [bulk.sent.load(Ordering::SeqCst), echo.returned()];
    let cut = wait_until_still(moved, Duration::from_secs(4)).unwrap_or_else(|| panic!("{pair}: not cut"));
    let cut = cut.saturating_duration_since(removed);
    println!("{pair}: cut {cut:?} after the policy was removed");
    assert!(cut < Duration::from_secs(1), "{pair}: cut after {cut:?}");
    assert!(drops(lab, Side::A, "policy_revoked") > revoked, "{pair}: not counted as revoked");
    let refused = tcp::probe(&src.netns, to, Duration::from_millis(700)).unwrap();
    assert!(!refused.is_open(), "{pair}: a new connection passes without a policy");

    let (_, text) = POLICIES.iter().find(|(name, _)| *name == ALLOWING).unwrap();
    let added = Instant::now();
    lab.state().write(ALLOWING, text).unwrap();
    wait_until("a new connection to pass", Duration::from_secs(2), || {
        tcp::probe(&src.netns, to, Duration::from_millis(200)).unwrap().is_open()
    });
    let opened = added.elapsed();
    println!("{pair}: a new connection passed {opened:?} after the policy was back");
    assert!(opened < Duration::from_secs(1), "{pair}: open after {opened:?}");
}

fn a_running_transfer_follows_its_policy(attach: Attach) {
    let Some(_turn) = turn_alone() else { return };
    let lab = build(lab().nodes([NodeKind::Weir, NodeKind::Kernel]).attach(attach));
    for family in Family::ALL {
        removal_cuts_and_return_opens(&lab, "shop/frontend", "shop/backend", family);
        removal_cuts_and_return_opens(&lab, "shop/frontend", "shop/backend-2", family);
    }
    // From the other node, whose kernel enforces nothing.
    removal_cuts_and_return_opens(&lab, "shop/frontend-2", "shop/backend-2", Family::V4);
    support::assert_books_balance(&lab, Side::A);
}

#[test]
fn a_running_transfer_follows_its_policy_through_taps() {
    a_running_transfer_follows_its_policy(Attach::Tap);
}

#[test]
fn a_running_transfer_follows_its_policy_through_veths() {
    a_running_transfer_follows_its_policy(Attach::Veth);
}
