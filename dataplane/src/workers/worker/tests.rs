//! What a worker writes into the books of what its ports tell. The ports are made here, without a kernel.

use std::os::fd::RawFd;

use crossbeam::channel::unbounded;

use super::*;
use crate::buffer::Frame;
use crate::pipeline::Role;
use crate::ports::{Capabilities, Received, Sent};
use crate::tables::Publisher;

/// A port that takes one frame and then is gone, to which strangers send, and which loses a frame between any two looks.
struct Leaving {
    strangers: u64,
}

impl Port for Leaving {
    fn recv(&mut self, _: &mut Pool, _: &mut Batch, _: usize) -> io::Result<Received> {
        Ok(Received { strangers: std::mem::take(&mut self.strangers), ..Received::default() })
    }

    fn send(&mut self, pool: &mut Pool, batch: &mut Batch) -> Result<Sent, Gone> {
        let lost = batch.get(1..).unwrap_or_default();
        let failed_packets = lost.iter().map(|frame| u64::from(frame.packets)).sum();
        let sent = Sent { frames: 1, failed: lost.len(), failed_packets, ..Sent::default() };
        pool.give_all(batch.drain(..));
        Err(Gone { sent, error: io::Error::other("deleted") })
    }

    fn losses(&mut self) -> u64 {
        1
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn descriptors(&self) -> Vec<RawFd> {
        Vec::new()
    }
}

fn worker() -> (Worker, Arc<PacketCounters>, Receiver<Report>) {
    let text = "node: node-a\n";
    let config =
        crate::config::Config::parse(text, std::path::Path::new("node.yaml")).expect("configuration");
    let mut settings = crate::node::settings(&config);
    settings.conntrack = crate::conntrack::ConntrackConfig::with_max_entries(16);
    let counters = Arc::new(PacketCounters::default());
    let (report, reports) = unbounded();
    let worker = Worker::new(WorkerConfig {
        pool: Pool::new(8),
        busy_poll: false,
        sleeps: Sleeps::new(None),
        epoch: Instant::now(),
        poll: Poll::new().expect("poll"),
        subscription: Publisher::default().subscribe(),
        pipeline: Pipeline::new(settings, Arc::clone(&counters), Arc::default()),
        counters: Arc::clone(&counters),
        steps: Arc::default(),
        watch: Watch::new(Arc::default()),
        inbox: unbounded().1,
        reports: report,
    });
    (worker, counters, reports)
}

fn attach(worker: &mut Worker, strangers: u64) -> (PortId, Arc<PortCounters>) {
    let queue = Arc::new(PortCounters::default());
    let binding = Binding {
        id: PortId(0),
        role: Role::Node,
        mac: None,
        mtu: 1500,
        capabilities: Capabilities::default(),
        endpoint: None,
    };
    let id = worker.take_in(binding, Box::new(Leaving { strangers }), Arc::clone(&queue)).expect("attached");
    (id, queue)
}

/// Puts out a frame that stands for so many packets, which the pipeline counted as forwarded.
fn put_out(worker: &mut Worker, port: PortId, packets: u32) {
    let mut frame = Frame::from_bytes(b"frame");
    frame.packets = packets;
    worker.config.counters.forwarded.add(u64::from(packets));
    worker.out.push(port, frame);
}

#[test]
fn what_a_port_had_sent_before_it_was_gone_stays_forwarded() {
    let (mut worker, counters, reports) = worker();
    let (port, queue) = attach(&mut worker, 0);
    for packets in [2, 0, 3] {
        put_out(&mut worker, port, packets);
    }
    worker.flush();
    assert_eq!((queue.tx_packets.get(), queue.tx_failed.get()), (1, 2));
    assert_eq!((counters.forwarded.get(), counters.dropped(DropReason::TxFailed)), (2, 3));
    worker.bury();
    assert!(matches!(reports.try_recv(), Ok(Report::Gone { .. })));

    // Nobody has told the pipeline yet.
    for packets in [4, 0, 1] {
        put_out(&mut worker, port, packets);
    }
    worker.flush();
    assert_eq!((counters.forwarded.get(), counters.dropped(DropReason::PortUnattached)), (2, 5));
}

#[test]
fn what_strangers_send_in_trains_is_received_and_dropped() {
    let (mut worker, counters, _reports) = worker();
    attach(&mut worker, 40);
    worker.slots.mark_all();
    assert!(worker.round(Timestamp::ZERO) > 0, "something came");
    assert_eq!(worker.round(Timestamp::ZERO), 0);
    assert_eq!((counters.received.get(), counters.dropped(DropReason::VtepUnknown)), (40, 40));
}

#[test]
fn losses_are_looked_for_twice_a_second_though_nothing_comes() {
    let (mut worker, _counters, _reports) = worker();
    let (_, queue) = attach(&mut worker, 0);
    for tenth in 0..20 {
        worker.keep_house(Timestamp::ZERO.plus(Duration::from_millis(100 * tenth)));
    }
    assert_eq!(queue.rx_lost.get(), 4);
}
