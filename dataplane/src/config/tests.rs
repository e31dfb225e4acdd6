//! What a configuration may say, and every message about what it may not.

use std::path::Path;

use super::{AttachmentKind, Config, LogFormat, OnInvalid, Scheduling, WorkerCount, schema};
use crate::sys::scheduling::Policy;

const FILE: &str = "/etc/weir/node.yaml";

fn parse(text: &str) -> Config {
    Config::parse(text, Path::new(FILE)).unwrap()
}

fn refusal(text: &str) -> String {
    match Config::parse(text, Path::new("node.yaml")) {
        Ok(config) => panic!("accepted:\n{text}\n{config:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_node_name_is_enough() {
    let config = parse("node: node-a\n");
    assert_eq!(config.node, "node-a");
    assert_eq!(config.state.directory, Path::new("/etc/weir/state"));
    assert_eq!(config.state.on_invalid, OnInvalid::Refuse);
    assert_eq!((config.underlay.port, config.underlay.vni.get()), (8472, 1));
    assert!(config.underlay.checksum);
    assert_eq!(config.underlay.address, None);
    assert_eq!(config.gateway.interface, "weir0");
    assert_eq!(config.control.socket, Path::new("/run/weir/weir.sock"));
    assert_eq!(config.lock, Path::new("/run/weir"));
    assert_eq!((config.conntrack.max_entries, config.conntrack.pod_quota), (262_144, 65_536));
    assert_eq!(config.workers, WorkerCount::Auto);
    assert_eq!(
        config.scheduling,
        Scheduling { pin: true, policy: Policy::Other, niceness: 0, busy_poll: false, latency_qos: true }
    );
    assert_eq!(config.limits.compile_memory, 256 << 20);
    assert_eq!(config.log.format, LogFormat::Auto);
}

#[test]
fn all_keys_are_understood() {
    let config = parse(
        r#"
node: node-a
state: { directory: state, on_invalid: isolate }
underlay:
  { kind: udp, address: 192.0.2.1, address_v6: "2001:db8::1", interface: eth0, mtu: 1500, port: 4789, vni: 7,
    checksum: false, source_ports: 4, strict_reserved: true }
vtep: { mac: "02:00:5e:00:53:01", mac_v6: 02:00:5E:00:53:02 }
gateway: { interface: gw0, mac: "02:00:5e:00:53:03", addresses: [10.244.1.1/24, "fd00:10:244:1::1/64"], mtu: 1400 }
attachments:
  - { pod: shop/frontend, kind: tap, interface: eth0, netns: /run/netns/x }
  - { pod: shop/backend, kind: af_packet, interface: veth0, mac: "02:00:5e:00:53:04" }
control: { socket: ./run/weir.sock }
workers: 2
scheduling: { pin: false, policy: batch, niceness: 19, busy_poll: true, cpu_latency_qos: never }
conntrack: { max_entries: 4096, pod_quota: 100 }
limits: { compile_memory: 1GiB }
lock: /run/lock
log: { level: debug, format: json }
"#,
    );
    assert_eq!(config.state.directory, Path::new("/etc/weir/state"));
    assert_eq!(config.control.socket, Path::new("/etc/weir/run/weir.sock"));
    assert_eq!(config.lock, Path::new("/run/lock"));
    assert_eq!(config.underlay.vni.get(), 7);
    assert_eq!(config.gateway.addresses.len(), 2);
    assert_eq!(config.vtep.mac_v6.map(|mac| mac.to_string()).as_deref(), Some("02:00:5e:00:53:02"));
    assert!(config.attachments[0].create);
    assert_eq!(config.attachments[1].kind, AttachmentKind::AfPacket);
    assert_eq!(config.limits.compile_memory, 1 << 30);
    assert_eq!(config.workers.to_string(), "2");
    assert_eq!(
        config.scheduling,
        Scheduling { pin: false, policy: Policy::Batch, niceness: 19, busy_poll: true, latency_qos: false }
    );
}

#[test]
fn the_derived_gateway_mac_is_stable_local_unicast_and_the_nodes_own() {
    let (a, b) = (parse("node: node-a").gateway.mac, parse("node: node-b").gateway.mac);
    assert_eq!(a, parse("node: node-a").gateway.mac);
    assert_ne!(a, b);
    assert!(a.is_unicast());
    assert_eq!(a.0[0], 0x02);
}

#[test]
fn a_share_of_a_smaller_table_is_smaller() {
    assert_eq!(parse("node: a\nconntrack: {max_entries: 1024}").conntrack.pod_quota, 256);
}

#[test]
fn empty_sections_mean_their_defaults() {
    let config = parse("node: a\nunderlay: {}\nattachments: []\n");
    assert_eq!(config.underlay.source_ports, 16);
}

#[test]
fn json_is_a_configuration_too() {
    assert_eq!(parse(r#"{"node": "node-a", "underlay": {"mtu": 9000}}"#).underlay.mtu, Some(9000));
}

#[test]
fn every_problem_of_a_file_is_reported_in_its_order() {
    let text = "node: Node_A\nunderlay:\n  port: 0\n  vni: 16777216\ngateway: {addresses: [10.244.1.0/24]}\n";
    let refusal = refusal(text);
    let places: Vec<_> = refusal.lines().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(places, ["node.yaml:1:7", "node.yaml:3:9", "node.yaml:4:8", "node.yaml:5:23"]);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = Config::load(Path::new("/nonexistent/node.yaml")).unwrap_err().to_string();
    assert!(error.starts_with("/nonexistent/node.yaml: cannot read the configuration: "), "{error}");
}

#[test]
fn a_file_too_large_is_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("node.yaml");
    std::fs::write(&path, vec![b' '; (1 << 20) + 1]).unwrap();
    assert!(Config::load(&path).unwrap_err().to_string().contains("expected at most 1048576"));
}

#[test]
fn the_schema_documents_every_key_and_shows_defaults() {
    fn undocumented(at: &str, schema: &serde_json::Value, found: &mut Vec<String>) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            if !property["description"].is_string() {
                found.push(format!("{at}.{name}"));
            }
        }
    }
    let schema = schema();
    let mut found = Vec::new();
    undocumented("", &schema, &mut found);
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        undocumented(name, definition, &mut found);
    }
    assert!(found.is_empty(), "{found:?}");
    assert_eq!(schema["$defs"]["RawUnderlay"]["properties"]["port"]["default"], 8472);
    assert_eq!(schema["$defs"]["RawUnderlay"]["additionalProperties"], false);
    assert_eq!(schema["required"], serde_json::json!(["node"]));
}

/// Each text has one problem, which the snapshot shows as the operator sees it.
#[test]
fn messages() {
    let long_socket = format!("node: a\ncontrol: {{socket: /{}}}", "x".repeat(120));
    let attachment = |rest: &str| format!("node: a\nattachments:\n- {{pod: shop/a, {rest}}}\n");
    let texts: Vec<String> = [
        "",
        "node: [a",
        "node: a\n\tx: 1",
        "- a",
        "node: a\nnode: b",
        "node: a\n---\nnode: b",
        "underlay: {port: 1}",
        "node: [a]",
        "node: ''",
        "node: Node_A",
        "node: a\nunderley: {}",
        "node: a\nbogus: 1",
        "node: a\nunderlay: {adress: 192.0.2.1}",
        "node: a\nunderlay: {kind: udpp}",
        "node: a\nunderlay: {ring: true}",
        "node: a\nunderlay: {kind: af_xdp, ring: true}",
        "node: a\nunderlay: {kind: xdp}",
        "node: a\nunderlay: 8472",
        "node: a\nunderlay: {port: abc}",
        "node: a\nunderlay: {port: -1}",
        "node: a\nunderlay: {port: 0}",
        "node: a\nunderlay: {port: 65536}",
        "node: a\nunderlay: {vni: 16777216}",
        "node: a\nunderlay: {mtu: 600}",
        "node: a\nunderlay: {source_ports: 257}",
        "node: a\nunderlay: {checksum: maybe}",
        "node: a\nunderlay: {address: 192.0.2.256}",
        "node: a\nunderlay: {address: 224.0.0.1}",
        "node: a\nunderlay: {address: '2001:db8::1'}",
        "node: a\nunderlay: {address_v6: 192.0.2.1}",
        "node: a\nunderlay: {address_v6: 'fe80::1'}",
        "node: a\nunderlay: {address_v6: '::ffff:192.0.2.1'}",
        "node: a\nunderlay: {interface: interface-too-long}",
        "node: a\nstate: {directory: ''}",
        "node: a\nstate: {on_invalid: ignore}",
        "node: a\nvtep: {mac: 02:00:5e:00:53}",
        "node: a\nvtep: {mac: '01:00:5e:00:00:01'}",
        "node: a\nvtep: {mac_v6: '00:00:00:00:00:00'}",
        "node: a\ngateway: {interface: 'tap%d'}",
        "node: a\ngateway: {addresses: 10.244.1.1/24}",
        "node: a\ngateway: {addresses: [10.244.1.1]}",
        "node: a\ngateway: {addresses: [10.244.1.1/33]}",
        "node: a\ngateway: {addresses: [10.244.1.0/24]}",
        "node: a\ngateway: {addresses: [10.244.1.255/24]}",
        "node: a\ngateway: {addresses: ['fd00:10:244:1::/64']}",
        "node: a\ngateway: {addresses: [127.0.0.1/8]}",
        "node: a\ngateway: {addresses: [10.244.1.1/24, 10.244.1.1/16]}",
        "node: a\ngateway: {mtu: 65535}",
        "node: a\ngateway: {mac: zz}",
        "node: a\nworkers: 0",
        "node: a\nworkers: 65",
        "node: a\nworkers: many",
        "node: a\nworkers: [2]",
        "node: a\nscheduling: {niceness: -21}",
        "node: a\nscheduling: {nice: -1}",
        "node: a\nscheduling: {pin: perhaps}",
        "node: a\nscheduling: {policy: fifo}",
        "node: a\nscheduling: {cpu_latency_qos: always}",
        "node: a\nconntrack: {max_entries: 10}",
        "node: a\nconntrack: {max_entries: 2048, pod_quota: 4096}",
        "node: a\nlimits: {compile_memory: 256MB}",
        "node: a\nlimits: {compile_memory: 1KiB}",
        "node: a\nlog: {level: verbose}",
        "node: a\nlog: {format: xml}",
        "node: a\nattachments: {pod: shop/a}",
        "node: a\nattachments:\n- {kind: tap, interface: eth0}",
        "node: a\nattachments:\n- {pod: frontend, kind: tap, interface: eth0}",
        "node: a\nattachments:\n- {pod: shop/a, kind: tap, interface: x}\n- {pod: shop/a, kind: tap, interface: y}",
        "node: a\nattachments:\n- {pod: shop/a, kind: tap, interface: x}\n- {pod: shop/b, kind: af_packet, interface: x}",
        "node: a\nattachments:\n- {pod: shop/a, kind: tap, interface: weir0}",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain([
        long_socket,
        attachment("kind: veth, interface: x"),
        attachment("kind: tap, interface: a/b"),
        attachment("kind: tap, interface: x, nets: /run/netns/x"),
        attachment("kind: tap, interface: x, netns: ''"),
        attachment("kind: af_packet, interface: x, netns: /run/netns/x"),
        attachment("kind: af_packet, interface: x, create: true"),
        attachment("kind: tap, interface: x, mac: '03:00:00:00:00:00'"),
    ])
    .collect();
    let shown: Vec<String> = texts.iter().map(|text| refusal(text)).collect();
    for (text, message) in texts.iter().zip(&shown) {
        assert_eq!(message.lines().count(), 1, "{text}: {message}");
    }
    insta::assert_snapshot!(shown.join("\n"));
}
