//! The profile of RFC 2544: on the bridge, and on weir's pipeline in memory.

use std::process::{Command, Stdio};
use std::time::Duration;

use dataplane::sys::process::{Signal, signal};
use harness::report::{Run, directory};

use super::Bridge;
use super::support::{WEIR, text, turn_alone, weir};

#[test]
fn the_profile_measures_a_bridge_and_its_books_add_up() {
    let Some(_turn) = turn_alone() else { return };
    let bridge = Bridge::build("rfc");
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("run");
    let base =
        "bench rfc2544 --quick --tx near --rx far --monitor aside --size 64 --duration 0.1 --no-connections";
    let arguments: Vec<&str> = base.split(' ').chain(["-o", "json", "--out"]).chain(out.to_str()).collect();
    let output = bridge.weir(&arguments);
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
