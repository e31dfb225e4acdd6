//! What weir costs while nothing happens: processor time and memory, with two pods and with 110.
//!
//! Prints the figures; asked for, since figures want a quiet machine:
//! `cargo test --release --test idle -- --ignored --nocapture`.

mod support;

use std::time::{Duration, Instant};

use harness::lab::node_weir::NodeWeir;
use harness::lab::plan::{PodPlan, Side};
use harness::lab::{Attach, NodeKind};
use support::{build, lab, status, turn_alone};

/// As many as a node has by Kubernetes' default.
const MANY: u8 = 110;
const LOOK: Duration = Duration::from_secs(10);

struct Idle {
    /// Share of one processor.
    share: f64,
    /// Resident memory in KiB.
    resident: u64,
    /// What of it is weir's own.
    anonymous: u64,
}

fn idle_with(pods: u8, attach: Attach) -> Idle {
    let plans = (0..pods)
        .map(|number| PodPlan::new(Side::A, 10 + number, "shop", &format!("pod-{number}"), ("app", "idle")));
    let builder = lab().nodes([NodeKind::Weir, NodeKind::Kernel]).attach(attach);
    let lab = build(builder.pods(plans.collect()).policies(&[]));
    let pid = lab.weir(Side::A).and_then(NodeWeir::pid).unwrap();
    // Hosts say a few things of their own after they came up.
    std::thread::sleep(Duration::from_secs(3));
    let sleeps = || status(&lab, Side::A).workers.iter().map(|worker| worker.sleeps).sum::<u64>();
    let (begin, before, slept) = (Instant::now(), ticks(pid), sleeps());
    std::thread::sleep(LOOK);
    let seconds = begin.elapsed().as_secs_f64();
    let share = f64::from(u32::try_from(ticks(pid) - before).unwrap()) / 100.0 / seconds;
    let slept = sleeps() - slept;
    let idle = Idle { share, resident: memory(pid, "VmRSS:"), anonymous: memory(pid, "RssAnon:") };
    println!(
        "{pods} pods, {attach:?}: {:.2} % of a processor, {slept} sleeps in {seconds:.1} s, {} KiB resident, {} KiB of its own",
        share * 100.0,
        idle.resident,
        idle.anonymous
    );
    idle
}

/// Processor time used, in ticks of 10 ms (proc_pid_stat(5), fields 14 and 15).
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(')').unwrap();
    rest.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
}

/// A line of proc_pid_status(5), in KiB.
fn memory(pid: u32, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
#[ignore = "figures, for a quiet machine"]
fn what_idle_pods_cost() {
    let Some(_turn) = turn_alone() else { return };
    for attach in [Attach::Tap, Attach::Veth] {
        let [few, many] = [2, MANY].map(|pods| idle_with(pods, attach));
        let each = |kib: fn(&Idle) -> u64| kib(&many).saturating_sub(kib(&few)) / u64::from(MANY - 2);
        println!(
            "{attach:?}: {} KiB for each idle pod, {} of its own",
            each(|i| i.resident),
            each(|i| i.anonymous)
        );
        assert!(few.share < 0.01 && many.share < 0.01, "an idle weir uses less than 1 % of a processor");
    }
}
