//! A lab of plain Linux on both nodes, as flannel sets it up: everything passes, and nothing stays behind.
//!
//! This holds the lab itself to account: where weir later closes a pair, the wires are known to be good.
//! Without the right to make namespaces it says what it lacks and passes; as root under `CI=true` that fails.

use std::net::SocketAddr;
use std::time::Duration;

use dataplane::sys::netns::Netns;
use harness::lab::expect::Expectation;
use harness::lab::plan::{Family, Side};
use harness::lab::{Lab, LabError, NodeKind, scenario};
use harness::traffic::{Reach, ping, sctp, tcp, udp};

fn kernel_lab() -> Option<Lab> {
    match Lab::builder().nodes([NodeKind::Kernel; 2]).build() {
        Ok(lab) => Some(lab),
        Err(LabError::Io(error)) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "namespaces are needed under CI: {error}");
            println!("skipped: no right to make network namespaces ({error})");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn flannel_on_plain_linux_lets_every_pair_talk() {
    let Some(lab) = kernel_lab() else { return };
    let probes = scenario::all_probes(lab.ends());
    assert!(probes.len() > 500, "{}", probes.len());
    let expectation = Expectation::of(lab.state(), lab.enforces()).unwrap();
    let matrix = scenario::run(&lab, &probes, &expectation, &|_, _| {}).unwrap();
    let mismatches: Vec<String> = matrix.mismatches().map(|cell| matrix.describe(cell)).collect();
    assert!(mismatches.is_empty(), "{mismatches:#?}");
    assert!(matrix.cells.iter().all(|cell| cell.observed.is_open()));
}

#[test]
fn bulk_data_datagrams_pings_and_sctp_cross_the_nodes_unchanged() {
    let Some(lab) = kernel_lab() else { return };
    let (frontend, backend) = (lab.pod("shop/frontend").unwrap(), lab.pod("shop/backend").unwrap());
    let patience = Duration::from_secs(5);
    let _responder = sctp::Responder::start(&backend.netns, 5000).unwrap();
    for family in Family::ALL {
        let to = backend.address(family);
        let service = SocketAddr::new(to, 8080);
        let up = tcp::upload(&frontend.netns, service, 4_000_003, patience).unwrap();
        assert!(up.is_intact() && up.bytes == 4_000_003, "{up:?}");
        let down = tcp::download(&frontend.netns, service, 4_000_003, patience).unwrap();
        assert!(down.is_intact() && down.bytes == 4_000_003, "{down:?}");
        for size in [1, 1400, 1500, 8000] {
            let reach = udp::echo(&frontend.netns, SocketAddr::new(to, 53), size, patience).unwrap();
            assert_eq!(reach, Reach::Open, "{size} bytes to {to}");
        }
        assert_eq!(ping::probe(&frontend.netns, to, 3000, patience).unwrap(), Reach::Open);
        assert_eq!(
            sctp::probe(&frontend.netns, SocketAddr::new(to, 5000), 6000, patience).unwrap(),
            Reach::Open
        );
        let flow = tcp::EchoFlow::start(&frontend.netns, service, Duration::ZERO).unwrap();
        let tally =
            udp::EchoFlow::start(&frontend.netns, SocketAddr::new(to, 53), Duration::from_millis(2)).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        let tally = tally.finish();
        assert!(tally.sent > 20 && tally.lost() == 0, "{tally:?}");
        assert!(flow.returned() > 20);
    }
    assert!(
        tcp::throughput(&frontend.netns, (backend.address(Family::V4), 8080).into(), patience / 5).unwrap()
            > 1e6
    );
}

#[test]
fn a_closed_port_is_refused_and_an_unanswered_one_is_silent() {
    let Some(lab) = kernel_lab() else { return };
    let frontend = lab.pod("shop/frontend").unwrap();
    let brief = Duration::from_millis(400);
    let backend = lab.pod("shop/backend").unwrap().address(Family::V4);
    assert_eq!(tcp::probe(&frontend.netns, SocketAddr::new(backend, 1), brief).unwrap(), Reach::Refused);
    let nobody = std::net::IpAddr::from(Side::B.pod_v4(200));
    let reach = tcp::probe(&frontend.netns, SocketAddr::new(nobody, 1), brief).unwrap();
    assert!(matches!(reach, Reach::Silent | Reach::Unreachable), "{reach:?}");
}

#[test]
fn nothing_stays_behind_after_the_end_or_a_panic() {
    let Some(lab) = kernel_lab() else { return };
    let mine = lab.topology().nodes[0].name().strip_suffix("-node-a").unwrap().to_owned();
    let directory = lab.state().directory().to_owned();
    let left = || Netns::names().unwrap().into_iter().filter(|name| name.starts_with(&mine)).count();
    assert_eq!(left(), 11);
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _lab = lab;
        panic!("on purpose");
    }));
    assert!(caught.is_err());
    assert_eq!(left(), 0);
    assert!(!directory.exists());
}
