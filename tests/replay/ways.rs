//! Other ways in and out than files: a pipe, an interface.

use dataplane::sys::netlink::Netlink;
use dataplane::sys::netns::Netns;
use serde_json::Value;

use super::support::turn;
use super::{REPLAY, count, generated, report, weir};

#[test]
fn a_capture_may_come_through_a_pipe() {
    let directory = generated(200_000);
    let directory = directory.path();
    let file = std::fs::File::open(directory.join("made.pcapng")).unwrap();
    let args = ["replay", "-", "--state", "state", "--node", "node-0", "-o", "json"];
    let output = weir(directory, &args).stdin(file).output().unwrap();
    assert!(output.status.success());
    let piped: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(piped["balance"], report(directory, &REPLAY, 0)["balance"]);
}

#[test]
fn a_capture_leaves_through_a_real_interface() {
    let Some(_turn) = turn() else { return };
    let directory = generated(100_000);
    let directory = directory.path();
    let name = format!("weir-replay-{}", std::process::id());
    let netns = Netns::create(&name).unwrap();
    let sent = netns.run(|| {
        let netlink = Netlink::open().unwrap();
        netlink.add_veth("out0", "in0", None).unwrap();
        for interface in ["out0", "in0"] {
            netlink.set_up(netlink.link(interface).unwrap().unwrap().index, true).unwrap();
        }
        report(directory, &["replay", "made.pcapng", "--to", "out0", "--loop", "2"], 0)
    });
    drop(netns);
    Netns::delete(&name).unwrap();
    let sent = sent.unwrap();
    let read = count(&sent["capture"]["read"]["packets"]);
    assert!(read > 100);
    assert_eq!((&sent["sent"], &sent["adds_up"]), (&read.into(), &true.into()));
    // The kernel's own packets (IPv6 configures itself) may be among those it counts. Its counters are those of the
    // namespace that /sys was mounted in: they are absent here.
    assert!(sent.get("interface_sent").is_none_or(|count| count.as_u64().unwrap() >= read));
}
