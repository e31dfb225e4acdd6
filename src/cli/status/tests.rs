//! What `weir status` prints, as a snapshot: people and scripts read it.

use super::{duration, for_people};
use dataplane::control::Status;

fn example() -> Status {
    serde_json::from_str(
        r#"{
        "version": "0.1.0", "node": "node-a", "uptime_seconds": 11527,
        "state": {"generation": 7, "status": "degraded", "problems": ["policies.yaml:3:5: broken"],
                  "skipped": {"Service": 2}},
        "pods": [
          {"name": "shop/frontend", "addresses": ["10.244.1.2", "fd00:10:244:1::2"], "port": "eth0",
           "attachment": "attached", "mac": "02:00:5e:00:53:01"},
          {"name": "shop/backend", "addresses": ["10.244.1.3"], "port": "veth1",
           "attachment": "waiting for interface", "reason": "no interface veth1"},
          {"name": "shop/late", "addresses": ["10.244.1.4"]}],
        "waiting": ["shop/new: no address yet"],
        "peers": [{"node": "node-b", "underlay": ["192.0.2.2", "2001:db8::2"], "mac": "02:00:5e:00:53:0b",
                   "pod_cidrs": ["10.244.2.0/24"], "state": "reachable"}],
        "ports": [{"name": "eth0", "kind": "tap", "rx_packets": 10, "rx_bytes": 1000, "tx_packets": 9,
                   "tx_bytes": 900, "rx_lost": 0, "tx_failed": 1}],
        "workers": [{"name": "weir-worker-0", "processor": 0, "niceness": -10, "received": 15, "forwarded": 11,
                     "dropped": 3, "batches": 4, "sleeps": 2, "flow_hits": 9, "flow_misses": 6},
                    {"name": "weir-worker-1", "received": 5, "forwarded": 4}],
        "packets": {"received": 20, "forwarded": 15, "answered": 2, "dropped": 3, "icmp_errors": 1, "vxlan_reserved": 0},
        "drops": {"policy_deny": 3},
        "denials": [{"direction": "ingress", "src": "shop/intruder", "dst": "shop/backend", "packets": 3,
                     "rule": "default deny: isolated by NetworkPolicy shop/\u001b[31mdefault-deny",
                     "policies": ["shop/default-deny"]}],
        "connections": {"entries": 4, "max": 262144},
        "flow_cache": {"hits": 9, "misses": 11},
        "gateway": {"interface": "weir0", "mac": "02:00:5e:00:53:0a", "addresses": ["10.244.1.1/24"], "mtu": 1450},
        "underlay": {"kind": "udp", "addresses": ["192.0.2.1"], "port": 8472, "vni": 1, "mtu": 1500}
        }"#,
    )
    .unwrap()
}

#[test]
fn the_status_for_people() {
    insta::assert_snapshot!(for_people(&example()));
}

#[test]
fn the_status_as_yaml() {
    insta::assert_snapshot!(crate::cli::yaml::to_string(&example()).unwrap());
}

#[test]
fn the_status_before_the_first_generation() {
    insta::assert_snapshot!(for_people(&Status { node: "node-a".into(), ..Status::default() }));
}

#[test]
fn durations_show_their_two_largest_units() {
    assert_eq!([0, 59, 60, 11527, 90061].map(duration), ["0s", "59s", "1m 0s", "3h 12m", "1d 1h"]);
}
