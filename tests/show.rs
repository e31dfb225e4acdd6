//! `weir show` of a running daemon: what its stages take while packets pass, timed only as long as somebody looks, and
//! the parts of its status one by one.

mod support;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use dataplane::control::{PodStatus, PortStatus, Reply, Request, StageReport, Stages};
use harness::lab::plan::{Family, PodPlan, Side};
use harness::lab::{Attach, Lab, NodeKind};
use harness::traffic::udp;
use support::{WEIR, build, lab, must, status, text, turn, wait_until, weir};

fn asked(lab: &Lab, milliseconds: u64) -> Stages {
    let reply = must(lab.weir(Side::A).unwrap().call(&Request::Stages { milliseconds }));
    let Reply::Stages(stages) = reply else { panic!("{reply:?}") };
    *stages
}

/// Packets that came to stages and packets that came to the workers, so far.
fn counted(lab: &Lab) -> (u64, u64) {
    let stages = asked(lab, 0);
    let of_stages = stages.workers.iter().flat_map(|worker| &worker.stages).map(|stage| stage.packets).sum();
    (of_stages, stages.workers.iter().map(|worker| worker.received).sum())
}

/// Waits until packets pass and none of them is counted by a stage.
fn wait_until_nobody_looks(lab: &Lab) {
    wait_until("the timing to end", Duration::from_secs(10), || {
        let (before, passed) = counted(lab);
        wait_until("packets", Duration::from_secs(5), || counted(lab).1 > passed + 20);
        counted(lab).0 == before
    });
}

fn show(socket: &Path, arguments: &[&str]) -> String {
    let socket = socket.to_str().unwrap();
    let output = weir(&[&["show"], arguments, &["--socket", socket]].concat());
    assert!(output.status.success(), "{}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn stages_are_timed_while_somebody_looks_and_no_longer() {
    let Some(_turn) = turn() else { return };
    let pods = vec![
        PodPlan::new(Side::A, 10, "shop", "near", ("app", "near")),
        PodPlan::new(Side::B, 12, "shop", "far", ("app", "far")),
    ];
    let lab =
        build(lab().nodes([NodeKind::Weir, NodeKind::Kernel]).attach(Attach::Tap).pods(pods).policies(&[]));
    let (near, far) = (must(lab.pod("shop/near")), must(lab.pod("shop/far")));
    let to = SocketAddr::new(far.address(Family::V4), 53);
    let _flow = udp::EchoFlow::start(&near.netns, to, Duration::from_millis(1)).unwrap();
    let socket = lab.weir(Side::A).unwrap().socket();
    wait_until("packets", Duration::from_secs(5), || status(&lab, Side::A).packets.forwarded > 100);
    assert_eq!(counted(&lab).0, 0, "nobody has looked yet");

    let report: StageReport =
        serde_json::from_str(&show(&socket, &["stages", "-o", "json", "--interval", "0.5"])).unwrap();
    assert_eq!(report.node, "node-a");
    assert!((0.4..5.0).contains(&report.seconds), "{report:?}");
    let status = status(&lab, Side::A);
    assert_eq!(report.workers.len(), status.workers.len());
    assert!(status.flow_cache.hits > 0 && status.flow_cache.misses > 0, "{:?}", status.flow_cache);
    let stage = |name: &str| {
        let stages = report.workers.iter().flat_map(|worker| &worker.stages);
        let (packets, times): (u64, Vec<f64>) =
            stages.filter(|row| row.stage == name).fold((0, Vec::new()), |(packets, mut times), row| {
                assert!(row.packets_per_batch.is_some_and(|fill| fill >= 1.0), "{row:?}");
                times.extend(row.nanoseconds_per_packet);
                (packets + row.packets, times)
            });
        (packets, times.iter().all(|time| *time > 0.0) && !times.is_empty())
    };
    for name in ["receive", "look", "known", "send"] {
        let (packets, timed) = stage(name);
        assert!(packets > 20 && timed, "{name}: {report:?}");
    }
    assert!(report.workers.iter().map(|worker| worker.flow_hits).sum::<u64>() > 20);
    wait_until_nobody_looks(&lab);

    let mut watch = Command::new(WEIR)
        .args(["show", "stages", "--watch", "--interval", "0.2", "-o", "jsonl", "--socket"])
        .arg(&socket)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    for _ in 0..3 {
        let report: StageReport = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        let receive =
            report.workers.iter().flat_map(|worker| &worker.stages).find(|row| row.stage == "receive");
        assert!(receive.is_some_and(|row| row.packets > 0), "{report:?}");
    }
    watch.kill().unwrap();
    watch.wait().unwrap();
    wait_until_nobody_looks(&lab);

    let refused = lab.weir(Side::A).unwrap().call(&Request::Stages { milliseconds: 120_001 });
    assert!(refused.is_err_and(|error| error.to_string().contains("at most 120000 milliseconds")));
}

#[test]
fn each_part_of_the_status_is_shown_by_itself() {
    let Some(_turn) = turn() else { return };
    let pods = vec![PodPlan::new(Side::A, 10, "shop", "near", ("app", "near"))];
    let lab = build(lab().nodes([NodeKind::Weir, NodeKind::Kernel]).pods(pods).policies(&[]));
    let socket = lab.weir(Side::A).unwrap().socket();
    let lines = show(&socket, &["ports", "-o", "jsonl"]);
    let ports: Vec<PortStatus> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(ports.len(), 3, "{ports:?}");
    let pods: Vec<PodStatus> = serde_json::from_str(&show(&socket, &["pods", "-o", "json"])).unwrap();
    assert_eq!(pods.iter().map(|pod| &pod.name[..]).collect::<Vec<_>>(), ["shop/near"]);
    assert_eq!(show(&socket, &["denials"]), "none\n");
    assert!(show(&socket, &["peers"]).contains("node-b"));
    assert!(show(&socket, &["workers"]).contains("weir-worker-0"));
    assert!(show(&socket, &["stages", "--interval", "0.1"]).contains("weir-worker-0: "));
    show(&socket, &["drops", "-o", "yaml"]);
}
