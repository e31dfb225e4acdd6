//! Attachments whose ports come and go under them; the ports are made here, without a kernel.

use std::os::fd::RawFd;
use std::sync::Arc;

use super::*;
use crate::buffer::{Batch, Pool};
use crate::conntrack::ConntrackConfig;
use crate::ports::{Capabilities, Gone, Port, Received, Sent};
use crate::tables::Publisher;
use crate::workers::{Placement, WorkersConfig};

/// A port that has nothing to say, or whose interface was deleted.
struct Silent {
    deleted: bool,
}

impl Port for Silent {
    fn recv(&mut self, _: &mut Pool, _: &mut Batch, _: usize) -> io::Result<Received> {
        if self.deleted { Err(io::Error::other("deleted")) } else { Ok(Received::default()) }
    }

    fn send(&mut self, pool: &mut Pool, batch: &mut Batch) -> Result<Sent, Gone> {
        pool.give_all(batch.drain(..));
        Ok(Sent::default())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn descriptors(&self) -> Vec<RawFd> {
        Vec::new()
    }
}

/// Two workers.
fn workers() -> Workers {
    let text = "node: node-a\n";
    let config =
        crate::config::Config::parse(text, std::path::Path::new("node.yaml")).expect("configuration");
    let mut settings = crate::node::control_loop::settings(&config);
    settings.conntrack = ConntrackConfig::with_max_entries(16);
    let config = WorkersConfig {
        settings,
        frames: 8,
        placements: vec![Placement::default(); 2],
        busy_poll: false,
        latency_qos: false,
    };
    Workers::start(&config, &Publisher::default(), &Arc::default()).expect("workers")
}

/// An entry whose port is in the workers' hands.
fn attached(workers: &mut Workers, pod: &str, deleted: bool) -> Entry {
    let text = format!("{{\"pod\":\"shop/{pod}\",\"kind\":\"af_packet\",\"interface\":\"none-{pod}\"}}");
    let attachment: Attachment = serde_json::from_str(&text).expect("an attachment");
    let mut entry = Entry { attachment, live: None, waiting: None };
    let binding = Binding {
        id: PortId(0),
        role: Role::Pod(entry.pod_name()),
        mac: None,
        mtu: 1400,
        capabilities: Capabilities::default(),
        endpoint: None,
    };
    // Of a deleted interface each worker's queue dies, or one worker's first.
    let queues: Vec<Box<dyn Port>> =
        vec![Box::new(Silent { deleted }), Box::new(Silent { deleted: deleted && pod != "half-dead" })];
    let port = workers.attach(&binding, queues).expect("attached");
    entry.live = Some(Live { port, mac: None, configured: Vec::new() });
    entry
}

#[test]
fn a_port_that_died_is_not_mistaken_for_the_one_that_has_its_id_now() {
    for (pod, round) in ["dead", "half-dead"].into_iter().cycle().zip(0..20) {
        let mut workers = workers();
        let dead = attached(&mut workers, pod, true);
        let mut gone = Vec::new();
        while gone.is_empty() {
            gone = workers.tend();
            std::thread::yield_now();
        }
        let heir = attached(&mut workers, "heir", false);
        let ids = [&dead, &heir].map(|entry| entry.live.as_ref().map(|live| live.port.id()));
        assert_eq!(ids[0], ids[1], "the place is used again");
        // What the second worker said of the dead one may come in only now.
        gone.extend(workers.tend());
        assert_eq!(gone.len(), 1, "{pod} {round}: told once");

        let mut attachments = Attachments { entries: vec![heir, dead], next_try: None };
        attachments.next_try = Some(Instant::now() + Duration::from_mins(1));
        attachments.tend(gone, &mut workers, None, None);
        let live: Vec<bool> = attachments.iter().map(|entry| entry.live.is_some()).collect();
        assert_eq!(live, [true, false]);
    }
}

#[test]
fn a_port_without_a_queue_for_each_worker_is_refused() {
    let mut workers = workers();
    let binding = Binding {
        id: PortId(0),
        role: Role::Node,
        mac: None,
        mtu: 1400,
        capabilities: Capabilities::default(),
        endpoint: None,
    };
    let refused = workers.attach(&binding, vec![Box::new(Silent { deleted: false })]).unwrap_err();
    assert_eq!(refused.to_string(), "the port has 1 of the 2 queues that the workers need");
}
