//! A thousand attach/detach cycles of one pod cost the others no packet.

mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dataplane::config::{Attachment, AttachmentKind, AttachmentRequest};
use dataplane::control::{AttachmentState, DetachTarget, Request};
use harness::lab::plan::{Family, PodPlan, Side};
use harness::lab::{Attach, Lab, NodeKind};
use harness::traffic::{Reach, ping, udp};
use support::{build, lab, must, turn_alone};

const CYCLES: u32 = 1000;
const CYCLED: &str = "shop/cycled";

fn attachment(lab: &Lab, attach: Attach) -> Attachment {
    let pod = lab.pods().iter().find(|pod| pod.plan.full_name() == CYCLED).unwrap();
    let netns = format!("/run/netns/{}", pod.netns.name()).into();
    let (kind, interface, netns) = match attach {
        Attach::Tap => (AttachmentKind::Tap, "eth0".to_owned(), Some(netns)),
        Attach::Veth => (AttachmentKind::AfPacket, pod.host_link(), None),
    };
    Attachment::try_from(AttachmentRequest {
        pod: CYCLED.to_owned(),
        kind,
        interface,
        netns,
        create: None,
        mac: None,
    })
    .unwrap()
}

fn cycles_do_not_touch_others(attach: Attach) {
    let Some(_turn) = turn_alone() else { return };
    let pods = vec![
        PodPlan::new(Side::A, 10, "shop", "cycled", ("app", "cycled")),
        PodPlan::new(Side::A, 20, "other", "client", ("app", "client")),
        PodPlan::new(Side::A, 21, "other", "local", ("app", "server")),
        PodPlan::new(Side::B, 20, "other", "remote", ("app", "server")),
    ];
    let lab = build(lab().nodes([NodeKind::Weir, NodeKind::Kernel]).attach(attach).pods(pods).policies(&[]));
    let client = must(lab.pod("other/client"));
    let flow = |to: &str, family| {
        let to = SocketAddr::new(must(lab.pod(to)).address(family), 53);
        udp::EchoFlow::start(&client.netns, to, Duration::from_millis(1)).unwrap()
    };
    let flows = [
        ("within the node, IPv4", flow("other/local", Family::V4)),
        ("across the nodes, IPv6", flow("other/remote", Family::V6)),
    ];
    let weir = lab.weir(Side::A).unwrap();
    let again = attachment(&lab, attach);
    let start = Instant::now();
    let mut longest = Duration::ZERO;
    for _ in 0..CYCLES {
        let cycle = Instant::now();
        must(weir.call(&Request::Detach(DetachTarget::Pod(CYCLED.parse().unwrap()))));
        must(weir.call(&Request::Attach(again.clone())));
        longest = longest.max(cycle.elapsed());
    }
    let elapsed = start.elapsed();
    println!("{CYCLES} cycles in {elapsed:?}, the longest {longest:?}");
    let log = weir.log();
    let attached = log.lines().filter(|line| line.contains(CYCLED) && line.contains("attached")).count();
    assert!(attached >= CYCLES as usize, "an attachment that only waits shows nothing: {attached}");
    for (name, flow) in flows {
        let tally = flow.finish();
        println!("{name}: {} sent, {} lost", tally.sent, tally.lost());
        assert_eq!((tally.lost(), tally.refused), (0, 0), "{name}: {tally:?}");
        assert!(tally.sent > 1000, "{name}: too little to show anything: {tally:?}");
    }
    the_cycled_pod_talks_again(&lab, attach);
    support::assert_books_balance(&lab, Side::A);
}

fn the_cycled_pod_talks_again(lab: &Lab, attach: Attach) {
    must(lab.wait_for(Side::A, Duration::from_secs(3), "the cycled pod to be attached", |status| {
        let pod = status.pods.iter().find(|pod| pod.name == CYCLED);
        pod.is_some_and(|pod| pod.attachment == Some(AttachmentState::Attached))
    }));
    if attach == Attach::Tap {
        // A TAP came anew with every cycle; weir gave it addresses, the lab its usual MTU.
        let pod = lab.pods().iter().find(|pod| pod.plan.full_name() == CYCLED).unwrap();
        pod.wait_for_interface(Duration::from_secs(1)).unwrap();
        pod.configure(1430).unwrap();
    }
    let cycled = must(lab.pod(CYCLED));
    for family in Family::ALL {
        for to in ["other/local", "other/remote"] {
            let to = must(lab.pod(to)).address(family);
            let reach = ping::probe(&cycled.netns, to, 56, Duration::from_secs(3)).unwrap();
            assert_eq!(reach, Reach::Open, "{to}");
        }
    }
}

#[test]
fn a_thousand_cycles_of_a_tap_lose_no_packet_of_others() {
    cycles_do_not_touch_others(Attach::Tap);
}

#[test]
fn a_thousand_cycles_of_a_veth_lose_no_packet_of_others() {
    cycles_do_not_touch_others(Attach::Veth);
}
