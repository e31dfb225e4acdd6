//! `weir load --request-response`: TCP clients and servers on both sides of a device.

use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, bail};
use harness::load::exchange::{Card, Exchange, ExchangeBed, ExchangeReport, pass};
use harness::load::interface::Listening;
use vxlan::mac::Mac;

use super::DRAIN;
use crate::cli::Outcome;
use crate::cli::interrupt::INTERRUPTED;

/// Policies of the node in memory.
const POLICIES: usize = 1_000;

/// What is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Asking {
    /// TCP requests and responses instead of datagrams, in segments as large as the interfaces' MTU allows
    #[arg(long, visible_alias = "tcp-rr", conflicts_with_all = ["size", "imix", "new_flows", "denied", "denied_port", "syn_flood", "random_flows", "flows"])]
    pub(super) request_response: bool,
    /// Through weir's pipeline in memory, from a pod to one on another node, instead of between interfaces
    #[arg(long, requires = "request_response", conflicts_with_all = ["to", "listen"])]
    memory: bool,
    /// Connections at a time, 1 to 1024
    #[arg(long, value_name = "N", default_value_t = 16, requires = "request_response")]
    connections: usize,
    /// Size of a request
    #[arg(long, value_name = "BYTES", default_value_t = 64, requires = "request_response")]
    request: usize,
    /// Size of a response
    #[arg(long, value_name = "BYTES", default_value_t = 64, requires = "request_response")]
    response: usize,
    /// Requests on a connection before it is closed and another opened; 0: no limit
    #[arg(long, value_name = "N", default_value_t = 0, requires = "request_response")]
    per_connection: u64,
}

pub(super) fn run(args: &super::Args, interrupt: &AtomicBool) -> Outcome {
    let options = &args.exchange;
    let exchange = Exchange {
        connections: options.connections,
        request: options.request,
        response: options.response,
        per_connection: options.per_connection,
        rate: args.rate,
        duration: args.duration,
        count: args.count.unwrap_or(u64::MAX),
        port: args.traffic.dst_port,
        seed: args.traffic.seed,
    };
    exchange.check()?;
    let mut bed = bed(args)?;
    let exchanged = pass(&mut bed, &exchange, interrupt)?;
    let report = ExchangeReport::of(&bed, &exchange, &exchanged);
    // The interfaces are given back before anything else can fail.
    drop(bed);
    args.output.print(&report, ToString::to_string)?;
    if report.interrupted {
        eprintln!("interrupted; what was counted until then is reported");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let good = report.adds_up && report.requests.answered > 0;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn bed(args: &super::Args) -> anyhow::Result<ExchangeBed> {
    let traffic = &args.traffic;
    let serves = |option: &&str| match *option {
        "--dst-port" => true,
        "--zipf" | "--vxlan" | "--denied-port" => false,
        _ => !args.exchange.memory,
    };
    if let Some(option) = traffic.peculiar().find(|option| !serves(option)) {
        bail!("{option} has no meaning with --request-response here");
    }
    if args.exchange.memory {
        return ExchangeBed::memory(POLICIES).map_err(anyhow::Error::msg);
    }
    let near = args.to.as_deref().unwrap_or_default();
    let far = args.listen.as_deref();
    let far =
        far.context("--listen is missing: the interface at which the servers are, behind the device")?;
    if near == far {
        bail!("--to {near} --listen {far}: expected two interfaces with the device between them");
    }
    let (src, dst) = traffic.addresses()?;
    let ends = [near, far].map(|name| Ok::<_, std::io::Error>((name.to_owned(), Listening::open(name)?)));
    let [near, far] = ends;
    let (near, far) = (near?, far?);
    let (near_info, far_info) = (near.1.info(), far.1.info());
    let client = Card {
        mac: traffic.src_mac.unwrap_or(Mac(near_info.mac)),
        address: src.addr(),
        next_hop: Some(traffic.dst_mac.unwrap_or(Mac(far_info.mac))),
        mtu: near_info.mtu as usize,
    };
    let server = Card { mac: Mac(far_info.mac), address: dst, next_hop: None, mtu: far_info.mtu as usize };
    Ok(ExchangeBed::interfaces([near, far], [client, server], DRAIN))
}
