//! `weir load` and `weir bench rfc2544` on weir itself: a running node with two pods, which the tester plays.
//!
//! ```text
//!  tester ── near  ═ veth ═ one ── shop/client ─┐
//!  tester ── far   ═ veth ═ two ── shop/server ─┤ weir run      two network namespaces
//!  tester ── under ═ veth ═ eth0 ─── underlay ──┘
//! ```
//! The server takes L4 ports 8000 to 8099 and no other. Figures are not judged here, sums are.

mod support;

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use dataplane::control::{self, Reply, Request, Status};
use dataplane::sys::netlink::Netlink;
use dataplane::sys::netns::Netns;
use dataplane::sys::process::{self, Signal, signal};
use harness::manifest::{Node, Pod};
use harness::report::directory;
use serde_json::Value;
use support::{WEIR, text, turn_alone, wait_until, weir};
use vxlan::Mac;

const POLICY: &str = "---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: server, namespace: shop}
spec:
  podSelector: {matchLabels: {app: server}}
  policyTypes: [Ingress]
  ingress: [{ports: [{port: 8000, endPort: 8099}, {port: 8000, endPort: 8099, protocol: UDP}]}]
";

fn state() -> String {
    let node = |name, cidr, number, mac| {
        Node::new(name).pod_cidr(cidr).vtep([192, 0, 2, number], Mac([2, 0, 0, 0, 0, mac]))
    };
    let pod = |name, host| Pod::new("shop", name, "node-a").label("app", name).address([10, 244, 1, host]);
    format!(
        "{}{}{}{}{POLICY}",
        node("node-a", "10.244.1.0/24", 1, 0x0a),
        node("node-b", "10.244.2.0/24", 2, 0x0b),
        pod("client", 2),
        pod("server", 3),
    )
}

const GATEWAY_MAC: &str = "02:00:5e:00:53:01";

/// The node, its weir, and the tester; gone when dropped.
struct Device {
    names: [String; 2],
    tester: Netns,
    /// MAC of the underlay interface.
    underlay_mac: String,
    weir: Child,
    directory: tempfile::TempDir,
}

impl Device {
    fn build() -> Self {
        let names = ["tester", "node"].map(|part| format!("weir-load-{}-{part}", std::process::id()));
        let [tester, node] = [0, 1].map(|place: usize| Netns::create(&names[place]).unwrap());
        let mac = node.run(|| {
            let netlink = Netlink::open().unwrap();
            for (own, other) in [("one", "near"), ("two", "far"), ("eth0", "under")] {
                netlink.add_veth(own, other, Some(&tester)).unwrap();
                netlink.set_up(netlink.link(own).unwrap().unwrap().index, true).unwrap();
            }
            let eth0 = netlink.link("eth0").unwrap().unwrap();
            netlink.add_address(eth0.index, "192.0.2.1/24".parse().unwrap()).unwrap();
            Mac(eth0.mac).to_string()
        });
        let tested = tester.run(|| {
            let netlink = Netlink::open().unwrap();
            for name in ["near", "far", "under", "lo"] {
                netlink.set_up(netlink.link(name).unwrap().unwrap().index, true).unwrap();
            }
        });
        tested.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        std::fs::create_dir(path.join("state")).unwrap();
        std::fs::write(path.join("state/cluster.yaml"), state()).unwrap();
        let at = path.display();
        let config = format!(
            "node: node-a\nstate: {{directory: {at}/state}}\nunderlay: {{kind: udp, address: 192.0.2.1, interface: eth0}}\n\
             gateway: {{interface: weir0, mac: \"{GATEWAY_MAC}\"}}\nworkers: 1\nlock: {at}\n\
             control: {{socket: {at}/weir.sock}}\nattachments:\n  \
             - {{pod: shop/client, kind: af_packet, interface: one}}\n  \
             - {{pod: shop/server, kind: af_packet, interface: two}}\n"
        );
        std::fs::write(path.join("weir.yaml"), config).unwrap();
        let log = std::fs::File::create(path.join("weir.log")).unwrap();
        let mut command = Command::new(WEIR);
        command.arg("run").arg("--config").arg(path.join("weir.yaml"));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        process::run_in(&mut command, &node).unwrap();
        process::die_with_parent(&mut command);
        let weir = command.spawn().unwrap();
        let device = Self { names, tester, underlay_mac: mac.unwrap(), weir, directory };
        wait_until("weir with two pods attached", Duration::from_secs(20), || {
            let pods = device.status().map_or(0, |status| status.pods.len());
            assert!(pods <= 2);
            pods == 2
        });
        device
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn status(&self) -> Option<Status> {
        match control::call(&self.path("weir.sock"), &Request::Status {}) {
            Ok(Reply::Status(status)) => Some(*status),
            _ => None,
        }
    }

    #[track_caller]
    fn weir(&self, arguments: &str, exit: i32) -> Output {
        let arguments: Vec<&str> = arguments.split_whitespace().collect();
        let output = self.tester.run(|| weir(&arguments)).unwrap();
        let log = || std::fs::read_to_string(self.path("weir.log")).unwrap();
        assert_eq!(output.status.code(), Some(exit), "{}\n{}\n{:?}", text(&output), log(), self.status());
        output
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = signal(self.weir.id(), Signal::Terminate);
        let _ = self.weir.wait();
        for name in &self.names {
            let _ = Netns::delete(name);
        }
    }
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_running_weir_is_a_device_like_any_other_and_every_packet_is_accounted_for() {
    let Some(_turn) = turn_alone() else { return };
    let device = Device::build();
    let pair = format!("--src 10.244.1.2 --dst 10.244.1.3 --dst-mac {GATEWAY_MAC}");

    // TCP through both pods' ports, on connections that stay and on new ones.
    for more in ["--connections 8 --rate max --count 500", "--per-connection 1 --rate 200 --duration 0.5"] {
        let arguments = format!("load --to near --listen far --request-response {pair} {more} -o json");
        let report = json(&device.weir(&arguments, 0));
        assert_eq!(report["adds_up"], true, "{report:#}");
        assert_eq!(report["requests"]["asked"], report["requests"]["answered"], "{report:#}");
    }
    let arguments = format!(
        "load --to near --listen far --request-response {pair} --dst-port 9000 --connections 1 --count 1 -o json"
    );
    let report = json(&device.weir(&arguments, 1));
    assert_eq!(
        (&report["adds_up"], &report["requests"]["timed_out"]),
        (&true.into(), &1.into()),
        "{report:#}"
    );

    // Out of the tunnel, a share of it denied.
    let arguments = format!(
        "load --to under --listen far --rate 5000 --duration 0.4 --denied 0.25 --src 10.244.2.2 --dst 10.244.1.3 --vxlan \
         --from-vtep 192.0.2.2 --to-vtep 192.0.2.1 --dst-mac {} --inner-src-mac 02:00:00:00:00:0b --inner-dst-mac \
         02:00:00:00:00:0a -o json",
        device.underlay_mac
    );
    let report = json(&device.weir(&arguments, 0));
    let book = &report["arrived"]["book"];
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let dropped: u64 = book["dropped"].as_object().unwrap().values().map(number).sum();
    let ends = number(&book["received"]) + dropped + number(&book["lost"]);
    assert_eq!(number(&book["offered"]) + number(&book["excess"]), ends, "{report:#}");
    assert!(number(&book["received"]) > 100 && number(&book["dropped"]["denied"]) > 100, "{report:#}");
    assert_eq!(report["arrived"]["denied"], 0, "what is to be denied does not come: {report:#}");

    // The profile, with its denied traffic.
    let out = device.path("run");
    device.weir(
        &format!(
            "bench rfc2544 --quick --tx near --rx far --size 64 --duration 0.1 --no-connections --denied 0.2 {pair} --out {}",
            out.display()
        ),
        0,
    );
    let run = directory::read(&out).unwrap();
    assert!(run.adds_up());
    let flood = run.books.iter().find(|book| book.group == "64 bytes, flood").unwrap();
    assert!(flood.received > 0 && flood.dropped.contains_key("denied"), "{flood:?}");

    let status = device.status().unwrap();
    let packets = status.packets;
    assert_eq!(packets.received, packets.forwarded + packets.answered + packets.dropped, "{packets:?}");
    assert!(status.drops["policy_deny"] > 100);
}
