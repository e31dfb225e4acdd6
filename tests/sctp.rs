//! SCTP by hand over raw sockets (this kernel may have no SCTP sockets): an association's four chunks pass where a
//! policy allows the port, its first one is dropped where none does, within a node and across.

mod support;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use dataplane::sys::raw_ip;
use harness::lab::plan::{Family, PodPlan, Side};
use harness::lab::{Attach, End, NodeKind};
use harness::traffic::Reach;
use harness::traffic::sctp::{PROTOCOL, Responder, probe};
use support::{build, lab, must, turn};

const POLICY: &str = "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: signalling, namespace: telco}
spec:
  podSelector: {}
  policyTypes: [Ingress, Egress]
  ingress:
    - from: [{podSelector: {matchLabels: {app: client}}}]
      ports: [{protocol: SCTP, port: 5000}]
  egress:
    - to: [{podSelector: {matchLabels: {app: server}}}]
      ports: [{protocol: SCTP, port: 5000}]
";

const PATIENCE: Duration = Duration::from_secs(3);
const SILENCE: Duration = Duration::from_millis(700);

/// Chunk types (RFC 9260 section 3.2).
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const COOKIE_ECHO: u8 = 10;
const COOKIE_ACK: u8 = 11;

/// A packet of one chunk with that body.
fn packet(src_port: u16, dst_port: u16, tag: u32, chunk: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + body.len()).unwrap().to_be_bytes();
    let mut bytes =
        [&src_port.to_be_bytes()[..], &dst_port.to_be_bytes(), &tag.to_be_bytes(), &[0; 4]].concat();
    bytes.extend_from_slice(&[chunk, 0, length[0], length[1]]);
    bytes.extend_from_slice(body);
    let sum = crc32c(&bytes).to_le_bytes();
    bytes[8..12].copy_from_slice(&sum);
    bytes
}

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & 0_u32.wrapping_sub(crc & 1)))
    })
}

/// What INIT and INIT ACK carry: tag, window, one stream each way, first sequence number.
fn initiation(tag: u32) -> Vec<u8> {
    [&tag.to_be_bytes()[..], &65_536_u32.to_be_bytes(), &[0, 1, 0, 1, 0, 0, 0, 1]].concat()
}

struct Host {
    socket: UdpSocket,
    address: IpAddr,
}

impl Host {
    fn of(end: &End, family: Family) -> Self {
        let socket = end.run(|| raw_ip::open(family == Family::V6, PROTOCOL)).unwrap().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, address: end.address(family) }
    }

    fn send(&self, to: &Self, packet: &[u8]) {
        self.socket.send_to(packet, SocketAddr::new(to.address, 0)).unwrap();
    }

    /// The next chunk that comes is one of that type to that port, from that host.
    fn expect(&self, from: &Self, port: u16, chunk: u8) {
        let mut buffer = [0; 2048];
        let (count, sender) =
            self.socket.recv_from(&mut buffer).unwrap_or_else(|error| panic!("no chunk {chunk}: {error}"));
        let header = if self.address.is_ipv4() { usize::from(buffer[0] & 0x0f) * 4 } else { 0 };
        let sctp = &buffer[header..count];
        assert_eq!(sender.ip(), from.address);
        assert_eq!((u16::from_be_bytes([sctp[2], sctp[3]]), sctp[12]), (port, chunk));
    }
}

fn associate(client: &Host, server: &Host) {
    const CLIENT_PORT: u16 = 40_000;
    const SERVER_PORT: u16 = 5000;
    const CLIENT_TAG: u32 = 0x0c11_0001;
    const SERVER_TAG: u32 = 0x05e1_0002;
    client.send(server, &packet(CLIENT_PORT, SERVER_PORT, 0, INIT, &initiation(CLIENT_TAG)));
    server.expect(client, SERVER_PORT, INIT);
    // A parameter of type 7 is the state cookie.
    let cookie = [&initiation(SERVER_TAG)[..], &[0, 7, 0, 12], b"weircook"].concat();
    server.send(client, &packet(SERVER_PORT, CLIENT_PORT, CLIENT_TAG, INIT_ACK, &cookie));
    client.expect(server, CLIENT_PORT, INIT_ACK);
    client.send(server, &packet(CLIENT_PORT, SERVER_PORT, SERVER_TAG, COOKIE_ECHO, b"weircook"));
    server.expect(client, SERVER_PORT, COOKIE_ECHO);
    server.send(client, &packet(SERVER_PORT, CLIENT_PORT, CLIENT_TAG, COOKIE_ACK, &[]));
    client.expect(server, CLIENT_PORT, COOKIE_ACK);
}

fn sctp_follows_its_policy(attach: Attach) {
    let Some(_turn) = turn() else { return };
    let pods = vec![
        PodPlan::new(Side::A, 10, "telco", "client", ("app", "client")),
        PodPlan::new(Side::A, 11, "telco", "near", ("app", "server")),
        PodPlan::new(Side::B, 10, "telco", "far", ("app", "server")),
    ];
    let policies = [("policy-signalling.yaml", POLICY)];
    let lab =
        build(lab().nodes([NodeKind::Weir, NodeKind::Kernel]).attach(attach).pods(pods).policies(&policies));
    let client = must(lab.pod("telco/client"));
    for server in ["telco/near", "telco/far"] {
        let server = must(lab.pod(server));
        for family in Family::ALL {
            associate(&Host::of(client, family), &Host::of(server, family));
        }
        let _responders = [5000, 5001].map(|port| Responder::start(&server.netns, port).unwrap());
        let _client_responder = Responder::start(&client.netns, 5000).unwrap();
        for family in Family::ALL {
            let to = |end: &End, port| SocketAddr::new(end.address(family), port);
            let ask = |from: &End, to, src_port, timeout| probe(&from.netns, to, src_port, timeout).unwrap();
            assert_eq!(
                ask(client, to(server, 5000), 41_000, PATIENCE),
                Reach::Open,
                "{} allowed",
                server.name
            );
            assert_eq!(
                ask(client, to(server, 5001), 41_001, SILENCE),
                Reach::Silent,
                "{} other port",
                server.name
            );
            assert_eq!(
                ask(server, to(client, 5000), 41_002, SILENCE),
                Reach::Silent,
                "{} backwards",
                server.name
            );
        }
    }
    let status = support::status(&lab, Side::A);
    for (direction, src) in [("egress", "telco/client"), ("ingress", "telco/far"), ("egress", "telco/near")] {
        let denied = status.denials.iter().any(|denial| {
            denial.direction == direction
                && denial.src.contains(src)
                && denial.policies == ["telco/signalling".to_owned()]
        });
        assert!(denied, "no {direction} denial from {src}: {:#?}", status.denials);
    }
    support::assert_books_balance(&lab, Side::A);
}

#[test]
fn sctp_follows_its_policy_through_taps() {
    sctp_follows_its_policy(Attach::Tap);
}

#[test]
fn sctp_follows_its_policy_through_veths() {
    sctp_follows_its_policy(Attach::Veth);
}
