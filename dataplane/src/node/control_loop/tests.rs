//! What the control thread does when things go wrong around it. No interface and no privilege is needed: without a
//! state nothing is opened.

use std::io;
use std::os::fd::RawFd;
use std::path::Path;

use crossbeam::channel::unbounded;

use super::super::Node;
use super::*;
use crate::buffer::{Batch, Pool};
use crate::control::Server;
use crate::ports::{Capabilities, Received, Sent};

/// A port with a bug.
struct Faulty;

impl Port for Faulty {
    fn recv(&mut self, _: &mut Pool, _: &mut Batch, _: usize) -> io::Result<Received> {
        panic!("a bug, for the test")
    }

    fn send(&mut self, _: &mut Pool, _: &mut Batch) -> io::Result<Sent> {
        Ok(Sent::default())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn descriptors(&self) -> Vec<RawFd> {
        Vec::new()
    }
}

fn control_loop(directory: &Path, events: Sender<Event>) -> ControlLoop {
    let text = format!("node: node-a\nstate: {{ directory: {} }}\n", directory.join("state").display());
    let config = Config::parse(&text, &directory.join("node.yaml")).expect("configuration");
    let lock = InstanceLock::take(directory, config.underlay.port).expect("lock");
    ControlLoop::new(config, lock, events).expect("control loop")
}

#[test]
fn a_worker_that_panics_ends_the_node_with_an_error() {
    let directory = tempfile::tempdir().expect("directory");
    let (events, inbox) = unbounded();
    let control = control_loop(directory.path(), events);
    control.hand_over(Role::Node, Box::new(Faulty), None, 1500).map(drop).expect("attached");
    let died = control.run(&inbox).expect_err("not a word");
    assert_eq!(died.part, "the packet worker");
    assert!(died.to_string().contains("no packet passes"), "{died}");
}

#[test]
fn a_control_thread_that_panics_is_no_success() {
    let directory = tempfile::tempdir().expect("directory");
    let (events, inbox) = unbounded();
    let control = control_loop(directory.path(), events.clone());
    let handler = Arc::new(RequestHandler::new(events.clone()));
    let server = Server::start(&directory.path().join("weir.sock"), handler).expect("control socket");
    let thread = std::thread::spawn(move || control.run(&inbox));
    events.send(Event::Request(Box::new(|_| panic!("a bug, for the test")))).expect("running");
    let node = Node { events, thread: Some(thread), _server: server };
    assert_eq!(node.wait().expect_err("not a word").part, "the control thread");
}
