//! Frames that are sent and come back, and TCP that asks and is answered.

use dataplane::sys::netlink::{Netlink, Route};
use serde_json::Value;

use super::Bridge;
use super::support::{text, turn_alone, weir};

fn number(value: &Value, path: &str) -> u64 {
    value.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("{path}: {value:#}"))
}

#[test]
fn what_is_sent_over_a_bridge_comes_back_and_every_frame_is_accounted_for() {
    let Some(_turn) = turn_alone() else { return };
    let bridge = Bridge::build("sum");
    for more in [
        &["--imix", "--flows", "100", "--zipf", "1.1"][..],
        &["--ipv6", "--size", "512", "--new-flows", "1000"],
        &["--random-flows", "--denied", "0.5"],
    ] {
        let base = "load --to near --listen far --rate 20kpps --duration 0.3 -o json";
        let base: Vec<&str> = base.split(' ').collect();
        let output = bridge.weir(&[&base[..], more].concat());
        assert!(output.status.success(), "{}", text(&output));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let offered = number(&report, "/offered/sent");
        let left_out = number(&report, "/offered/left_out");
        assert!(offered > 0 && offered + left_out <= 10_000, "{report:#}");
        assert!(number(&report, "/interface_sent") >= offered, "{report:#}");
        let book = report.pointer("/arrived/book").unwrap();
        let dropped: u64 = book["dropped"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
        let ends = number(book, "/received") + dropped + number(book, "/lost");
        assert_eq!(offered + number(book, "/excess"), ends, "{report:#}");
        assert!(number(book, "/received") > offered / 2, "{report:#}");
        assert_eq!(number(&report, "/arrived/duplicated"), 0);
        let lost_probes = number(&report, "/arrived/latency/lost");
        assert_eq!(number(&report, "/arrived/latency/count") + lost_probes, offered);
        assert_eq!(number(&report, "/arrived/denied") > 0, more.contains(&"--denied"));
    }
    assert!(!bridge.has_drop("far"), "the listening interface is as it was");
}

#[test]
fn frames_leave_a_tunnel_and_a_flood_as_they_were_asked_for() {
    let Some(_turn) = turn_alone() else { return };
    let bridge = Bridge::build("kind");
    let mac = ["--dst-mac", "02:00:00:00:00:02", "--rate", "max", "--duration", "0.2", "--to", "near"];
    let tunnel =
        "--vxlan --vni 7 --from-vtep 192.0.2.2 --to-vtep 192.0.2.1 --inner-dst-mac 02:00:00:00:00:0a";
    let tunnel: Vec<&str> = tunnel.split(' ').chain(["--listen", "far"]).collect();
    let output = bridge.weir(&[&["load"], &mac[..], &tunnel[..], &["-o", "json"]].concat());
    assert!(output.status.success(), "{}", text(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(number(&report, "/arrived/book/received") > 100, "a stamp is found in a tunnel: {report:#}");
    let output = bridge.weir(&[&["load"], &mac[..], &["--syn-flood", "--src", "198.18.0.0/16"]].concat());
    assert!(output.status.success() && text(&output).contains("packets in 0.2"), "{}", text(&output));
    let output = bridge.weir(&[&["load"], &mac[..], &tunnel[..], &["--size", "1518"]].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("its MTU is 1500, these frames need 1550"), "{}", text(&output));
}

/// Both sums of an exchange, to the last request and the last segment.
fn adds_up(report: &Value) {
    let at = |path: &str| number(report, path);
    let ends = ["answered", "refused", "reset", "timed_out", "open"];
    let requests: u64 = ends.iter().map(|end| at(&format!("/requests/{end}"))).sum();
    assert_eq!(at("/requests/asked"), requests, "{report:#}");
    let dropped = report.pointer("/segments/dropped").and_then(Value::as_object).unwrap();
    let dropped: u64 = dropped.values().filter_map(Value::as_u64).sum();
    let segments = at("/segments/received") + dropped + at("/segments/lost");
    assert_eq!(at("/segments/offered") + at("/segments/excess"), segments, "{report:#}");
    assert_eq!(at("/response/count"), at("/requests/answered"));
}

#[test]
fn tcp_asks_and_is_answered_over_a_bridge() {
    let Some(_turn) = turn_alone() else { return };
    let bridge = Bridge::build("ask");
    let base = ["load", "--to", "near", "--listen", "far", "--request-response", "-o", "json"];
    for (more, connections) in [
        (&["--rate", "1000", "--duration", "0.5", "--connections", "8"][..], 8),
        (&["--rate", "max", "--count", "300", "--per-connection", "1", "--response", "5000"], 300),
        (&["--rate", "max", "--count", "300", "--ipv6", "--request", "4000", "--connections", "3"], 3),
    ] {
        let output = bridge.weir(&[&base[..], more].concat());
        assert!(output.status.success(), "{}", text(&output));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        adds_up(&report);
        let asked = number(&report, "/requests/asked");
        assert!(asked > 0 && number(&report, "/requests/answered") == asked, "{report:#}");
        assert!(number(&report, "/connected") <= connections, "{report:#}");
        assert_eq!(asked + number(&report, "/left_out"), if more[1] == "1000" { 500 } else { 300 });
    }
    assert!(!bridge.has_drop("near") && !bridge.has_drop("far"), "the interfaces are as they were");
    let nobody = bridge.weir(&["load", "--to", "near", "--request-response"]);
    assert!(nobody.status.code() == Some(2) && text(&nobody).contains("--listen is missing"));
}

#[test]
fn tcp_asks_through_the_pipeline_in_memory_and_denied_ports_answer_nothing() {
    let base = ["load", "--memory", "--request-response", "-o", "json", "--rate", "max"];
    let output = weir(&[&base[..], &["--count", "2000", "--per-connection", "1"]].concat());
    assert!(output.status.success(), "{}", text(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    adds_up(&report);
    assert_eq!((number(&report, "/requests/answered"), number(&report, "/connected")), (2000, 2000));
    assert_eq!(number(&report, "/segments/lost"), 0);
    let denied = [&base[..], &["--count", "2", "--connections", "2", "--dst-port", "7000"]].concat();
    let output = weir(&denied);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    adds_up(&report);
    assert_eq!(number(&report, "/requests/timed_out"), 2);
    assert_eq!(number(&report, "/segments/dropped/policy_deny"), number(&report, "/segments/offered"));
    for (wrong, words) in [
        (&["--zipf", "1"][..], "--zipf has no meaning"),
        (&["--connections", "0"], "expected 1 to 1024"),
        (&["--imix"], "cannot be used with"),
    ] {
        let output = weir(&[&base[..], wrong].concat());
        assert!(output.status.code() == Some(2) && text(&output).contains(words), "{}", text(&output));
    }
}

#[test]
fn the_interface_that_a_host_lives_by_is_refused() {
    let Some(_turn) = turn_alone() else { return };
    let bridge = Bridge::build("route");
    bridge
        .tester
        .run(|| {
            let netlink = Netlink::open().unwrap();
            let near = netlink.link("near").unwrap().unwrap().index;
            netlink.add_address(near, "192.0.2.9/24".parse().unwrap()).unwrap();
            let route = Route::to("0.0.0.0/0".parse().unwrap(), near).via([192, 0, 2, 1].into());
            netlink.add_route(&route).unwrap();
        })
        .unwrap();
    let arguments = ["load", "--to", "near", "--dst-mac", "02:00:00:00:00:02", "--duration", "0.1"];
    let output = bridge.weir(&arguments);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("near carries a default route"), "{}", text(&output));
    assert!(bridge.weir(&[&arguments[..], &["--force"]].concat()).status.success());
    let missing = bridge.weir(&["load", "--to", "far", "--duration", "0.1"]);
    assert!(text(&missing).contains("--dst-mac is missing"), "{}", text(&missing));
}
