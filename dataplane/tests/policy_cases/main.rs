//! What `eval` says is what happens to packets: every probe of the policy compiler's truth tables
//! (`policy-compiler/testdata/cases`) as a real frame through the packet path of the nodes on its way.
//!
//! Allowed: the first packet of the connection arrives at the other end. Denied: it is dropped by policy, and
//! nothing arrives. Left out, counted and printed: a pod that talks to itself never puts a packet on a wire.

mod frames;
mod nodes;

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use frames::{Opening, opening};
use nodes::{Arrival, Nodes};
use policy_compiler::{Compiler, Object, ObjectKey, Options, parse};

/// A line of a `.probes` file: source, destination, protocol, port, verdict, then family and `sport=` in any order.
struct Probe {
    src: String,
    dst: String,
    opening: Opening,
    allowed: bool,
    family: Option<u8>,
}

impl Probe {
    fn read(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let (src, dst, protocol, port, verdict) =
            (words.next()?, words.next()?, words.next()?, words.next()?, words.next()?);
        if src.starts_with('#') {
            return None;
        }
        let protocol = match protocol {
            "TCP" => 6,
            "UDP" => 17,
            "SCTP" => 132,
            "ICMP" => 1,
            "ICMPv6" => 58,
            "GRE" => 47,
            "UDPLite" => 136,
            number => number.parse().unwrap_or_else(|_| panic!("no protocol {number}")),
        };
        let mut probe = Self {
            src: src.to_owned(),
            dst: dst.to_owned(),
            opening: Opening {
                protocol,
                src_port: 49152,
                dst_port: port.parse().unwrap_or_else(|_| panic!("no port {port}: {line}")),
            },
            allowed: verdict == "allow",
            family: None,
        };
        for word in words {
            match word.split_once('=') {
                Some(("sport", port)) => probe.opening.src_port = port.parse().expect("a port"),
                None => probe.family = Some(word.parse().expect("a family")),
                Some(_) => panic!("{line}"),
            }
        }
        Some(probe)
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn cases(testdata: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(testdata.join("cases")).expect("the compiler's cases are there");
    let mut cases: Vec<PathBuf> = listed.flatten().map(|entry| entry.path()).collect();
    cases.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    cases.sort();
    assert!(cases.len() >= 14, "the cases are there");
    cases
}

fn compiler(cluster: &str, policies: &str) -> Compiler {
    let mut compiler = Compiler::new(Options::default());
    for text in [cluster, policies] {
        for object in parse("case.yaml", text).objects {
            compiler.upsert(object);
        }
    }
    compiler
}

/// The addresses a probe's end has: a live pod's, or the one it is.
fn addresses(compiler: &Compiler, end: &str) -> Vec<IpAddr> {
    if let Ok(address) = end.parse() {
        return vec![address];
    }
    let named = |key: &ObjectKey| key.path() == end;
    let pods = compiler.objects().filter_map(|object| match object {
        Object::Pod(pod) if named(&pod.meta.key) => Some(pod.pod_ips.clone()),
        _ => None,
    });
    pods.flatten().collect()
}

#[test]
fn frames_meet_the_verdicts_of_the_truth_tables() {
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policy-compiler/testdata");
    let cluster = read(&testdata.join("cluster.yaml"));
    let (mut sent, mut left_out, mut wrong) = (0, 0, Vec::new());
    for path in cases(&testdata) {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let compiler = compiler(&cluster, &read(&path));
        let nodes = Nodes::new(&compiler);
        for line in read(&path.with_extension("probes")).lines() {
            let Some(probe) = Probe::read(line) else { continue };
            let wanted =
                |address: &IpAddr| probe.family.is_none_or(|family| address.is_ipv6() == (family == 6));
            let destinations = addresses(&compiler, &probe.dst);
            let sources = addresses(&compiler, &probe.src);
            let pair = sources.into_iter().filter(wanted).find_map(|src| {
                let dst = destinations.iter().find(|dst| dst.is_ipv6() == src.is_ipv6())?;
                Some((src, *dst))
            });
            let Some((src, dst)) = pair else { panic!("{name}: no family both ends have: {line}") };
            if src == dst {
                left_out += 1;
                continue;
            }
            let Some(packet) = opening(src, dst, probe.opening) else {
                left_out += 1;
                continue;
            };
            sent += 1;
            let arrival = nodes.send(src, dst, &packet);
            let as_told = match arrival {
                Arrival::Arrived => probe.allowed,
                Arrival::Denied => !probe.allowed,
                // To an address of a pod network that nobody has: judged, and then there is no way on. From one:
                // stopped before policy is asked.
                Arrival::NoWay(_) if probe.allowed => !nodes.has_way(dst),
                Arrival::NoWay(_) => !nodes.has_way(src),
            };
            if !as_told {
                wrong.push(format!("{name}: {line}: {arrival:?}"));
            }
        }
    }
    println!("{sent} connections opened, {left_out} left out");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(sent > 100 && left_out * 10 < sent, "{sent} sent, {left_out} left out");
}
