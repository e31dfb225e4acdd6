//! The demonstration: a lab, every probe, a throughput figure, what weir counted.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use dataplane::config::UnderlayKind;

use super::expect::Expectation;
use super::plan::{Family, Side};
use super::report::{Counted, Report, Throughput};
use super::userns::{self, Footing};
use super::{Attach, Backend, Lab, LabError, NodeKind, memory, scenario, teardown};
use crate::traffic::latency::{Latency, round_trips};
use crate::traffic::tcp;

/// Requests sent one after the other.
const ROUND_TRIPS: usize = 2_000;

/// What to demonstrate.
#[derive(Debug, Clone)]
pub struct Options {
    /// What the two nodes run.
    pub nodes: [NodeKind; 2],
    /// How pods are attached to weir.
    pub attach: Attach,
    /// How weir sends and receives on the underlay; of no meaning to hosts in memory.
    pub underlay: UnderlayKind,
    /// Where hosts and wires come from.
    pub backend: Backend,
    /// The `weir` program; none for the running one.
    pub binary: Option<PathBuf>,
    /// Leave everything up.
    pub keep: bool,
    /// How long to measure throughput.
    pub throughput: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: [NodeKind::Weir, NodeKind::Kernel],
            attach: Attach::Tap,
            underlay: UnderlayKind::Udp,
            backend: Backend::Namespaces,
            binary: None,
            keep: false,
            throughput: Duration::from_secs(3),
        }
    }
}

/// How far a demonstration has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It has begun with this.
    Stage(&'static str),
    /// So many probes are done.
    Probes {
        /// Done.
        done: usize,
        /// Of so many.
        total: usize,
    },
}

/// Builds, probes, measures, and tears down again, also when it ends with an error. It ends soon after
/// `interrupt` is set. To be called before the process has a second thread (see [`userns::prepare`]).
pub fn run(
    options: &Options,
    interrupt: Arc<AtomicBool>,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Report, LabError> {
    match options.backend {
        Backend::Namespaces => {}
        Backend::Memory => return memory::demo::run(options, &interrupt, progress),
    }
    if userns::prepare()? == Footing::UserNamespace && options.keep {
        return Err(LabError::unmet(
            "a lab cannot be kept without root",
            &"its namespaces end with this process",
            "run it as root, or without `--keep`",
        ));
    }
    if options.nodes.contains(&NodeKind::Weir) {
        userns::check_tun()?;
    }
    teardown::sweep()?;
    progress(Progress::Stage("building nodes, pods and wires"));
    let mut builder = Lab::builder()
        .nodes(options.nodes)
        .attach(options.attach)
        .underlay(options.underlay)
        .interrupt(interrupt)
        .keep(options.keep);
    if let Some(binary) = &options.binary {
        builder = builder.binary(binary);
    }
    let lab = builder.build()?;
    let expectation = Expectation::of(lab.state(), lab.enforces())?;
    let probes = scenario::all_probes(lab.ends());
    progress(Progress::Stage("probing every pair"));
    let matrix = scenario::run(&lab, &probes, &expectation, &|done, total| {
        progress(Progress::Probes { done, total });
    })?;
    progress(Progress::Stage("measuring throughput"));
    let throughput = measure(&lab, options.throughput)?;
    progress(Progress::Stage("measuring latency"));
    let latency = latency(&lab)?;
    let mut counted = BTreeMap::new();
    for side in Side::ALL {
        if lab.weir(side).is_some() {
            let status = lab.status(side)?;
            let (packets, drops, denials) = (status.packets, status.drops, status.denials);
            counted.insert(side.name(), Counted { packets, drops, denials });
        }
    }
    let kept = if options.keep { lab.how_to_enter() } else { Vec::new() };
    let ok = matrix.mismatches().next().is_none() && throughput.is_some();
    Ok(Report { nodes: options.nodes.map(NodeKind::name), ok, matrix, throughput, latency, counted, kept })
}

/// Round trips from a pod to the name service at the other node.
fn latency(lab: &Lab) -> Result<Option<Latency>, LabError> {
    lab.check_interrupt()?;
    let (src, dst) = (lab.pod("shop/frontend")?, lab.pod("kube-system/dns")?);
    let to = SocketAddr::new(dst.address(Family::V4), 53);
    match round_trips(&src.netns, to, ROUND_TRIPS) {
        Ok(latency) if latency.answered > 0 => Ok(Some(latency)),
        Ok(_) => Ok(None),
        Err(error) => {
            tracing::warn!(%error, "no latency was measured");
            Ok(None)
        }
    }
}

/// A TCP transfer between two pods that may talk, across the nodes; none where it does not come about, which
/// the matrix then explains.
fn measure(lab: &Lab, duration: Duration) -> Result<Option<Throughput>, LabError> {
    lab.check_interrupt()?;
    let (src, dst) = (lab.pod("shop/frontend")?, lab.pod("shop/backend")?);
    let to = SocketAddr::new(dst.address(Family::V4), 8080);
    match tcp::throughput(&src.netns, to, duration) {
        Ok(bits_per_second) => Ok(Some(Throughput {
            src: src.name.clone(),
            dst: dst.name.clone(),
            bits_per_second,
            seconds: duration.as_secs_f64(),
            simulated: false,
        })),
        Err(error) => {
            tracing::warn!(%error, "no throughput was measured");
            Ok(None)
        }
    }
}
