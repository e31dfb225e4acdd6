//! From facts to findings: what each means for weir, and what to do about it.

use serde::Serialize;

use super::facts::{Facts, Probed};
use crate::sys::xdp::Features;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// As weir would have it.
    Found,
    /// weir runs without it, or with less.
    Missing,
    /// weir cannot run.
    Blocks,
}

impl Standing {
    /// The name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Missing => "missing",
            Self::Blocks => "blocks",
        }
    }
}

/// One thing weir would use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What, by a name that stays.
    pub check: &'static str,
    /// Whether it is there.
    pub standing: Standing,
    /// What was found.
    pub found: String,
    /// What weir does by default here, and why.
    pub default: &'static str,
    /// How to mend it; absent where there is nothing to mend.
    pub remedy: Option<String>,
}

/// All findings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether weir can run here.
    pub can_run: bool,
    /// Release of the kernel.
    pub kernel: String,
    /// In the order of their importance.
    pub findings: Vec<Finding>,
}

/// What the facts mean.
pub fn examine(facts: &Facts) -> Report {
    let mut findings = Vec::new();
    let mut note = |finding| findings.push(finding);
    privileges(facts, &mut note);
    tap(facts, &mut note);
    packet(facts, &mut note);
    underlay(facts, &mut note);
    host(facts, &mut note);
    let can_run = findings.iter().all(|finding| finding.standing != Standing::Blocks);
    Report { can_run, kernel: facts.kernel.clone(), findings }
}

/// A feature that is there, or is missing with this consequence.
fn feature(
    check: &'static str,
    probed: &Probed,
    without: Standing,
    default: &'static str,
    remedy: &str,
) -> Finding {
    let (standing, found) = match probed {
        Ok(()) => (Standing::Found, "yes".to_owned()),
        Err(reason) => (without, format!("no: {reason}")),
    };
    let remedy = probed.as_ref().err().map(|_| remedy.to_owned());
    Finding { check, standing, found, default, remedy }
}

fn capability(has: bool) -> Probed {
    if has { Ok(()) } else { Err("not among the effective capabilities".to_owned()) }
}

fn privileges(facts: &Facts, note: &mut impl FnMut(Finding)) {
    let privileges = facts.privileges;
    note(feature(
        "cap_net_admin",
        &capability(privileges.net_admin),
        Standing::Blocks,
        "makes the gateway's TAP and the pods', gives them addresses",
        "run weir as root, or with CAP_NET_ADMIN",
    ));
    note(feature(
        "cap_sys_admin",
        &capability(privileges.sys_admin),
        Standing::Missing,
        "enters pods' network namespaces to make their interfaces",
        "give weir CAP_SYS_ADMIN; without, only interfaces of its own namespace can be attached",
    ));
    note(feature(
        "cap_net_raw",
        &capability(privileges.net_raw),
        Standing::Missing,
        "reads host ends of veths (`kind: af_packet`)",
        "give weir CAP_NET_RAW; without, pods are attached by TAPs alone",
    ));
    note(feature(
        "cap_sys_nice",
        &capability(privileges.sys_nice),
        Standing::Missing,
        "workers have niceness 0; below that they run before pods that use up the processors",
        "give weir CAP_SYS_NICE where `scheduling: {niceness: -10}` is wanted",
    ));
}

fn tap(facts: &Facts, note: &mut impl FnMut(Finding)) {
    note(feature(
        "tun",
        &facts.tun,
        Standing::Blocks,
        "the node itself, and pods by default, are attached by TAPs",
        "run `modprobe tun`; in a container add `--device /dev/net/tun`",
    ));
    note(feature(
        "tap",
        &facts.tap,
        if facts.privileges.net_admin && facts.privileges.sys_admin {
            Standing::Blocks
        } else {
            Standing::Missing
        },
        "vnet headers, checksum and TCP offload: a segment of 64 KiB crosses as one frame",
        "see the reason; every kernel since 2.6.27 with the tun driver has it",
    ));
    note(feature(
        "tap_multi_queue",
        &facts.tap_queues,
        Standing::Missing,
        "each worker has a queue of each TAP; without, the first worker reads and all write",
        "a kernel since 3.8 has it",
    ));
    note(feature(
        "tap_steering",
        &facts.tap_steering,
        Standing::Missing,
        "a flow's frames, both directions alike, come by one queue; without, the kernel may move a flow past frames that wait",
        "give weir CAP_BPF (Linux 5.8; before that CAP_SYS_ADMIN), or run it with `workers: 1`",
    ));
    note(feature(
        "tap_udp_segmentation",
        &facts.tap_udp,
        Standing::Missing,
        "UDP super-packets cross whole; without, the sender's kernel cuts them",
        "use Linux 6.2 or later",
    ));
    note(feature(
        "tap_tunnel_segmentation",
        &facts.tap_tunnel,
        Standing::Missing,
        "not used by the `udp` underlay, which sends trains (UDP_SEGMENT) on any kernel",
        "use Linux 6.17 or later",
    ));
}

fn packet(facts: &Facts, note: &mut impl FnMut(Finding)) {
    note(feature(
        "af_packet",
        &facts.packet,
        Standing::Missing,
        "for pods attached by veths, and for `underlay.kind: af_packet`: recvmmsg and sendmmsg with vnet headers",
        "run `modprobe af_packet`, give weir CAP_NET_RAW, or attach pods by TAPs",
    ));
    note(feature(
        "af_packet_fanout",
        &facts.packet_groups,
        Standing::Missing,
        "the workers share a veth's frames by flow; without, the first worker reads and all write",
        "use Linux 6.1 or later",
    ));
    note(feature(
        "af_packet_ring",
        &facts.packet_rings,
        Standing::Missing,
        "TPACKET_V3 is used by `underlay: {kind: af_packet, ring: true}` alone: a block is handed over when full or after a millisecond, which every answer would wait; to send by a ring (TPACKET_V2) is the default of that kind",
        "nothing needs it",
    ));
    note(feature(
        "ingress_drop",
        &facts.ingress_drop,
        Standing::Missing,
        "keeps the kernel from handling what is read from a veth, also while weir is down; without, no veth is opened",
        "run `modprobe cls_bpf sch_ingress`, or attach pods by TAPs",
    ));
    note(feature(
        "af_xdp",
        &facts.xdp,
        Standing::Missing,
        "not the default underlay: it knows no super-packets, by which the `udp` one carries TCP six times as fast",
        "see the reason; it needs Linux 5.9, CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF and, for locked memory, CAP_IPC_LOCK; \
         nothing else needs it",
    ));
    note(Finding {
        check: "af_xdp_drivers",
        standing: Standing::Found,
        found: xdp_drivers(facts),
        default: "where it is chosen: in the driver if that runs the program, else in the stack, slower",
        remedy: None,
    });
}

/// Which interfaces run XDP programs in their drivers.
fn xdp_drivers(facts: &Facts) -> String {
    let drivers = match &facts.xdp_drivers {
        Ok(drivers) if drivers.is_empty() => return "no interface is up".to_owned(),
        Ok(drivers) => drivers,
        Err(reason) => return format!("the kernel does not say: {reason}"),
    };
    let describe = |(name, features): &(String, Features)| {
        let how = match features {
            Features { native: true, zero_copy: true, .. } => "native, no copies",
            Features { native: true, .. } => "native",
            _ => "by the stack",
        };
        format!("{name} {how}")
    };
    drivers.iter().map(describe).collect::<Vec<_>>().join("; ")
}

fn underlay(facts: &Facts, note: &mut impl FnMut(Finding)) {
    let devices = facts.vxlan_devices.join(", ");
    let held_by = if facts.vxlan_devices.is_empty() {
        format!("`ss -lunp 'sport = :{}'` shows who holds it; if that is weir, all is well", facts.port)
    } else {
        format!("remove the kernel's vxlan device ({devices}), if it has that port, or stop flannel first")
    };
    note(feature(
        "vxlan_port_free",
        &facts.vxlan_port,
        Standing::Blocks,
        "receives VXLAN on UDP 8472, as flannel does, alone",
        &held_by,
    ));
    note(Finding {
        check: "kernel_vxlan",
        standing: Standing::Found,
        found: if devices.is_empty() { "no vxlan device".to_owned() } else { devices },
        default: "weir takes the place of flannel's device and wants none",
        remedy: None,
    });
    note(feature(
        "udp_segment",
        &facts.udp_segment,
        Standing::Missing,
        "frames to one peer leave in trains of up to 64; without, one by one",
        "use Linux 4.18 or later",
    ));
    note(feature(
        "udp_gro",
        &facts.udp_gro,
        Standing::Missing,
        "trains arrive as they left; without, datagram by datagram",
        "use Linux 5.0 or later",
    ));
    let enough = facts.privileges.net_admin || facts.rmem_max.is_some_and(|bytes| bytes >= 4 << 20);
    note(Finding {
        check: "receive_buffer",
        standing: if enough { Standing::Found } else { Standing::Missing },
        found: facts.rmem_max.map_or("net.core.rmem_max unknown".to_owned(), |bytes| {
            format!("net.core.rmem_max {bytes} bytes")
        }),
        default: "16 MiB each, which CAP_NET_ADMIN allows whatever the limit says",
        remedy: (!enough).then(|| "run `sysctl -w net.core.rmem_max=16777216`".to_owned()),
    });
}

fn host(facts: &Facts, note: &mut impl FnMut(Finding)) {
    let default = "one worker on each processor, pinned, with a queue of every port";
    note(Finding {
        check: "processors",
        standing: Standing::Found,
        found: facts.processors.to_string(),
        default,
        remedy: None,
    });
    note(feature(
        "cpu_latency_qos",
        &facts.latency_qos,
        Standing::Missing,
        "idle processors stay awake while packets follow each other closely; without, each may wait for one to wake",
        "run weir as root; in a container add `--device /dev/cpu_dma_latency`",
    ));
    let forwards = facts.ip_forward != Some(false);
    note(Finding {
        check: "ip_forward",
        standing: if forwards { Standing::Found } else { Standing::Missing },
        found: facts.ip_forward.map_or("unknown".to_owned(), |on| if on { "on" } else { "off" }.to_owned()),
        default: "pods reach what is outside the cluster through the node, whose kernel routes for them",
        remedy: (!forwards)
            .then(|| "run `sysctl -w net.ipv4.ip_forward=1` if pods shall reach the outside".to_owned()),
    });
    let strict = facts.rp_filter == Some(1);
    note(Finding {
        check: "rp_filter",
        standing: if strict { Standing::Missing } else { Standing::Found },
        found: facts.rp_filter.map_or("unknown".to_owned(), |mode| {
            ["off", "strict", "loose"].get(usize::from(mode)).copied().unwrap_or("unknown").to_owned()
        }),
        default: "packets of pods enter the node by the gateway's TAP, over which their route goes",
        remedy: strict.then(|| {
            "strict drops what comes another way than its answer would go; on a node with several uplinks run \
             `sysctl -w net.ipv4.conf.all.rp_filter=2`"
                .to_owned()
        }),
    });
    note(Finding {
        check: "locked_memory",
        standing: Standing::Found,
        found: facts.memlock.map_or("no limit".to_owned(), |bytes| format!("{bytes} bytes")),
        default: "none is locked, but 10 MiB for each queue of an `af_xdp` underlay",
        remedy: None,
    });
    note(Finding {
        check: "huge_pages",
        standing: Standing::Found,
        found: facts.huge_pages.clone().unwrap_or_else(|| "none".to_owned()),
        default: "left to the kernel's transparent huge pages; only an `af_xdp` underlay takes those set aside",
        remedy: None,
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Privileges;

    fn facts() -> Facts {
        let privileges = Privileges { net_admin: true, net_raw: true, sys_admin: true, sys_nice: true };
        Facts {
            kernel: "6.18.0".to_owned(),
            processors: 2,
            privileges,
            tun: Ok(()),
            tap: Ok(()),
            tap_udp: Ok(()),
            tap_queues: Ok(()),
            tap_steering: Ok(()),
            tap_tunnel: Ok(()),
            packet: Ok(()),
            packet_groups: Ok(()),
            packet_rings: Ok(()),
            ingress_drop: Ok(()),
            xdp: Ok(()),
            xdp_drivers: Ok(Vec::new()),
            udp_segment: Ok(()),
            udp_gro: Ok(()),
            vxlan_port: Ok(()),
            port: 8472,
            vxlan_devices: Vec::new(),
            ip_forward: Some(true),
            rp_filter: Some(2),
            rmem_max: Some(212_992),
            memlock: None,
            latency_qos: Ok(()),
            huge_pages: Some("madvise".to_owned()),
        }
    }

    #[test]
    fn a_host_with_everything_wants_no_remedy() {
        let report = examine(&facts());
        assert!(report.can_run);
        assert!(report.findings.iter().all(|finding| finding.remedy.is_none()));
        let mut names: Vec<_> = report.findings.iter().map(|finding| finding.check).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), report.findings.len(), "each once");
    }

    #[test]
    fn drivers_are_named_with_what_they_do() {
        let mut host = facts();
        let driver = |native, zero_copy| Features { native, zero_copy, in_parts: false };
        host.xdp_drivers = Ok(vec![
            ("eth0".to_owned(), driver(true, true)),
            ("veth0".to_owned(), driver(true, false)),
            ("br0".to_owned(), driver(false, false)),
        ]);
        assert_eq!(xdp_drivers(&host), "eth0 native, no copies; veth0 native; br0 by the stack");
        host.xdp_drivers = Err("no such family".to_owned());
        assert_eq!(xdp_drivers(&host), "the kernel does not say: no such family");
    }

    #[test]
    fn what_is_not_there_has_a_remedy_and_only_what_weir_needs_blocks() {
        let no = || Err("operation not supported".to_owned());
        let mut poor = facts();
        poor.tap_udp = no();
        poor.packet_groups = no();
        poor.xdp = no();
        let report = examine(&poor);
        assert!(report.can_run);
        let missing: Vec<_> = report.findings.iter().filter(|f| f.standing == Standing::Missing).collect();
        assert_eq!(missing.len(), 3);
        assert!(missing.iter().all(|finding| finding.remedy.is_some()));
        poor.vxlan_port = no();
        poor.vxlan_devices = vec!["flannel.1".to_owned()];
        let report = examine(&poor);
        assert!(!report.can_run);
        let port = report.findings.iter().find(|f| f.check == "vxlan_port_free").unwrap();
        assert!(port.remedy.as_ref().is_some_and(|remedy| remedy.contains("flannel.1")));
    }
}
