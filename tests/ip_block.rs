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

/// One question and its answer.
type Question<'a> = (&'a str, &'a str, Family, Service, bool);

fn questions() -> Vec<Question<'static>> {
    let mut questions = Vec::new();
    for family in Family::ALL {
        for frontend in ["shop/frontend", "shop/frontend-2"] {
            for (src, dst, is_in_block) in [
                (frontend, "outside", true),
                ("outside", frontend, true),
                (frontend, "outside-blocked", false),
                ("outside-blocked", frontend, false),
            ] {
                questions.push((src, dst, family, Service::Tcp(8080), is_in_block));
                // The rule is for one port, and a rule with ports is for no ICMP.
                questions.push((src, dst, family, Service::Tcp(9090), false));
                questions.push((src, dst, family, Service::Ping, false));
            }
        }
        // Another pod of the namespace has no such rule; a pod without policies reaches both hosts.
        questions.push(("shop/backend-2", "outside", family, Service::Tcp(8080), false));
        questions.push(("outside", "shop/backend-2", family, Service::Tcp(8080), false));
        questions.push(("default/intruder", "outside-blocked", family, Service::Tcp(9090), true));
        questions.push(("outside-blocked", "default/intruder", family, Service::Ping, true));
    }
    questions
}

fn ask(lab: &Lab, (src, dst, family, service, is_open): Question<'_>) {
    let (from, to) = (must(lab.pod(src)), must(lab.pod(dst)).address(family));
    let reach = once(&from.netns, to, service, if is_open { PATIENCE } else { SILENCE }).unwrap();
    let expected = if is_open { Reach::Open } else { Reach::Silent };
    assert_eq!(reach, expected, "{src} -> {dst} ({to}), {service}");
}

fn the_block_passes_and_its_exception_does_not(attach: Attach) {
    let Some(_turn) = turn() else { return };
    let lab = build(lab().nodes([NodeKind::Weir; 2]).attach(attach));
    std::thread::scope(|scope| {
        for question in questions() {
            let lab = &lab;
            scope.spawn(move || ask(lab, question));
        }
    });
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
