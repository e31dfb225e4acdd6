//! An `ipBlock` with an `except` on hosts outside the cluster, in both directions, over IPv4 and IPv6: the block
//! passes, its exception and what lies beside the ports do not.

mod support;

use std::time::Duration;

use harness::lab::plan::{Family, Side};
use harness::lab::scenario::{Service, once};
use harness::lab::{Attach, Lab, NodeKind};
use harness::traffic::Reach;
use support::{build, lab, must, turn};

const PATIENCE: Duration = Duration::from_secs(3);
const SILENCE: Duration = Duration::from_millis(700);

fn assert_open(lab: &Lab, src: &str, dst: &str, family: Family, service: Service) {
    let (from, to) = (must(lab.pod(src)), must(lab.pod(dst)).address(family));
    let reach = once(&from.netns, to, service, PATIENCE).unwrap();
    assert_eq!(reach, Reach::Open, "{src} -> {dst} ({to}), {service}");
}

fn assert_closed(lab: &Lab, src: &str, dst: &str, family: Family, service: Service) {
    let (from, to) = (must(lab.pod(src)), must(lab.pod(dst)).address(family));
    let reach = once(&from.netns, to, service, SILENCE).unwrap();
    assert_eq!(reach, Reach::Silent, "{src} -> {dst} ({to}), {service}");
}

fn the_block_passes_and_its_exception_does_not(attach: Attach) {
    let Some(_turn) = turn() else { return };
    let lab = build(lab().nodes([NodeKind::Weir; 2]).attach(attach));
    for family in Family::ALL {
        for frontend in ["shop/frontend", "shop/frontend-2"] {
            for (src, dst, excepted) in [
                (frontend, "outside", false),
                ("outside", frontend, false),
                (frontend, "outside-blocked", true),
                ("outside-blocked", frontend, true),
            ] {
                if excepted {
                    assert_closed(&lab, src, dst, family, Service::Tcp(8080));
                } else {
                    assert_open(&lab, src, dst, family, Service::Tcp(8080));
                }
                // The rule is for one port, and a rule with ports is for no ICMP.
                assert_closed(&lab, src, dst, family, Service::Tcp(9090));
                assert_closed(&lab, src, dst, family, Service::Ping);
            }
        }
        // Another pod of the namespace has no such rule; a pod without policies reaches both hosts.
        assert_closed(&lab, "shop/backend-2", "outside", family, Service::Tcp(8080));
        assert_closed(&lab, "outside", "shop/backend-2", family, Service::Tcp(8080));
        assert_open(&lab, "default/intruder", "outside-blocked", family, Service::Tcp(9090));
        assert_open(&lab, "outside-blocked", "default/intruder", family, Service::Ping);
    }
    for side in Side::ALL {
        let status = support::status(&lab, side);
        for (direction, excepted) in [("egress", "198.51.100.66"), ("ingress", "2001:db8:51::42")] {
            let denied = status.denials.iter().any(|denial| {
                denial.direction == direction
                    && (denial.src.contains(excepted) || denial.dst.contains(excepted))
                    && denial.policies.iter().any(|policy| policy == "shop/frontend-outside")
            });
            assert!(denied, "{}: no {direction} denial of {excepted}: {:#?}", side.name(), status.denials);
        }
        support::assert_books_balance(&lab, side);
    }
}

#[test]
fn the_block_passes_and_its_exception_does_not_through_taps() {
    the_block_passes_and_its_exception_does_not(Attach::Tap);
}

#[test]
fn the_block_passes_and_its_exception_does_not_through_veths() {
    the_block_passes_and_its_exception_does_not(Attach::Veth);
}
