//! Without weir nothing of a pod passes: not before the first generation, not while weir is stopped, not after a
//! kill -9; and while weir runs, not behind its back through the kernel, which forwards and has the gateway's
//! address. Then it works again.

mod support;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use dataplane::control::StateStatus;
use dataplane::sys::process::Signal;
use harness::lab::plan::{Family, OUTSIDE, PodPlan, Side};
use harness::lab::pods::{INTERFACE, Pod};
use harness::lab::scenario::{Service, once};
use harness::lab::topology::{find, within};
use harness::lab::{Attach, Lab, LabBuilder, NodeKind};
use harness::traffic::Reach;
use support::capture::{Capture, Injector, comes_from, mentions};
use support::wire::{ARP, ICMP, UDP, echo_request, ethernet, ip, udp};
use support::{build, drops, lab, must, status, turn};

const WALLED: &str = "shop/walled";
const OPEN: &str = "open/alpha";

/// The pod under test may send nothing; the others are free.
const POLICY: &str = "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: default-deny, namespace: shop}
spec:
  podSelector: {}
  policyTypes: [Ingress, Egress]
";

fn described(attach: Attach) -> LabBuilder {
    let pods = vec![
        PodPlan::new(Side::A, 10, "open", "alpha", ("app", "alpha")),
        PodPlan::new(Side::A, 11, "open", "beta", ("app", "beta")),
        PodPlan::new(Side::A, 12, "shop", "walled", ("app", "walled")),
        PodPlan::new(Side::B, 10, "open", "far", ("app", "far")),
    ];
    let policies = [("policy-default-deny.yaml", POLICY)];
    lab().nodes([NodeKind::Weir, NodeKind::Kernel]).attach(attach).pods(pods).policies(&policies)
}

/// Everything a pod of node A could want to reach: the gateway, the node's other addresses, pods, the world.
fn targets(family: Family) -> Vec<IpAddr> {
    let a = Side::A;
    let node: [IpAddr; 3] = match family {
        Family::V4 => [a.pod_v4(1).into(), a.underlay_v4().into(), a.outside_v4().into()],
        Family::V6 => [a.pod_v6(1).into(), a.underlay_v6().into(), a.outside_v6().into()],
    };
    let pods: [IpAddr; 2] = match family {
        Family::V4 => [a.pod_v4(11).into(), Side::B.pod_v4(10).into()],
        Family::V6 => [a.pod_v6(11).into(), Side::B.pod_v6(10).into()],
    };
    node.into_iter().chain(pods).chain([OUTSIDE[0].address(family)]).collect()
}

/// Where a frame of a pod would show if somebody passed it on, and where an answer would.
struct Watch {
    places: Vec<(&'static str, Capture)>,
}

impl Watch {
    fn over(lab: &Lab, pod: &str) -> Self {
        let pod = must(lab.pod(pod));
        let other = must(lab.pod("open/beta"));
        let mut places = vec![
            ("the outside", Capture::on(lab.topology().outside[0].netns(), Side::A.name())),
            ("the underlay", Capture::on(lab.topology().node(Side::B).netns(), "eth0")),
        ];
        for (name, end) in [("the pod itself", pod), ("another pod", other)] {
            let there = within(&end.netns, |netlink| netlink.link(INTERFACE)).unwrap();
            if there.is_some_and(|link| link.up) {
                places.push((name, Capture::on(&end.netns, INTERFACE)));
            }
        }
        Self { places }
    }

    /// No frame of that pod came anywhere else, and none with its addresses to itself, but for ARP and neighbour
    /// discovery where weir answers these.
    fn assert_silence(&self, when: &str, pod: &Pod, neighbours_are_answered: bool) {
        for (place, capture) in &self.places {
            let addresses = Family::ALL.map(|family| pod.plan.address(family));
            let frames: Vec<Vec<u8>> = capture
                .take()
                .into_iter()
                .filter(|frame| match *place {
                    "the pod itself" => {
                        let about = addresses.iter().any(|address| mentions(frame, *address));
                        about && !(neighbours_are_answered && is_neighbour_answer(frame))
                    }
                    _ => addresses.iter().any(|address| comes_from(frame, *address)),
                })
                .collect();
            assert!(frames.is_empty(), "{when}: at {place}: {frames:02x?}");
        }
    }
}

/// ARP, or a neighbour solicitation or advertisement.
fn is_neighbour_answer(frame: &[u8]) -> bool {
    match frame.get(12..14) {
        Some([0x08, 0x06]) => true,
        Some([0x86, 0xdd]) => frame.get(20) == Some(&58) && matches!(frame.get(54), Some(135 | 136)),
        _ => false,
    }
}

/// Knocks everywhere, by the pod's own kernel and by frames of its own making; nobody may open.
fn knock(lab: &Lab, when: &str, name: &str) {
    let pod = lab.pods().iter().find(|pod| pod.plan.full_name() == name).unwrap();
    let end = must(lab.pod(name));
    let asked: Vec<_> = Family::ALL
        .into_iter()
        .flat_map(targets)
        .flat_map(|to| [Service::Ping, Service::Tcp(8080), Service::Udp(53)].map(|service| (to, service)))
        .collect();
    std::thread::scope(|scope| {
        for (to, service) in asked {
            scope.spawn(move || {
                let reach = once(&end.netns, to, service, Duration::from_millis(600));
                // A pod without a way out has an error instead of an answer.
                let open = matches!(reach, Ok(Reach::Open | Reach::Refused));
                assert!(!open, "{when}: {name} reaches {to} by {service}: {reach:?}");
            });
        }
    });
    let up = within(&end.netns, |netlink| netlink.link(INTERFACE)).unwrap().is_some_and(|link| link.up);
    if up {
        frames_past_weir(lab, pod);
    }
}

/// Frames to every MAC that the node's kernel might take for its own.
fn frames_past_weir(lab: &Lab, pod: &Pod) {
    let injector = Injector::on(pod.netns.netns(), INTERFACE);
    let node = lab.topology().node(Side::A).netns();
    let links = within(node, dataplane::sys::netlink::Netlink::links).unwrap();
    let own = within(pod.netns.netns(), |netlink| netlink.link(INTERFACE)).unwrap().unwrap().mac;
    let macs = links.iter().map(|link| link.mac).chain([[0xff; 6]]).filter(|mac| *mac != [0; 6]);
    for mac in macs {
        for family in Family::ALL {
            let src = pod.plan.address(family);
            for to in targets(family) {
                let (ethertype, packet) = ip(src, to, UDP, &udp(src, to, 40_000, 53, b"past weir"));
                injector.send(&ethernet(mac, own, ethertype, &packet));
                if family == Family::V4 {
                    let (ethertype, packet) = ip(src, to, ICMP, &echo_request(9));
                    injector.send(&ethernet(mac, own, ethertype, &packet));
                }
            }
        }
    }
    for to in targets(Family::V4) {
        let (IpAddr::V4(src), IpAddr::V4(to)) = (pod.plan.address(Family::V4), to) else { continue };
        let head = [0, 1, 8, 0, 6, 4, 0, 1];
        let request = [&head[..], &own, &src.octets(), &[0; 6], &to.octets()].concat();
        injector.send(&ethernet([0xff; 6], own, ARP, &request));
    }
}

/// The outside cannot reach in either.
fn outside_is_shut_out(lab: &Lab, when: &str) {
    let outside = must(lab.pod("outside"));
    for family in Family::ALL {
        let to = must(lab.pod(OPEN)).address(family);
        let reach = once(&outside.netns, to, Service::Ping, Duration::from_millis(500));
        assert!(!matches!(reach, Ok(Reach::Open)), "{when}: the outside reaches {to}");
    }
}

fn it_works(lab: &Lab, when: &str) {
    for family in Family::ALL {
        for to in targets(family) {
            // Of a node's addresses, one that is on another interface is reached like the gateway's.
            let reach = once(&must(lab.pod(OPEN)).netns, to, Service::Ping, Duration::from_secs(3)).unwrap();
            assert_eq!(reach, Reach::Open, "{when}: {OPEN} -> {to}");
        }
    }
    let far = SocketAddr::new(must(lab.pod("open/far")).address(Family::V4), 8080);
    let reach =
        harness::traffic::tcp::probe(&must(lab.pod(OPEN)).netns, far, Duration::from_secs(3)).unwrap();
    assert_eq!(reach, Reach::Open, "{when}");
}

fn nothing_passes_behind_weirs_back(attach: Attach) {
    let Some(_turn) = turn() else { return };
    let mut lab = build(described(attach));
    let plan =
        |lab: &Lab, name: &str| lab.pods().iter().position(|pod| pod.plan.full_name() == name).unwrap();
    let (walled, open) = (plan(&lab, WALLED), plan(&lab, OPEN));
    it_works(&lab, "at first");

    let watch = Watch::over(&lab, WALLED);
    knock(&lab, "while weir runs", WALLED);
    watch.assert_silence("while weir runs", &lab.pods()[walled], true);

    for (signal, when) in [(Signal::Terminate, "after SIGTERM"), (Signal::Kill, "after SIGKILL")] {
        must(lab.end_weir(Side::A, signal));
        let watch = Watch::over(&lab, OPEN);
        knock(&lab, when, OPEN);
        outside_is_shut_out(&lab, when);
        watch.assert_silence(when, &lab.pods()[open], false);
        drop(watch);
        let watch = Watch::over(&lab, WALLED);
        knock(&lab, when, WALLED);
        watch.assert_silence(when, &lab.pods()[walled], false);
        drop(watch);
        must(lab.start_weir(Side::A));
        it_works(&lab, &format!("{when} and a new start"));
    }
    if attach == Attach::Veth {
        the_kernel_would_have_passed_them(&mut lab, open);
    }
}

/// The control: without the drop that weir leaves behind, the frames above reach the outside. Silence was not for
/// want of a way.
fn the_kernel_would_have_passed_them(lab: &mut Lab, open: usize) {
    must(lab.end_weir(Side::A, Signal::Kill));
    let pod = &lab.pods()[open];
    within(lab.topology().node(Side::A).netns(), |netlink| {
        netlink.remove_ingress_drop(find(netlink, &pod.host_link())?.index)
    })
    .unwrap();
    let outside = Capture::on(lab.topology().outside[0].netns(), Side::A.name());
    frames_past_weir(lab, pod);
    let arrived = outside.take();
    let from_pod = |family: Family| arrived.iter().any(|frame| comes_from(frame, pod.plan.address(family)));
    assert!(from_pod(Family::V4) && from_pod(Family::V6), "{arrived:02x?}");
}

#[test]
fn nothing_passes_behind_weirs_back_from_a_tap() {
    nothing_passes_behind_weirs_back(Attach::Tap);
}

#[test]
fn nothing_passes_behind_weirs_back_from_a_veth() {
    nothing_passes_behind_weirs_back(Attach::Veth);
}

fn nothing_passes_before_the_first_generation(attach: Attach) {
    let Some(_turn) = turn() else { return };
    let mut lab = build(described(attach).start(false));
    let state = lab.state().directory().to_owned();
    let aside = state.with_file_name("state-aside");
    std::fs::rename(&state, &aside).unwrap();
    let first = must(lab.launch_weir(Side::A));
    assert_eq!((first.state.generation, first.state.status), (0, StateStatus::Starting));
    if attach == Attach::Tap {
        for pod in lab.pods().iter().filter(|pod| pod.plan.side == Side::A) {
            pod.wait_for_interface(Duration::from_secs(3)).unwrap();
            pod.configure(1430).unwrap();
        }
    }
    let open = lab.pods().iter().find(|pod| pod.plan.full_name() == OPEN).unwrap();
    for (when, make) in [("without a state directory", false), ("with an empty state directory", true)] {
        if make {
            std::fs::create_dir(&state).unwrap();
        }
        let watch = Watch::over(&lab, OPEN);
        knock(&lab, when, OPEN);
        outside_is_shut_out(&lab, when);
        watch.assert_silence(when, open, false);
        let now = status(&lab, Side::A).state;
        assert_eq!(now.generation, 0, "{when}: {now:?}");
        let named = now.problems.iter().any(|problem| problem.contains(&*state.to_string_lossy()));
        assert!(named, "{when}: the problems do not name the directory: {:?}", now.problems);
    }
    assert!(drops(&lab, Side::A, "starting") > 0, "{:?}", status(&lab, Side::A).drops);
    std::fs::remove_dir(&state).unwrap();
    std::fs::rename(&aside, &state).unwrap();
    must(lab.wait_for_generation(Side::A, 1, Duration::from_secs(5)));
    it_works(&lab, "with the first generation");
    support::assert_books_balance(&lab, Side::A);
}

#[test]
fn nothing_passes_before_the_first_generation_from_a_tap() {
    nothing_passes_before_the_first_generation(Attach::Tap);
}

#[test]
fn nothing_passes_before_the_first_generation_from_a_veth() {
    nothing_passes_before_the_first_generation(Attach::Veth);
}
