//! Under which conditions a bench measured: for the head of its report.

use super::options::{Options, Peer};
use super::rules::Tools;
use super::workload::Workload;
use crate::lab::node_ovs;
use crate::report::Environment;
use crate::traffic::latency;
use crate::traffic::streams::congestion_controls;

/// The machine, and how everything was set up.
pub(super) fn environment(options: &Options, tools: Tools) -> Environment {
    let mut environment = Environment::now();
    let mut set = |key: &str, value: String| environment.settings.insert(key.to_owned(), value);
    set("kernel rules", tools.describe());
    set("underlay", "veth, MTU 1500".to_owned());
    set("pods", "MTU 1430, the kernel's default offloads; TAPs with those weir sets".to_owned());
    set("generators", "connected UDP sockets, 16 flows each, sendmmsg of 64".to_owned());
    let usual = || congestion_controls().ok().and_then(|names| names.into_iter().next());
    if let Some(name) = options.setup.congestion.clone().or_else(usual) {
        set("TCP streams", format!("congestion control {name}, writes and reads of 128 KiB, not pinned"));
    }
    set("generators, client and server of round trips", "pinned, one to a processor".to_owned());
    set("round trips", format!("one request at a time, by {} flows in turn", latency::FLOWS));
    if options.workloads.contains(&Workload::UdpFlows) {
        set("generators of new flows", "raw IP sockets, ports of their own for each datagram".to_owned());
    }
    if let Some(other) = &options.setup.measured {
        set("build of weir that was measured", other.display().to_string());
    }
    if options.against.contains(&Peer::Ovs) {
        let version = node_ovs::version().unwrap_or_default();
        set("ovs", format!("{version}, datapath_type=netdev, pods' transmit offloads off"));
    }
    let settings = options.setup.settings.to_string();
    if !settings.is_empty() {
        set("weir's configuration", settings.trim_end().replace('\n', ", "));
    }
    environment
}

/// What a reader has to know to judge the figures.
pub(super) fn notes(options: &Options) -> Vec<String> {
    let mut notes = Vec::new();
    if !options.workloads.is_empty() {
        let further = match options.further_rounds {
            0 => String::new(),
            further => {
                format!(" of packet rates and round trips {},", options.rounds.saturating_add(further))
            }
        };
        notes.push(format!(
            "subjects took turns, rounds: {},{further} {:.1} s counted after {:.1} s of ramp; ratios are taken round by \
             round, and their median and range stated",
            options.rounds,
            options.window.as_secs_f64(),
            options.ramp.as_secs_f64()
        ));
    }
    notes.push(
        "generators, pods and both nodes share this machine: rates are those of the whole system, and processor time \
         is that of the whole machine"
            .to_owned(),
    );
    let kernel = options.against.contains(&Peer::Kernel);
    if kernel && !options.workloads.is_empty() && options.rules.iter().any(|&rules| rules > 0) {
        notes.push(
            "rules of the kernel stand where the node routes, so there are none between pods of one node"
                .to_owned(),
        );
    }
    notes
}
