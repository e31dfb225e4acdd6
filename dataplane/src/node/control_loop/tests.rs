//! What the control thread does when things go wrong around it. No interface and no privilege is needed: without a
//! state nothing is opened.

use std::fmt::Debug;
use std::io;
use std::os::fd::RawFd;
use std::path::Path;
use std::sync::Mutex;

use crossbeam::channel::unbounded;
use tracing::field::{Field, Visit};
use tracing::{Metadata, Subscriber, span};

use super::super::Node;
use super::*;
use crate::buffer::{Batch, Pool};
use crate::control::Server;
use crate::node::requests::RequestHandler;
use crate::ports::Port;
use crate::ports::memory;
use crate::ports::{Capabilities, Gone, Received, Sent};

/// A port with a bug.
struct Faulty;

impl Port for Faulty {
    fn recv(&mut self, _: &mut Pool, _: &mut Batch, _: usize) -> io::Result<Received> {
        panic!("a bug, for the test")
    }

    fn send(&mut self, _: &mut Pool, _: &mut Batch) -> Result<Sent, Gone> {
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
    let text = format!(
        "node: node-a\nstate: {{ directory: {} }}\nunderlay: {{ mtu: 1500 }}\n",
        directory.join("state").display()
    );
    let config = Config::parse(&text, &directory.join("node.yaml")).expect("configuration");
    let lock = InstanceLock::take(directory, config.underlay.port).expect("lock");
    ControlLoop::new(config, lock, events).expect("control loop")
}

#[test]
fn a_worker_that_panics_ends_the_node_with_an_error() {
    let directory = tempfile::tempdir().expect("directory");
    let (events, inbox) = unbounded();
    let mut control = control_loop(directory.path(), events);
    let queues = control.workers.iter().map(|_| -> Box<dyn Port> { Box::new(Faulty) }).collect();
    control.hand_over(Role::Node, queues, None, 1500).map(drop).expect("attached");
    let died = control.run(&inbox).expect_err("not a word");
    assert_eq!(died.part, "a packet worker");
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

/// Reads the state until it is at rest.
fn refresh(control: &mut ControlLoop) {
    control.refresh();
    while std::mem::take(&mut control.look_again) {
        std::thread::sleep(SETTLE);
        control.refresh();
    }
}

#[test]
fn a_state_that_had_to_wait_is_still_wanted_after_one_that_was_refused() {
    let directory = tempfile::tempdir().expect("directory");
    let state = directory.path().join("state");
    std::fs::create_dir(&state).expect("state directory");
    // Sound, but it does not say where the node is: it cannot be put in force yet.
    let node = "apiVersion: v1\nkind: Node\nmetadata: {name: node-a}\nspec: {podCIDR: 10.244.1.0/24}\n";
    std::fs::write(state.join("node.yaml"), node).expect("node");
    let (events, _inbox) = unbounded();
    let mut control = control_loop(directory.path(), events);
    // As if an earlier state were in force.
    control.number = 1;
    refresh(&mut control);
    assert_eq!(control.summary.status, StateStatus::Rejected);
    assert!(control.summary.problems.iter().any(|text| text.contains("no underlay address")));

    let broken = state.join("broken.yaml");
    std::fs::write(&broken, "kind: [").expect("broken");
    refresh(&mut control);
    control.retry();
    for part in ["broken.yaml", "no underlay address"] {
        let problems = &control.summary.problems;
        assert!(problems.iter().any(|text| text.contains(part)), "{part}: {problems:?}");
    }

    std::fs::remove_file(&broken).expect("mended");
    refresh(&mut control);
    control.retry();
    assert!(control.pending.is_some(), "it is not forgotten");
    assert_eq!(control.summary.status, StateStatus::Rejected, "nor said to be in force");
    assert!(control.summary.problems.iter().any(|text| text.contains("no underlay address")));
}

/// All that is logged.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Subscriber for Heard {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

impl Visit for Heard {
    fn record_debug(&mut self, _: &Field, value: &dyn Debug) {
        self.0.lock().expect("no panic").push(format!("{value:?}"));
    }
}

/// A node that says all that is needed of itself.
const NODE: &str = "
apiVersion: v1
kind: Node
metadata:
  name: node-a
  annotations:
    flannel.alpha.coreos.com/public-ip: 192.0.2.1
    flannel.alpha.coreos.com/backend-type: vxlan
    flannel.alpha.coreos.com/backend-data: '{\"VNI\":1,\"VtepMAC\":\"0a:58:0a:f4:01:01\"}'
spec: {podCIDR: 10.244.1.0/24}
";

#[test]
fn why_the_state_is_refused_while_an_earlier_one_comes_into_force_is_logged() {
    let directory = tempfile::tempdir().expect("directory");
    let state = directory.path().join("state");
    std::fs::create_dir(&state).expect("state directory");
    std::fs::write(state.join("node.yaml"), NODE).expect("node");
    let (events, _inbox) = unbounded();
    let mut control = control_loop(directory.path(), events);
    let [gateway, underlay] = [Role::Node, Role::UnderlayDatagram].map(|role| {
        let (queues, _) = memory::pair_of_queues(control.workers.count(), 1, Capabilities::default());
        let queues = queues.into_iter().map(|queue| -> Box<dyn Port> { Box::new(queue) }).collect();
        control.hand_over(role, queues, None, 1500).map_err(|error| error.to_string()).expect("attached")
    });
    control.trunks = Some(Trunks {
        gateway,
        underlay,
        underlay_name: "udp:8472".to_owned(),
        resolver: None,
        _hold: None,
        gateway_mtu: 1450,
        gateway_lost: false,
    });
    while control.pending.is_none() {
        std::thread::sleep(SETTLE);
        if let Refresh::Compiled(compiled) = control.follower.refresh() {
            control.pending = Some(compiled);
        }
    }

    std::fs::write(state.join("broken.yaml"), "kind: [").expect("broken");
    let heard = Heard::default();
    // As long as there is one listener, a message that another test comes by first is never asked about again: tracing takes
    // that test's thread, which nobody listens to, for all. Of two listeners it asks each.
    let _second = tracing::Dispatch::new(Heard::default());
    tracing::subscriber::with_default(heard.clone(), || control.retry());
    assert_eq!((control.number, control.summary.status), (1, StateStatus::Rejected));
    let heard = heard.0.lock().expect("no panic");
    assert!(heard.iter().any(|text| text.contains("broken.yaml")), "{heard:?}");
}
