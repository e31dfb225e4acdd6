//! A second weir on one port is refused, by the lock file and, with another lock directory, by the kernel; the
//! first one does not notice.

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use dataplane::sys::process;
use harness::lab::plan::{Family, PodPlan, Side};
use harness::lab::{Lab, NodeKind};
use harness::traffic::udp;
use support::{WEIR, build, lab, must, text, turn};

/// Runs a weir beside node A's, with its configuration but for the socket, the attachments and the lock directory.
fn second(lab: &Lab, lock: &Path) -> Output {
    let first = lab.weir(Side::A).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let config = std::fs::read_to_string(first.config()).unwrap();
    let (config, _) = config.split_once("attachments:").unwrap();
    let socket = directory.path().join("second.sock");
    let config = config.replace(&*first.socket().to_string_lossy(), &socket.to_string_lossy());
    let file = directory.path().join("second.yaml");
    std::fs::write(&file, format!("{config}lock: {}\n", lock.display())).unwrap();
    let mut command = Command::new(WEIR);
    command.arg("run").arg("--config").arg(&file);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    process::run_in(&mut command, lab.topology().node(Side::A).netns()).unwrap();
    let mut child = command.spawn().unwrap();
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > Duration::from_secs(5) {
            child.kill().unwrap();
            panic!("the second weir runs: {}", text(&child.wait_with_output().unwrap()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.wait_with_output().unwrap()
}

#[test]
fn a_second_weir_on_one_port_is_refused_and_the_first_does_not_notice() {
    let Some(_turn) = turn() else { return };
    let pods = vec![
        PodPlan::new(Side::A, 10, "shop", "near", ("app", "near")),
        PodPlan::new(Side::B, 10, "shop", "far", ("app", "far")),
    ];
    let lab = build(lab().nodes([NodeKind::Weir; 2]).pods(pods).policies(&[]));
    let first = lab.weir(Side::A).unwrap();
    let pid = first.pid().unwrap();
    let to = SocketAddr::new(must(lab.pod("shop/far")).address(Family::V4), 53);
    let flow = udp::EchoFlow::start(&must(lab.pod("shop/near")).netns, to, Duration::from_millis(1)).unwrap();

    let locked = second(&lab, first.socket().parent().unwrap());
    let said = text(&locked);
    println!("{said}");
    assert_eq!(locked.status.code(), Some(2), "{said}");
    for word in ["8472", &pid.to_string(), "lock"] {
        assert!(said.contains(word), "{word}: {said}");
    }

    let elsewhere = tempfile::tempdir().unwrap();
    let bound = second(&lab, elsewhere.path());
    let said = text(&bound);
    println!("{said}");
    assert_eq!(bound.status.code(), Some(2), "{said}");
    for word in ["8472", "in use"] {
        assert!(said.contains(word), "{word}: {said}");
    }

    let tally = flow.finish();
    assert!(tally.sent > 20 && tally.lost() == 0, "{tally:?}");
    let status = support::status(&lab, Side::A);
    assert_eq!((first.pid(), status.pods.len()), (Some(pid), 1));
    assert!(!status.gateway.interface.is_empty());
}
