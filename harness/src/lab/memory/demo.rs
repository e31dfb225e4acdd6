//! The demonstration in memory: the probes, a throughput figure, what weir counted.
//!
//! Everything in the report but the throughput is the same in every run. The throughput is the work of both
//! nodes, both stacks and all digests on one core of this machine, which says little about a network: it is marked as
//! simulated.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dataplane::config::UnderlayKind;

use super::{MemoryLab, Transfer};
use crate::lab::demo::{Options, Progress};
use crate::lab::expect::Expectation;
use crate::lab::plan::{Family, Side};
use crate::lab::report::{Report, Throughput};
use crate::lab::{Attach, LabError, NodeKind};

/// Bytes of each transfer that is measured.
const BULK: u64 = 4 << 20;
/// Simulated time that each of them may take.
const LIMIT: Duration = Duration::from_mins(1);

/// Runs it. Ends soon after `interrupt` is set.
///
/// # Errors
/// `options` ask for something that is not to be had without a kernel, the state is not valid, or it was
/// interrupted.
pub fn run(
    options: &Options,
    interrupt: &AtomicBool,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Report, LabError> {
    check(options)?;
    let go_on = || if interrupt.load(Ordering::SeqCst) { Err(LabError::Interrupted) } else { Ok(()) };
    progress(Progress::Stage("building nodes, pods and wires"));
    let mut lab = MemoryLab::demonstration()?;
    let expectation = Expectation::of(lab.state(), [true; 2])?;
    let probes = lab.all_probes();
    progress(Progress::Stage("probing every pair"));
    let matrix = lab.probe(&probes, &expectation, |done| {
        progress(Progress::Probes { done, total: probes.len() });
        go_on()
    })?;
    progress(Progress::Stage("measuring throughput"));
    let counted = BTreeMap::from(Side::ALL.map(|side| (side.name(), lab.counted(side))));
    let throughput = measure(&mut lab, options.throughput, go_on)?;
    let ok = matrix.mismatches().next().is_none() && throughput.is_some();
    Ok(Report {
        nodes: options.nodes.map(NodeKind::name),
        ok,
        matrix,
        throughput,
        latency: None,
        counted,
        kept: Vec::new(),
    })
}

/// What needs a kernel.
fn check(options: &Options) -> Result<(), LabError> {
    const ADVICE: &str = "leave that out, or use `--backend namespaces`";
    let wanted = if options.nodes.contains(&NodeKind::Kernel) {
        "a node was asked to run plain Linux"
    } else if options.keep {
        "it was asked to be kept, and it ends with this process"
    } else if options.attach == Attach::Veth {
        "veths were asked for"
    } else if options.underlay != UnderlayKind::Udp {
        "sockets of the underlay were asked for"
    } else {
        return Ok(());
    };
    Err(LabError::unmet("the lab in memory has no kernel", &wanted, ADVICE))
}

/// Transfers from pod to pod across the nodes for as long as was asked for; none where one fails, which the matrix
/// then explains.
fn measure(
    lab: &mut MemoryLab,
    duration: Duration,
    go_on: impl Fn() -> Result<(), LabError>,
) -> Result<Option<Throughput>, LabError> {
    let (src, dst) = ("shop/frontend", "shop/backend");
    let start = Instant::now();
    let mut bytes = 0_u64;
    while bytes == 0 || start.elapsed() < duration {
        go_on()?;
        let transfer = Transfer { download: false, length: BULK, seed: bytes };
        if !lab.transfer(transfer, src, (dst, 8080), Family::V4, LIMIT)? {
            return Ok(None);
        }
        bytes = bytes.saturating_add(BULK);
    }
    #[allow(clippy::cast_precision_loss, reason = "exact up to a petabyte")]
    let bits = bytes as f64 * 8.0;
    let seconds = start.elapsed().as_secs_f64();
    Ok(Some(Throughput {
        src: src.to_owned(),
        dst: dst.to_owned(),
        bits_per_second: bits / seconds,
        seconds,
        simulated: true,
    }))
}
