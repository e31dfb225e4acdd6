//! The whole of weir's job end to end, in one process: two nodes, real TCP/IP stacks, real generations from the
//! manifests of `weir lab demo`. Needs no privilege, no kernel device and no time: clocks are simulated.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use dataplane::config::UnderlayKind;
use dataplane::drop_reason::DropReason;
use harness::lab::cluster_state::POLICIES;
use harness::lab::demo::{self, Options};
use harness::lab::expect::Expectation;
use harness::lab::memory::{MTU, MemoryLab, Transfer, raw};
use harness::lab::plan::{Family, OUTSIDE, Side, default_pods};
use harness::lab::report::Report;
use harness::lab::scenario::Service;
use harness::lab::{Attach, Backend, LabError, NodeKind};
use harness::traffic::pattern::Pattern;
use harness::traffic::{Reach, sctp};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

fn options() -> Options {
    Options {
        nodes: [NodeKind::Weir; 2],
        backend: Backend::Memory,
        throughput: Duration::ZERO,
        ..Options::default()
    }
}

fn demonstrate() -> Report {
    demo::run(&options(), AtomicBool::new(false).into(), &|_| {}).unwrap()
}

#[test]
fn every_pair_is_reached_as_the_policies_say_and_two_runs_are_equal() {
    let (first, second) = (demonstrate(), demonstrate());
    let mismatches: Vec<String> = first.matrix.mismatches().map(|cell| first.matrix.describe(cell)).collect();
    assert!(mismatches.is_empty(), "{mismatches:#?}");
    assert!(first.ok);
    assert!(first.matrix.cells.len() > 500, "{}", first.matrix.cells.len());
    let open = first.matrix.cells.iter().filter(|cell| cell.expected).count();
    assert!(open > 50 && open < first.matrix.cells.len() - 50, "{open}");
    for counted in first.counted.values() {
        assert!(!counted.denials.is_empty());
        let denied: u64 = counted.denials.iter().map(|denial| denial.packets).sum();
        assert_eq!(Some(&denied), counted.drops.get("policy_deny"), "{:#?}", counted.drops);
        assert_eq!(counted.drops.len(), 1, "{:#?}", counted.drops);
        assert!(
            counted.denials.iter().all(|denial| denial.policies.iter().any(|name| name.contains("shop/")))
        );
        let packets = counted.packets;
        assert_eq!(packets.received, packets.forwarded + packets.answered + packets.dropped);
    }
    for cell in first.matrix.cells.iter().filter(|cell| !cell.expected) {
        let by_name = |end: &str, denied: &str| match OUTSIDE.iter().find(|plan| plan.name == end) {
            Some(plan) => denied == plan.address(cell.family).to_string(),
            None => denied.starts_with(&format!("{end} (")),
        };
        let (src, dst) = (first.matrix.name(cell.src), first.matrix.name(cell.dst));
        let mut denials = first.counted.values().flat_map(|counted| &counted.denials);
        let found = denials.any(|denial| by_name(src, &denial.src) && by_name(dst, &denial.dst));
        assert!(found, "{}", first.matrix.describe(cell));
    }
    let mut json = [first, second].map(|report| serde_json::to_value(report).unwrap());
    for report in &mut json {
        report["throughput"]["bits_per_second"] = 0.into();
        report["throughput"]["seconds"] = 0.into();
    }
    assert_eq!(json[0], json[1]);
}

#[test]
fn bulk_data_arrives_with_equal_digests_both_ways_in_both_families() {
    let mut lab = MemoryLab::demonstration().unwrap();
    for family in Family::ALL {
        for (src, dst) in [("shop/frontend", "shop/backend"), ("shop/frontend", "shop/backend-2")] {
            for download in [false, true] {
                let transfer = Transfer { download, length: 1 << 20, seed: 7 };
                assert!(lab.transfer(transfer, src, (dst, 8080), family, MINUTE).unwrap(), "{src} {dst}");
            }
        }
    }
    assert_eq!(lab.counted(Side::A).drops.len() + lab.counted(Side::B).drops.len(), 0);
}

#[test]
fn a_policy_taken_away_cuts_a_running_transfer_and_put_back_lets_a_new_one_through() {
    let (name, text) = POLICIES[1];
    let mut lab = MemoryLab::demonstration().unwrap();
    let endless = Transfer { download: true, length: u64::MAX, seed: 1 };
    let ends = ("shop/frontend", ("shop/backend", 8080));
    let cut = lab.begin_transfer(endless, ends.0, ends.1, Family::V4).unwrap();
    assert!(lab.run_until(SECOND, |lab| lab.received(&cut) > 500_000).unwrap());
    lab.state().remove(name).unwrap();
    lab.reload().unwrap();
    lab.run_for(10 * Duration::from_micros(10)).unwrap();
    let last = lab.received(&cut);
    lab.run_for(SECOND).unwrap();
    assert_eq!(lab.received(&cut), last, "nothing more arrives");
    let revoked = |side| lab.dropped(side, DropReason::PolicyRevoked);
    assert!(revoked(Side::A) + revoked(Side::B) > 0);
    lab.end_transfer(cut);
    let (src, (dst, port)) = ends;
    let reach = lab.reach(src, dst, Family::V4, Service::Tcp(port), SECOND).unwrap();
    assert_eq!(reach, Reach::Silent);

    lab.state().write(name, text).unwrap();
    lab.reload().unwrap();
    let transfer = Transfer { download: true, length: 100_000, seed: 1 };
    assert!(lab.transfer(transfer, ends.0, ends.1, Family::V4, SECOND).unwrap());
}

#[test]
fn a_reload_loses_no_packet_of_an_allowed_flow() {
    let (name, text) = POLICIES[3];
    let mut lab = MemoryLab::demonstration().unwrap();
    let transfer = Transfer { download: true, length: 1 << 20, seed: 3 };
    let flow = lab.begin_transfer(transfer, "shop/frontend", ("shop/backend", 8080), Family::V6).unwrap();
    for reload in 0..20 {
        if reload % 2 == 0 {
            lab.state().remove(name).unwrap();
        } else {
            lab.state().write(name, text).unwrap();
        }
        lab.reload().unwrap();
        lab.run_for(Duration::from_micros(100)).unwrap();
    }
    assert!(!lab.is_over(&flow), "it ran while the state was reloaded");
    assert!(lab.run_until(MINUTE, |lab| lab.is_over(&flow)).unwrap());
    assert!(lab.arrived_whole(&flow));
    assert_eq!(lab.counted(Side::A).drops.len() + lab.counted(Side::B).drops.len(), 0);
}

#[test]
fn before_the_first_generation_no_packet_of_a_pod_passes() {
    let mut lab = MemoryLab::without_generation(&default_pods(), &POLICIES).unwrap();
    for service in Service::ALL {
        for dst in ["default/intruder-2", "default/intruder", "outside", "node-a"] {
            let reach = lab.reach("default/intruder", dst, Family::V4, service, SECOND).unwrap();
            assert!(dst == "default/intruder" || reach == Reach::Silent, "{dst} {service}");
        }
    }
    let counted = lab.counted(Side::A);
    assert_eq!((counted.packets.forwarded, counted.packets.answered), (0, 0));
    assert_eq!(counted.drops.keys().collect::<Vec<_>>(), ["starting"]);
    lab.reload().unwrap();
    let reach = lab.reach("default/intruder", "default/intruder-2", Family::V4, Service::Ping, SECOND);
    assert_eq!(reach.unwrap(), Reach::Open);
}

#[test]
fn datagrams_of_every_size_cross_in_fragments_and_come_back() {
    let mut lab = MemoryLab::demonstration().unwrap();
    let (src, dst, port) = ("shop/frontend", "kube-system/dns", 53);
    for family in Family::ALL {
        let there = lab.path(src, dst, family).unwrap();
        let back = lab.path(dst, src, family).unwrap();
        for (id, size) in (1_u16..).zip([1, 1382, 1383, 1402, 1403, 2_804, 4_096, 8_000]) {
            let mut payload = vec![0; size];
            Pattern::new(u64::from(id)).fill(&mut payload);
            let datagram = raw::udp(there, 40_000 + id, port, &payload);
            let frames = raw::frames(there, raw::UDP, &datagram, id, MTU);
            if frames.len() == 1 {
                let reach = lab.echo(src, (dst, port), family, size, SECOND).unwrap();
                assert_eq!(reach, Reach::Open, "{family:?} {size}");
                continue;
            }
            // Every other datagram with its first fragment last.
            let frames = if id % 2 == 0 { frames.into_iter().rev().collect() } else { frames };
            let (mut whole, mut echo) = (raw::Reassembly::default(), raw::Reassembly::default());
            lab.send_frames(src, frames).unwrap();
            lab.run_for(Duration::from_millis(10)).unwrap();
            let arrived = lab.take_frames(dst).unwrap();
            let arrived = arrived.iter().find_map(|frame| whole.take(frame)).expect("it arrives");
            assert_eq!(raw::udp_payload(there, &arrived), Some(&payload[..]), "{family:?} {size}");

            let answer = raw::udp(back, port, 40_000 + id, &payload);
            lab.send_frames(dst, raw::frames(back, raw::UDP, &answer, id, MTU)).unwrap();
            lab.run_for(Duration::from_millis(10)).unwrap();
            let returned = lab.take_frames(src).unwrap();
            let returned = returned.iter().find_map(|frame| echo.take(frame)).expect("it comes back");
            assert_eq!(raw::udp_payload(back, &returned), Some(&payload[..]), "{family:?} {size}");
        }
    }
    assert_eq!(lab.counted(Side::A).drops.len() + lab.counted(Side::B).drops.len(), 0);
}

#[test]
fn sctp_passes_where_a_policy_allows_it_and_its_answer_needs_none() {
    const POLICY: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: sctp, namespace: shop}
spec:
  podSelector: {}
  policyTypes: [Ingress, Egress]
  ingress:
    - from: [{podSelector: {matchLabels: {app: frontend}}}]
      ports: [{protocol: SCTP, port: 3868}]
  egress:
    - to: [{podSelector: {matchLabels: {app: backend}}}]
      ports: [{protocol: SCTP, port: 3868}]
";
    let (src, dst) = ("shop/frontend", "shop/backend");
    let mut lab = MemoryLab::demonstration().unwrap();
    for family in Family::ALL {
        let there = lab.path(src, dst, family).unwrap();
        let back = lab.path(dst, src, family).unwrap();
        let init = sctp::packet(40_000, 3868, 0, sctp::INIT, 11);
        let init_ack = sctp::packet(3868, 40_000, 11, sctp::INIT_ACK, 22);
        let pass = |lab: &mut MemoryLab, path, from, to, packet: &[u8]| {
            lab.send_frames(from, raw::frames(path, sctp::PROTOCOL, packet, 0, MTU)).unwrap();
            lab.run_for(Duration::from_millis(10)).unwrap();
            let frames = lab.take_frames(to).unwrap();
            frames.iter().find_map(|frame| raw::Reassembly::default().take(frame))
        };
        // An answer to nothing opens nothing, and without a policy nothing passes.
        lab.state().write("policy-sctp.yaml", "# none\n").ok();
        lab.state().remove("policy-sctp.yaml").unwrap();
        lab.reload().unwrap();
        lab.run_for(SECOND).unwrap();
        assert_eq!(pass(&mut lab, there, src, dst, &init), None);
        lab.state().write("policy-sctp.yaml", POLICY).unwrap();
        lab.reload().unwrap();
        assert_eq!(pass(&mut lab, back, dst, src, &init_ack), None);
        assert_eq!(pass(&mut lab, there, src, dst, &init), Some(init.clone()));
        assert_eq!(pass(&mut lab, back, dst, src, &init_ack), Some(init_ack.clone()));
    }
}

#[test]
fn without_policies_everybody_reaches_everybody() {
    let mut lab = MemoryLab::without_generation(&default_pods(), &[]).unwrap();
    lab.reload().unwrap();
    let probes = lab.all_probes();
    let expectation = Expectation::of(lab.state(), [true; 2]).unwrap();
    let matrix = lab.probe(&probes, &expectation, |_| Ok(())).unwrap();
    let closed: Vec<String> = matrix
        .cells
        .iter()
        .filter(|cell| !cell.observed.is_open())
        .map(|cell| matrix.describe(cell))
        .collect();
    assert!(closed.is_empty(), "{closed:#?}");
}

#[test]
fn what_needs_a_kernel_is_refused_with_advice() {
    let kernel = Options { nodes: [NodeKind::Weir, NodeKind::Kernel], ..options() };
    let veth = Options { attach: Attach::Veth, ..options() };
    let kept = Options { keep: true, ..options() };
    let raw = Options { underlay: UnderlayKind::AfPacket, ..options() };
    for options in [kernel, veth, kept, raw] {
        let error = demo::run(&options, AtomicBool::new(false).into(), &|_| {}).unwrap_err();
        assert!(error.to_string().contains("--backend namespaces"), "{error}");
    }
    let error = demo::run(&options(), AtomicBool::new(true).into(), &|_| {}).unwrap_err();
    assert!(matches!(error, LabError::Interrupted));
}
