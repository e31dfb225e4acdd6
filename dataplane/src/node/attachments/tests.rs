//! Attachments whose ports come and go under them; the ports are made here, without a kernel.

use std::os::fd::RawFd;

use super::*;
use crate::buffer::{Batch, Pool};
use crate::conntrack::ConntrackConfig;
use crate::ports::{Capabilities, Port, Received, Sent};
use crate::tables::Publisher;
use crate::telemetry::{DenialLog, PacketCounters};
use crate::workers::WorkerConfig;

/// A port that has nothing to say, or whose interface was deleted.
struct Silent {
    deleted: bool,
}

impl Port for Silent {
    fn recv(&mut self, _: &mut Pool, _: &mut Batch, _: usize) -> io::Result<Received> {
        if self.deleted { Err(io::Error::other("deleted")) } else { Ok(Received::default()) }
    }

    fn send(&mut self, pool: &mut Pool, batch: &mut Batch) -> io::Result<Sent> {
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

fn worker() -> WorkerHandle {
    let text = "node: node-a\n";
    let config =
        crate::config::Config::parse(text, std::path::Path::new("node.yaml")).expect("configuration");
    let mut settings = crate::node::control_loop::settings(&config);
    settings.conntrack = ConntrackConfig::with_max_entries(16);
    let counters = Arc::new(PacketCounters::default());
    WorkerHandle::start(
        WorkerConfig { settings, frames: 8 },
        &Publisher::default(),
        counters,
        Arc::new(DenialLog::default()),
    )
    .expect("a worker")
}

/// An entry whose port is in the worker's hands.
fn attached(worker: &WorkerHandle, pod: &str, deleted: bool) -> Entry {
    let text = format!("{{\"pod\":\"shop/{pod}\",\"kind\":\"af_packet\",\"interface\":\"none-{pod}\"}}");
    let attachment: Attachment = serde_json::from_str(&text).expect("an attachment");
    let mut entry = Entry { attachment, live: None, waiting: None };
    let counters = Arc::new(PortCounters::default());
    let binding = Binding {
        id: PortId(0),
        role: Role::Pod(entry.pod_name()),
        mac: None,
        mtu: 1400,
        capabilities: Capabilities::default(),
        endpoint: None,
    };
    let port = Box::new(Silent { deleted });
    let id = worker.attach(binding, port, Arc::clone(&counters)).expect("attached");
    entry.live = Some(Live { id, counters, mac: None, configured: Vec::new() });
    entry
}

#[test]
fn a_port_that_died_is_not_mistaken_for_the_one_that_has_its_id_now() {
    let worker = worker();
    let dead = attached(&worker, "dead", true);
    // The worker lets go of it at its next round, before it takes the next command up.
    let mut gone = Vec::new();
    while gone.is_empty() {
        gone = worker.gone();
        std::thread::yield_now();
    }
    let heir = attached(&worker, "heir", false);
    let ids = [&dead, &heir].map(|entry| entry.live.as_ref().map(|live| live.id));
    assert_eq!(ids[0], ids[1], "the place is used again");

    let mut attachments = Attachments { entries: vec![heir, dead], next_try: None };
    attachments.next_try = Some(Instant::now() + Duration::from_mins(1));
    attachments.tend(gone, &worker, None, None);
    let live: Vec<bool> = attachments.iter().map(|entry| entry.live.is_some()).collect();
    assert_eq!(live, [true, false]);
}
