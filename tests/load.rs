//! `weir load` and `weir bench rfc2544` on a real device: the kernel's bridge between interfaces.
//!
//! ```text
//!  tester ── near ═ veth ═ one ─┐
//!                               bridge          two network namespaces
//!  tester ── far  ═ veth ═ two ─┤
//!  tester ── aside ═ veth ═ three
//! ```
//! Figures are not judged here, sums are.

mod support;

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use dataplane::sys::netlink::{Netlink, Route};
use dataplane::sys::netns::Netns;
use dataplane::sys::process::{Signal, signal};
use harness::report::{Run, directory};
use serde_json::Value;
use support::{WEIR, text, turn_alone, weir};

/// A tester with three interfaces and the bridge between them; gone when dropped.
struct Bridge {
    names: [String; 2],
    tester: Netns,
}

impl Bridge {
    fn build(name: &str) -> Self {
        let names =
            ["tester", "device"].map(|part| format!("weir-load-{}-{name}-{part}", std::process::id()));
        let [tester, device] = [0, 1].map(|place: usize| Netns::create(&names[place]).unwrap());
        let made = device.run(|| {
            let netlink = Netlink::open().unwrap();
            netlink.add_bridge("bridge").unwrap();
            for (own, other) in [("one", "near"), ("two", "far"), ("three", "aside")] {
                netlink.add_veth(own, other, Some(&tester)).unwrap();
            }
            let bridge = netlink.link("bridge").unwrap().unwrap().index;
            for own in ["one", "two", "three"] {
                let index = netlink.link(own).unwrap().unwrap().index;
                netlink.set_master(index, Some(bridge)).unwrap();
                netlink.set_up(index, true).unwrap();
            }
            netlink.set_up(bridge, true).unwrap();
        });
        made.unwrap();
        tester
            .run(|| {
                let netlink = Netlink::open().unwrap();
                for name in ["near", "far", "aside", "lo"] {
                    let index = netlink.link(name).unwrap().unwrap().index;
                    netlink.set_up(index, true).unwrap();
                }
            })
            .unwrap();
        // Ports of a bridge forward once they have noticed their carrier.
        std::thread::sleep(Duration::from_millis(300));
        Self { names, tester }
    }

    fn weir(&self, arguments: &[&str]) -> Output {
        self.tester.run(|| weir(arguments)).unwrap()
    }

    fn has_drop(&self, interface: &str) -> bool {
        self.tester
            .run(|| {
                let netlink = Netlink::open().unwrap();
                let index = netlink.link(interface).unwrap().unwrap().index;
                netlink.has_ingress_drop(index).unwrap()
            })
            .unwrap()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = Netns::delete(name);
        }
    }
}

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
        let base = [
            "load",
            "--to",
            "near",
            "--listen",
            "far",
            "--rate",
            "20kpps",
            "--duration",
            "0.3",
            "-o",
            "json",
        ];
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

#[test]
fn the_profile_measures_a_bridge_and_its_books_add_up() {
    let Some(_turn) = turn_alone() else { return };
    let bridge = Bridge::build("rfc");
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("run");
    let out_text = out.to_str().unwrap();
    let output = bridge.weir(&[
        "bench",
        "rfc2544",
        "--quick",
        "--tx",
        "near",
        "--rx",
        "far",
        "--size",
        "64",
        "--duration",
        "0.1",
        "--no-connections",
        "--monitor",
        "aside",
        "-o",
        "json",
        "--out",
        out_text,
    ]);
    assert!(output.status.success(), "{}", text(&output));
    let printed: Run = serde_json::from_slice(&output.stdout).unwrap();
    let run = directory::read(&out).unwrap();
    assert_eq!(printed, run);
    assert!(run.adds_up() && run.notes.iter().any(|note| note.starts_with("Not conformant")));
    let flood = run.books.iter().find(|book| book.group == "64 bytes, flood").unwrap();
    assert!(flood.offered > 0 && flood.received > 0 && flood.excess == 0, "{flood:?}");
    assert!(run.find("throughput", "64 bytes", "PDR").is_some(), "{:?}", run.series);
    assert!(run.curves.iter().any(|curve| curve.group == "64 bytes, frame loss rate"));
    let held = run.find("address learning", "device", "addresses held");
    let held = held.unwrap_or_else(|| panic!("{:?}", run.notes));
    assert!(held.rounds[0] > 0.0, "a bridge of the kernel learns: {held:?}");
    assert!(std::fs::read_to_string(out.join("report.html")).unwrap().contains("<svg"));
    assert!(!bridge.has_drop("far") && !bridge.has_drop("aside"));
}

#[test]
fn the_profile_in_memory_has_every_figure_and_says_what_it_is() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("run");
    let base = ["bench", "rfc2544", "--quick", "--memory", "--size", "128", "--policies", "10", "--out"];
    let output = weir(&[&base[..], &[out.to_str().unwrap(), "-o", "json"]].concat());
    assert!(output.status.success(), "{}", text(&output));
    let run = directory::read(&out).unwrap();
    assert!(run.title.contains("not conformant: weir's pipeline in memory, encap"), "{}", run.title);
    for (group, quantity) in [
        ("throughput", "PDR"),
        ("throughput", "PDR, upper load"),
        ("back-to-back", "longest burst"),
        ("connection rate", "PDR"),
    ] {
        let series = run.find(group, "128 bytes", quantity);
        let series = series.unwrap_or_else(|| panic!("{group}: {quantity}"));
        assert!(series.rounds.iter().all(|round| *round > 0.0), "{series:?}");
    }
    assert!(run.adds_up() && run.books.iter().all(|book| book.lost == 0), "every drop has a name");
    let drops = run.books.iter().flat_map(|book| &book.dropped);
    assert!(drops.into_iter().all(|(reason, _)| reason == "queue_full"));
    assert!(run.notes.iter().any(|note| note.starts_with("In memory")));
    let refused = weir(&["bench", "rfc2544", "--memory", "--ipv6"]);
    assert!(refused.status.code() == Some(2) && text(&refused).contains("--ipv6"), "{}", text(&refused));
}

#[test]
fn denied_traffic_is_no_loss_where_it_is_denied_and_a_failure_where_it_is_not() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("run");
    let base = ["bench", "rfc2544", "--quick", "--size", "128", "--no-connections", "--out"];
    let memory = ["--memory", "--policies", "10", "--denied", "0.2", "--flows", "50"];
    let output = weir(&[&base[..], &[out.to_str().unwrap()], &memory].concat());
    assert!(output.status.success(), "{}", text(&output));
    let run = directory::read(&out).unwrap();
    assert!(run.adds_up() && run.books.iter().all(|book| book.lost == 0));
    let flood = run.books.iter().find(|book| book.group == "128 bytes, flood").unwrap();
    let percent = flood.dropped["policy_deny"] * 100 / flood.offered;
    assert!((15..25).contains(&percent), "{flood:?}");
    let ndr = run.find("throughput", "128 bytes", "PDR").unwrap();
    assert!(ndr.rounds[0] > 0.0, "{:?}", run.notes);
    assert!(run.notes.iter().any(|note| note.starts_with("20.0 % of the frames were meant to be denied.")));

    let Some(_turn) = turn_alone() else { return };
    let bridge = Bridge::build("leak");
    let out = place.path().join("leak");
    let pair = ["--tx", "near", "--rx", "far", "--denied", "0.2", "--duration", "0.1"];
    let output = bridge.weir(&[&base[..], &[out.to_str().unwrap()], &pair].concat());
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("the device lets them pass"), "{}", text(&output));
    assert!(directory::read(&out).unwrap().adds_up());
}

#[test]
fn the_profile_measures_frames_in_a_tunnel() {
    let Some(_turn) = turn_alone() else { return };
    let bridge = Bridge::build("vxlan");
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("run");
    let base = "bench rfc2544 --quick --tx near --rx far --trial-seconds 0.1 --no-connections --size 64,1518 --vxlan \
                --from-vtep 192.0.2.2 --to-vtep 192.0.2.1 --inner-dst-mac 02:00:00:00:00:0a --out";
    let arguments: Vec<&str> = base.split_whitespace().chain(out.to_str()).collect();
    let output = bridge.weir(&arguments);
    assert!(output.status.success(), "{}", text(&output));
    let run = directory::read(&out).unwrap();
    assert!(run.adds_up());
    assert!(run.books.iter().any(|book| book.group == "64 bytes, flood" && book.received > 0));
    let fits = run.notes.iter().any(|note| note.starts_with("1518 bytes became 1468"));
    assert!(fits, "the tunnel's headers take their place: {:?}", run.notes);
}

#[test]
fn an_interrupted_profile_keeps_what_it_measured() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("run");
    let mut command = Command::new(WEIR);
    command
        .args(["bench", "rfc2544", "--memory", "--duration", "0.2", "--policies", "10", "--out"])
        .arg(&out);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(3));
    signal(child.id(), Signal::Terminate).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output));
    if text(&output).contains("before anything was measured") {
        println!("skipped: the machine is too busy to have measured anything in three seconds");
        return;
    }
    let run = directory::read(&out).unwrap();
    assert!(run.interrupted && run.adds_up() && !run.books.is_empty());
}
