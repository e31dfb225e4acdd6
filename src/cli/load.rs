//! `weir load`: frames from a seed out of an interface, and what came back by another.

use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use harness::load::interface::refuse_default_route;
use harness::load::{Ends, Kind, LoadReport, Order, Popularity, Rate, Shape, Sizes, Wire};
use ipnet::IpNet;
use vxlan::encap::{OuterChecksum, OuterConfig, TTL};
use vxlan::mac::Mac;
use vxlan::wire::vxlan::UDP_PORT_FLANNEL;
use vxlan::{Vni, encap};

mod exchange;

use super::Outcome;
use super::interrupt::{INTERRUPTED, interruptible};
use super::measured::seconds;
use super::output::Output;

/// How long frames may take to come back after the last one.
const DRAIN: Duration = Duration::from_millis(500);
/// First destination port.
const DST_PORT: u16 = 8000;
const DENIED_PORT: u16 = 7000;
/// Addresses set aside for benchmarks (RFC 2544 appendix C.2.2, RFC 5180 section 8).
const BENCHMARK_V4: (&str, &str) = ("198.18.0.1/32", "198.19.0.1");
const BENCHMARK_V6: (&str, &str) = ("2001:2::1/128", "2001:2:0:1::1");

/// Send frames out of an interface at a rate, and count what comes back by another
///
/// Frames are made from a seed: sizes, flows, families and tunnel as asked for. What is reported as sent is what the
/// kernel took. With --listen, the datagrams carry numbers and times, by which those that come back are known: lost,
/// duplicated, reordered, and how long they took. While it listens, the kernel does not see what arrives at that
/// interface (killed, it leaves that so: `tc qdisc del dev INTERFACE clsact`). Needs CAP_NET_RAW, and CAP_NET_ADMIN to listen.
///
/// With --request-response, TCP clients at the one interface ask servers at the other, at --rate requests per second:
/// how many are answered, how long that takes, how many connections are opened, and every segment accounted for.
///
/// Exits 1 if nothing could be sent, or nothing came back; 130 on Ctrl-C, with what was counted until then.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  weir load --to veth0 --dst-mac 02:00:00:00:00:02 --rate 100kpps --duration 10
  weir load --to veth0 --listen veth1 --rate 50kpps --imix --flows 10000 --zipf 1.1
  weir load --to eth1 --dst-mac 02:00:00:00:00:02 --rate max --syn-flood --src 198.18.0.0/16 --dst 10.244.1.2
  weir load --to eth1 --dst-mac 02:00:00:00:00:02 --rate 10kpps --vxlan --vni 1 --from-vtep 192.0.2.2 \\
      --to-vtep 192.0.2.1 --inner-dst-mac 02:00:00:00:00:0a --src 10.244.2.2 --dst 10.244.1.2
  weir load --to veth0 --listen veth1 --request-response --connections 64 --rate max --response 1024
  weir load --memory --request-response --per-connection 1 --rate 5000")]
pub(super) struct Args {
    /// Interface to send by
    #[arg(long, value_name = "INTERFACE", required_unless_present = "memory")]
    to: Option<String>,
    /// Interface at which what was sent is to come back
    #[arg(long, value_name = "INTERFACE", conflicts_with = "syn_flood")]
    listen: Option<String>,
    /// Frames per second (1000, 500kpps, 1.2Mpps), or max; with --request-response, requests per second
    #[arg(long, value_name = "RATE", default_value = "1000")]
    rate: Rate,
    /// For how long, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "10")]
    duration: Duration,
    /// Most frames, or requests
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Frame size in bytes with FCS, 64 to 1518; with --vxlan that of the inner frame
    #[arg(long, value_name = "BYTES", default_value = "64", conflicts_with = "imix")]
    size: Sizes,
    /// Sizes of 64, 594 and 1518 bytes, 7:4:1
    #[arg(long)]
    imix: bool,
    /// Begin so many flows a second beside those of --flows
    #[arg(long, value_name = "N", default_value_t = 0.0)]
    new_flows: f64,
    /// TCP segments that ask for a connection, each for another
    #[arg(long, conflicts_with = "random_flows")]
    syn_flood: bool,
    /// Datagrams of which each begins a flow
    #[arg(long)]
    random_flows: bool,
    #[command(flatten)]
    exchange: exchange::Asking,
    #[command(flatten)]
    traffic: Traffic,
    /// Use an interface that carries a default route too
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    output: Output,
}

/// Between whom, and in what.
#[derive(Debug, clap::Args)]
pub(super) struct Traffic {
    /// Flows: source ports first, then source addresses, then destination ports
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) flows: u32,
    /// Popularity of flows by Zipf's law with this exponent, instead of all alike
    #[arg(long, value_name = "S")]
    zipf: Option<f64>,
    /// IPv6; the least frame is then 78 bytes
    #[arg(long)]
    ipv6: bool,
    /// Source address, or a subnet of source addresses; by default one set aside for benchmarks
    #[arg(long, value_name = "CIDR", value_parser = subnet)]
    src: Option<IpNet>,
    /// Destination address
    #[arg(long, value_name = "IP")]
    dst: Option<IpAddr>,
    /// First of a hundred destination ports
    #[arg(long, value_name = "PORT", default_value_t = DST_PORT)]
    dst_port: u16,
    /// Share of frames, 0 to 1, to --denied-port: that they do not come is no loss
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub(super) denied: f64,
    /// L4 port that the policy under test denies
    #[arg(long, value_name = "PORT", default_value_t = DENIED_PORT)]
    denied_port: u16,
    /// Source MAC, by default that of the sending interface
    #[arg(long, value_name = "MAC")]
    src_mac: Option<Mac>,
    /// Destination MAC, by default that of the listening interface: for a device that switches
    #[arg(long, value_name = "MAC")]
    dst_mac: Option<Mac>,
    /// Encapsulate in VXLAN
    #[arg(long, requires_all = ["from_vtep", "to_vtep", "inner_dst_mac"])]
    vxlan: bool,
    /// VXLAN network identifier
    #[arg(long, value_name = "N", default_value_t = 1, requires = "vxlan", value_parser = clap::value_parser!(u32).range(0..=0x00ff_ffff))]
    vni: u32,
    /// Outer UDP destination port
    #[arg(long, value_name = "PORT", default_value_t = UDP_PORT_FLANNEL, requires = "vxlan")]
    vxlan_port: u16,
    /// Outer source address
    #[arg(long, value_name = "IP", requires = "vxlan")]
    from_vtep: Option<IpAddr>,
    /// Outer destination address
    #[arg(long, value_name = "IP", requires = "vxlan")]
    to_vtep: Option<IpAddr>,
    /// Inner source MAC: with flannel that of the sending VTEP
    #[arg(long, value_name = "MAC", requires = "vxlan")]
    inner_src_mac: Option<Mac>,
    /// Inner destination MAC: with flannel that of the receiving VTEP
    #[arg(long, value_name = "MAC", requires = "vxlan")]
    inner_dst_mac: Option<Mac>,
    /// What chooses flows
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,
}

/// An address alone is a subnet of one.
fn subnet(text: &str) -> Result<IpNet, String> {
    let net = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    net.map_err(|_| "expected an address or a subnet like 198.18.0.0/16".to_owned())
}

impl Traffic {
    /// The options that ask for other frames than the default ones, but for flows, seed and the share to be denied.
    pub(super) fn peculiar(&self) -> impl Iterator<Item = &'static str> {
        let options = [
            (self.zipf.is_some(), "--zipf"),
            (self.ipv6, "--ipv6"),
            (self.src.is_some(), "--src"),
            (self.dst.is_some(), "--dst"),
            (self.dst_port != DST_PORT, "--dst-port"),
            (self.denied_port != DENIED_PORT, "--denied-port"),
            (self.src_mac.is_some(), "--src-mac"),
            (self.dst_mac.is_some(), "--dst-mac"),
            (self.vxlan, "--vxlan"),
        ];
        options.into_iter().filter(|(given, _)| *given).map(|(_, name)| name)
    }

    /// Source addresses and destination.
    fn addresses(&self) -> anyhow::Result<(IpNet, IpAddr)> {
        let (src, dst) = if self.ipv6 { BENCHMARK_V6 } else { BENCHMARK_V4 };
        let src = self.src.map_or_else(|| src.parse(), Ok)?;
        let dst = self.dst.map_or_else(|| dst.parse(), Ok)?;
        if self.ipv6 == dst.is_ipv4() {
            bail!("--dst {dst}: expected an IPv{} address", if self.ipv6 { '6' } else { '4' });
        }
        Ok((src, dst))
    }

    /// The frames, sent by one interface and perhaps received by another.
    pub(super) fn shape(&self, wire: &Wire) -> anyhow::Result<Shape> {
        let (src, dst) = self.addresses()?;
        let src_mac = self.src_mac.unwrap_or(Mac(wire.tx().mac));
        let dst_mac = self.dst_mac.or_else(|| wire.rx().map(|rx| Mac(rx.mac)));
        let dst_mac =
            dst_mac.context("--dst-mac is missing: whose MAC is nobody's guess where nobody listens")?;
        let tunnel = self.tunnel(src_mac, dst_mac)?;
        let ends = match (tunnel, self.inner_dst_mac) {
            (Some(_), Some(inner)) => {
                Ends { src_mac: self.inner_src_mac.unwrap_or(src_mac), dst_mac: inner, src, dst }
            }
            _ => Ends { src_mac, dst_mac, src, dst },
        };
        let shape = Shape {
            tunnel,
            flows: self.flows,
            popularity: self.zipf.map_or(Popularity::Uniform, Popularity::Zipf),
            dst_port: self.dst_port,
            denied: self.denied,
            denied_port: self.denied_port,
            seed: self.seed,
            ..Shape::between(ends)
        };
        shape.check()?;
        Ok(shape)
    }

    fn tunnel(&self, source_mac: Mac, dest_mac: Mac) -> anyhow::Result<Option<OuterConfig>> {
        let (Some(src), Some(dst), true) = (self.from_vtep, self.to_vtep, self.vxlan) else {
            return Ok(None);
        };
        if src.is_ipv4() != dst.is_ipv4() {
            return Err(encap::EncapError::FamilyMismatch).context("--from-vtep, --to-vtep");
        }
        Ok(Some(OuterConfig {
            source_mac,
            dest_mac,
            src,
            dst,
            source_port: 0,
            dest_port: self.vxlan_port,
            vni: Vni::new(self.vni)?,
            tos: 0,
            ttl: TTL,
            checksum: OuterChecksum::Compute,
            identification: 0,
        }))
    }
}

pub(super) fn run(args: &Args) -> Outcome {
    let interrupt = interruptible()?;
    for interface in args.to.iter().chain(&args.listen).filter(|_| !args.force) {
        refuse_default_route(interface)?;
    }
    if args.exchange.request_response {
        return exchange::run(args, &interrupt);
    }
    let to = args.to.as_deref().unwrap_or_default();
    let mut wire = Wire::open(to, args.listen.as_deref(), DRAIN)?;
    let shape = Shape {
        sizes: if args.imix { Sizes::IMIX } else { args.size },
        kind: match (args.syn_flood, args.random_flows) {
            (true, _) => Kind::SynFlood,
            (_, true) => Kind::RandomFlows,
            _ => Kind::Flows,
        },
        new_flows: args.new_flows,
        ..args.traffic.shape(&wire)?
    };
    shape.check()?;
    let (needed, largest) = (shape.mtu_needed(), wire.tx().mtu as usize);
    if needed > largest {
        bail!("{to}: its MTU is {largest}, these frames need {needed}: raise it, or send smaller ones");
    }
    let frames = args.count.unwrap_or(u64::MAX);
    let order = Order { shape: &shape, rate: args.rate, duration: args.duration, frames, stop: &interrupt };
    let passed = wire.pass(&order)?;
    let report = LoadReport::of(&wire, &order, &passed);
    args.output.print(&report, ToString::to_string)?;
    if report.interrupted {
        eprintln!("interrupted; what was counted until then is reported");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let arrived = report.arrived.as_ref().is_none_or(|arrived| arrived.book.received > 0);
    Ok(if report.offered.sent > 0 && arrived { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
