//! `weir status`: how the running daemon is.

use std::fmt::{Display, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dataplane::control::{
    AttachmentState, GatewayStatus, Reply, Request, StateStatus, Status, UnderlayStatus,
};
use dataplane::drop_reason::DropReason;

use super::Outcome;
use super::output::{Colour, Output, paint, table, visible};
use super::socket::Socket;

/// Show how the running daemon is: generation, pods, peers, ports, packets and drops
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  weir status\n  weir status -o json --socket /run/weir/weir.sock")]
pub(super) struct Args {
    #[command(flatten)]
    socket: Socket,
    #[command(flatten)]
    output: Output,
}

pub(super) fn run(args: &Args) -> Outcome {
    let Reply::Status(status) = args.socket.ask(&Request::Status {})? else {
        anyhow::bail!("the daemon answered something else than its status: is it of another version?");
    };
    args.output.print(status.as_ref(), for_people)?;
    Ok(ExitCode::SUCCESS)
}

fn for_people(status: &Status) -> String {
    let mut text = summary(status);
    section(&mut text, "Problems", &lines(&status.state.problems));
    section(&mut text, "Warnings", &lines(&status.state.warnings));
    section(&mut text, "Pods", &pods(status));
    section(&mut text, "Waiting", &lines(&status.waiting));
    section(&mut text, "Peers", &peers(status));
    section(&mut text, "Ports", &ports(status));
    section(&mut text, "Workers", &workers(status));
    section(&mut text, "Drops", &drops(status));
    section(&mut text, "Denied by policies", &denials(status));
    text
}

fn summary(status: &Status) -> String {
    let state = &status.state;
    let colour = match state.status {
        StateStatus::Ok => Colour::Good,
        StateStatus::Starting | StateStatus::Degraded => Colour::Doubtful,
        StateStatus::Rejected => Colour::Bad,
    };
    let mut generation = match state.generation {
        0 => "no generation yet: pods are cut off".to_owned(),
        number => format!("generation {number}"),
    };
    if let Some(at) = state.compiled_at_unix_seconds {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let took = Duration::from_micros(state.compile_microseconds);
        let _ = write!(generation, ", compiled {} ago in {took:?}", duration(now.saturating_sub(at)));
    }
    if !state.skipped.is_empty() {
        let kinds: Vec<_> = state.skipped.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let _ = write!(generation, ", not used: {}", kinds.join(", "));
    }
    let packets = &status.packets;
    let rows = [
        ("node", format!("{}, weir {}, up {}", status.node, status.version, duration(status.uptime_seconds))),
        ("state", format!("{}, {}", state.status.name(), generation)),
        ("underlay", underlay_line(&status.underlay)),
        ("gateway", gateway_line(&status.gateway)),
        (
            "packets",
            format!(
                "{} received, {} forwarded, {} answered, {} dropped",
                packets.received, packets.forwarded, packets.answered, packets.dropped
            ),
        ),
        ("connections", format!("{} of {}", status.connections.entries, status.connections.max)),
        ("flow cache", format!("{} hits, {} misses", status.flow_cache.hits, status.flow_cache.misses)),
    ];
    let mut text = String::new();
    for (name, value) in rows {
        let value = visible(&value);
        let value = match value.strip_prefix(state.status.name()) {
            Some(rest) if name == "state" => paint(colour, state.status.name()) + rest,
            _ => value,
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:<12} {value}");
    }
    text
}

fn underlay_line(underlay: &UnderlayStatus) -> String {
    if underlay.kind.is_empty() {
        return "not open yet".to_owned();
    }
    let UnderlayStatus { kind, port, vni, mtu, .. } = underlay;
    format!("{kind} {}, port {port}, VNI {vni}, MTU {mtu}", list(&underlay.addresses))
}

fn gateway_line(gateway: &GatewayStatus) -> String {
    if gateway.interface.is_empty() {
        return "not open yet".to_owned();
    }
    let GatewayStatus { interface, mac, mtu, .. } = gateway;
    format!("{interface} {}, {mac}, MTU {mtu}", list(&gateway.addresses))
}

pub(super) fn pods(status: &Status) -> String {
    let rows = status.pods.iter().map(|pod| {
        let state = pod.attachment.map_or("not attached", AttachmentState::name);
        let state = pod.reason.as_ref().map_or(state.to_owned(), |reason| format!("{state} ({reason})"));
        [pod.name.clone(), list(&pod.addresses), or_dash(pod.port.as_ref()), state, or_dash(pod.mac.as_ref())]
    });
    filled(status.pods.len(), || table(["NAME", "ADDRESSES", "PORT", "STATE", "MAC"], rows))
}

pub(super) fn peers(status: &Status) -> String {
    let rows = status.peers.iter().map(|peer| {
        let macs = list(&[&peer.mac, &peer.mac_v6].into_iter().flatten().collect::<Vec<_>>());
        [peer.node.clone(), list(&peer.underlay), macs, list(&peer.pod_cidrs), peer.state.clone()]
    });
    filled(status.peers.len(), || table(["NODE", "UNDERLAY", "VTEP MAC", "POD CIDRS", "STATE"], rows))
}

pub(super) fn ports(status: &Status) -> String {
    let rows = status.ports.iter().map(|port| {
        [
            port.name.clone(),
            port.kind.clone(),
            port.rx_packets.to_string(),
            port.rx_bytes.to_string(),
            port.tx_packets.to_string(),
            port.tx_bytes.to_string(),
            port.rx_lost.to_string(),
            port.tx_failed.to_string(),
        ]
    });
    let header = ["NAME", "KIND", "RX PACKETS", "RX BYTES", "TX PACKETS", "TX BYTES", "RX LOST", "TX FAILED"];
    filled(status.ports.len(), || table(header, rows))
}

pub(super) fn workers(status: &Status) -> String {
    let rows = status.workers.iter().map(|worker| {
        let tenths = worker.received.saturating_mul(10).div_ceil(worker.batches.max(1));
        [
            worker.name.clone(),
            worker.processor.map_or_else(|| "any".to_owned(), |number| number.to_string()),
            worker.niceness.map_or_else(|| "-".to_owned(), |niceness| niceness.to_string()),
            worker.received.to_string(),
            worker.forwarded.to_string(),
            worker.dropped.to_string(),
            format!("{}.{}", tenths / 10, tenths % 10),
            worker.flow_hits.to_string(),
            worker.flow_misses.to_string(),
        ]
    });
    let header = [
        "NAME",
        "CPU",
        "NICENESS",
        "RECEIVED",
        "FORWARDED",
        "DROPPED",
        "PACKETS/BATCH",
        "FLOW HITS",
        "FLOW MISSES",
    ];
    filled(status.workers.len(), || table(header, rows))
}

/// What a drop reason means; nothing where this weir does not know it.
pub(super) fn meaning(name: &str) -> &'static str {
    let known = DropReason::ALL.iter().find(|reason| reason.name() == name);
    known.map_or("", |reason| reason.description())
}

pub(super) fn drops(status: &Status) -> String {
    let rows =
        status.drops.iter().map(|(name, count)| [name.clone(), count.to_string(), meaning(name).to_owned()]);
    filled(status.drops.len(), || table(["REASON", "PACKETS", "MEANING"], rows))
}

pub(super) fn denials(status: &Status) -> String {
    let rows = status.denials.iter().map(|denial| {
        [
            denial.direction.clone(),
            denial.src.clone(),
            denial.dst.clone(),
            denial.packets.to_string(),
            denial.rule.clone(),
        ]
    });
    filled(status.denials.len(), || table(["DIRECTION", "FROM", "TO", "PACKETS", "DECIDED BY"], rows))
}

/// A section with its heading; nothing where there is nothing to say.
fn section(text: &mut String, heading: &str, body: &str) {
    if !body.is_empty() {
        let _ = writeln!(text, "\n{}\n{}", paint(Colour::Heading, heading), body.trim_end());
    }
}

fn filled(rows: usize, body: impl FnOnce() -> String) -> String {
    if rows == 0 { String::new() } else { body() }
}

fn lines(items: &[String]) -> String {
    items.iter().map(|item| visible(item)).collect::<Vec<_>>().join("\n")
}

fn list<T: Display>(items: &[T]) -> String {
    if items.is_empty() {
        return "-".to_owned();
    }
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn or_dash(value: Option<&String>) -> String {
    value.cloned().unwrap_or_else(|| "-".to_owned())
}

/// `3d 4h`, `5m 6s`: the two largest units.
fn duration(seconds: u64) -> String {
    let parts =
        [(seconds / 86_400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let shown: Vec<_> = parts
        .iter()
        .skip_while(|(count, _)| *count == 0)
        .take(2)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    if shown.is_empty() { "0s".to_owned() } else { shown.join(" ") }
}

#[cfg(test)]
mod tests;
