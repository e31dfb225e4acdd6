//! The promises of the control socket, over real sockets.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{
    ClientError, DEADLINE, DetachTarget, Handler, MAX_CLIENTS, MAX_REQUEST_BYTES, Reply, Request, Server,
    ServerError, Stages, Status, call, client,
};
use crate::config::Attachment;

#[derive(Default)]
struct Recorder {
    attached: Mutex<Vec<Attachment>>,
    /// What a reload takes.
    pause: Duration,
}

impl Handler for Recorder {
    fn status(&self) -> Status {
        Status { node: "node-a".into(), ..Status::default() }
    }

    fn attach(&self, attachment: Attachment) -> Result<(), String> {
        self.attached.lock().unwrap().push(attachment);
        Ok(())
    }

    fn detach(&self, target: DetachTarget) -> Result<(), String> {
        Err(format!("no attachment of {target:?}"))
    }

    fn reload(&self) -> Result<u64, String> {
        std::thread::sleep(self.pause);
        Ok(7)
    }

    fn stages(&self, lease: Duration) -> Result<Stages, String> {
        Ok(Stages { at_nanoseconds: lease.as_nanos() as u64, ..Stages::default() })
    }
}

fn start(path: &Path) -> Server {
    Server::start(path, Arc::new(Recorder::default())).unwrap()
}

fn exchange(path: &Path, line: &[u8]) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    // The server may answer, and close, before it has read all of it.
    drop(stream.write_all(line));
    let mut answer = String::new();
    drop(stream.read_to_string(&mut answer));
    answer
}

#[test]
fn requests_reach_the_handler_and_answers_the_client() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new/weir.sock");
    let handler = Arc::new(Recorder::default());
    let _server = Server::start(&path, Arc::clone(&handler) as Arc<dyn Handler>).unwrap();

    assert!(matches!(call(&path, &Request::Status {}), Ok(Reply::Status(status)) if status.node == "node-a"));
    assert!(matches!(call(&path, &Request::Reload {}), Ok(Reply::Reloaded(7))));
    let stages = Request::Stages { milliseconds: 2000 };
    assert!(
        matches!(call(&path, &stages), Ok(Reply::Stages(stages)) if stages.at_nanoseconds == 2_000_000_000)
    );
    let attach = r#"{"request":"attach","pod":"shop/frontend","kind":"af_packet","interface":"veth0"}"#;
    assert!(matches!(call(&path, &serde_json::from_str(attach).unwrap()), Ok(Reply::Attached(true))));
    assert_eq!(handler.attached.lock().unwrap().len(), 1);
    let detach = Request::Detach(DetachTarget::Interface("veth9".into()));
    assert!(matches!(call(&path, &detach), Err(ClientError::Refused(reason)) if reason.contains("veth9")));
}

#[test]
fn what_takes_long_is_waited_for_and_said_to_be_under_way_where_it_takes_longer() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weir.sock");
    let handler = Recorder { pause: DEADLINE + Duration::from_millis(500), ..Recorder::default() };
    let _server = Server::start(&path, Arc::new(handler)).unwrap();

    let patient = std::thread::spawn({
        let path = path.clone();
        move || call(&path, &Request::Reload {})
    });
    let late = client::call_within(&path, &Request::Reload {}, Duration::from_millis(250)).unwrap_err();
    assert!(
        late.to_string().contains("no answer within 0.25 seconds; what was asked for may still"),
        "{late}"
    );
    let answer = patient.join().unwrap();
    assert!(matches!(answer, Ok(Reply::Reloaded(7))), "{answer:?}");
}

#[test]
fn only_the_owner_may_open_the_socket_and_the_directory_made_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new/weir.sock");
    let _server = start(&path);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
}

#[test]
fn the_socket_is_gone_when_the_server_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weir.sock");
    drop(start(&path));
    assert!(!path.exists());
    assert!(matches!(call(&path, &Request::Status {}), Err(ClientError::NotRunning { .. })));
}

#[test]
fn a_socket_left_by_a_dead_daemon_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weir.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let _server = start(&path);
    assert!(call(&path, &Request::Status {}).is_ok());
}

#[test]
fn a_living_daemon_keeps_its_socket() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weir.sock");
    let _first = start(&path);
    let second = Server::start(&path, Arc::new(Recorder::default()));
    assert!(matches!(second, Err(ServerError::InUse { .. })));
    assert!(call(&path, &Request::Status {}).is_ok());
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weir.sock");
    std::fs::write(&path, "precious").unwrap();
    let refused = Server::start(&path, Arc::new(Recorder::default()));
    assert!(matches!(refused, Err(ServerError::NotASocket { .. })));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn what_is_not_a_request_is_answered_with_a_reason() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weir.sock");
    let _server = start(&path);
    for line in ["\n", "{}\n", "{\"request\":\"destroy\"}\n", "\u{0}\u{1}\n", "[[[[[[\n"] {
        assert!(exchange(&path, line.as_bytes()).starts_with(r#"{"error":"#), "{line:?}");
    }
}

#[test]
fn a_request_over_the_limit_is_cut_off() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weir.sock");
    let _server = start(&path);
    exchange(&path, &vec![b'x'; MAX_REQUEST_BYTES + 65_536]);
    assert!(call(&path, &Request::Status {}).is_ok());
}

#[test]
fn a_silent_client_loses_its_seat_and_others_are_told_to_wait() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weir.sock");
    let _server = start(&path);
    let silent: Vec<_> = (0..MAX_CLIENTS).map(|_| UnixStream::connect(&path).unwrap()).collect();
    assert!(matches!(
        call(&path, &Request::Status {}),
        Err(ClientError::Refused(reason)) if reason.contains("try again")
    ));
    // Each is told so when its five seconds are over, and the seats are free again.
    for mut stream in silent {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("within 5 seconds"), "{answer}");
    }
    std::thread::sleep(Duration::from_millis(100));
    assert!(call(&path, &Request::Status {}).is_ok());
}
