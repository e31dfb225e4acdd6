//! A second weir on one port of a network namespace is refused, wherever its files are, and is told who has it; the first
//! one does not notice. Of two that are started at once one runs. So is a weir beside another program on the port.

mod support;

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use dataplane::control::{self, Request};
use dataplane::sys::process::{self, Signal};
use harness::lab::plan::{Family, PodPlan, Side};
use harness::lab::{Lab, NodeKind};
use harness::traffic::udp;
use support::{WEIR, build, lab, must, text, turn, wait_until};

fn pods() -> Vec<PodPlan> {
    vec![
        PodPlan::new(Side::A, 10, "shop", "near", ("app", "near")),
        PodPlan::new(Side::B, 10, "shop", "far", ("app", "far")),
    ]
}

/// What starts a weir beside node A's or in its place, with its configuration but for the socket, which is in
/// `directory`, the attachments and the lock directory.
fn another(lab: &Lab, directory: &Path, lock: &Path) -> Command {
    let first = lab.weir(Side::A).unwrap();
    let config = std::fs::read_to_string(first.config()).unwrap();
    let (config, _) = config.split_once("attachments:").unwrap();
    let socket = directory.join("second.sock");
    let config = config.replace(&*first.socket().to_string_lossy(), &socket.to_string_lossy());
    let file = directory.join("second.yaml");
    std::fs::write(&file, format!("{config}lock: {}\n", lock.display())).unwrap();
    let mut command = Command::new(WEIR);
    command.arg("run").arg("--config").arg(&file);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    process::run_in(&mut command, lab.topology().node(Side::A).netns()).unwrap();
    command
}

/// Runs a weir beside node A's to its end.
fn second(lab: &Lab, lock: &Path) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let mut child = another(lab, directory.path(), lock).spawn().unwrap();
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
    let lab = build(lab().nodes([NodeKind::Weir; 2]).pods(pods()).policies(&[]));
    let first = lab.weir(Side::A).unwrap();
    let pid = first.pid().unwrap();
    let to = SocketAddr::new(must(lab.pod("shop/far")).address(Family::V4), 53);
    let flow = udp::EchoFlow::start(&must(lab.pod("shop/near")).netns, to, Duration::from_millis(1)).unwrap();

    let elsewhere = tempfile::tempdir().unwrap();
    for lock in [first.socket().parent().unwrap(), elsewhere.path()] {
        let refused = second(&lab, lock);
        let said = text(&refused);
        println!("{said}");
        assert_eq!(refused.status.code(), Some(2), "{said}");
        for word in ["8472", &format!("pid {pid}"), "network namespace", "underlay.port"] {
            assert!(said.contains(word), "{word}: {said}");
        }
    }

    std::thread::sleep(Duration::from_millis(100));
    let tally = flow.finish();
    assert!(tally.sent > 20 && tally.lost() == 0, "{tally:?}");
    let status = support::status(&lab, Side::A);
    assert_eq!((first.pid(), status.pods.len()), (Some(pid), 1));
    assert!(!status.gateway.interface.is_empty());
}

#[test]
fn a_weir_beside_another_program_on_the_port_is_refused() {
    let Some(_turn) = turn() else { return };
    let lab = build(lab().start(false).pods(pods()).policies(&[]));
    let at = SocketAddr::new(Side::A.underlay_v4().into(), 8472);
    let _other = lab.topology().node(Side::A).netns().run(|| UdpSocket::bind(at)).unwrap().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let refused = second(&lab, directory.path());
    let said = text(&refused);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    for word in ["8472", "in use"] {
        assert!(said.contains(word), "{word}: {said}");
    }
}

#[test]
fn of_two_weirs_that_are_started_at_once_one_runs_and_the_other_says_which() {
    let Some(_turn) = turn() else { return };
    let lab = build(lab().start(false).pods(pods()).policies(&[]));
    for round in 0..20 {
        let directories = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let mut commands =
            directories.each_ref().map(|directory| another(&lab, directory.path(), directory.path()));
        let mut children = commands.each_mut().map(|command| command.spawn().unwrap());
        wait_until("one of them to end", Duration::from_secs(10), || {
            children.iter_mut().any(|child| child.try_wait().unwrap().is_some())
        });
        let [one, other] = children;
        let (ended, mut runs, directory) = {
            let [mut one, mut other] = [one, other];
            match (one.try_wait().unwrap(), other.try_wait().unwrap()) {
                (Some(_), None) => (one, other, &directories[1]),
                (None, Some(_)) => (other, one, &directories[0]),
                both => panic!("round {round}: {both:?}"),
            }
        };
        let socket = directory.path().join("second.sock");
        wait_until("the other to serve", Duration::from_secs(10), || {
            control::call(&socket, &Request::Status {}).is_ok()
        });
        assert!(runs.try_wait().unwrap().is_none(), "round {round}: both have ended");
        let refused = ended.wait_with_output().unwrap();
        let said = text(&refused);
        assert_eq!(refused.status.code(), Some(2), "round {round}: {said}");
        assert!(
            said.contains(&format!("another weir (pid {}) is running", runs.id())),
            "round {round}: {said}"
        );
        process::signal(runs.id(), Signal::Terminate).unwrap();
        let ended = runs.wait_with_output().unwrap();
        assert!(ended.status.success(), "round {round}: {}", text(&ended));
    }
}
