//! A node that forwards with Open vSwitch in user space (`datapath_type=netdev`), as weir does, without policies.
//!
//! ```text
//!  pods' veths ─ AF_PACKET ─ br0 ─ vxlan0 ─ br-phy ─ AF_PACKET ─ eth0        one ovs-vswitchd, one ovsdb-server a node
//!                             │ gateway's address                            in the node's namespace
//! ```
//! Flows are those of a CNI plugin: to the other node's pods by way of its gateway's MAC through the tunnel; from the
//! tunnel by the pod's address to its port with its MAC; the rest by learning. Outer packets are routed by Open vSwitch
//! itself, which takes the route from `br-phy`. IPv6 pods use the IPv4 underlay.
//!
//! Its datapath cannot put super-packets or partial checksums into a tunnel (3.1: "Tunneling packets with TSO is not
//! supported"), so pods have their transmit offloads off. The kernel also sees what comes in at the interfaces; it is
//! kept from answering by a drop on ingress, behind the packet sockets.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use dataplane::sys::process;

use super::LabError;
use super::daemon::{Daemon, Place};
use super::plan::{Family, Side, mac_text, net};
use super::pods::{INTERFACE, Pod};
use super::topology::{Topology, UNDERLAY, find, within};

const BRIDGE: &str = "br0";
const PHYSICAL: &str = "br-phy";
const TUNNEL: &str = "vxlan0";
const SCHEMA: &str = "share/openvswitch/vswitch.ovsschema";
/// How long a daemon has to come up.
const START: Duration = Duration::from_secs(15);
const ADVICE: &str = "install it: `apt-get install openvswitch-switch` (Debian, Ubuntu), `dnf install openvswitch` \
                      (Fedora); its service need not run";

/// Whether Open vSwitch and what it takes to set it up is installed.
///
/// # Errors
/// Something is missing; the error says how to install it.
pub fn check() -> Result<(), LabError> {
    for name in ["ovs-vswitchd", "ovsdb-server", "ovsdb-tool", "ovs-vsctl", "ovs-ofctl", "ovs-appctl"] {
        program(name)?;
    }
    schema()?;
    if find_program("ethtool").is_none() {
        let advice = "install it: `apt-get install ethtool`";
        return Err(LabError::unmet("Open vSwitch cannot be measured", &"ethtool is missing", advice));
    }
    Ok(())
}

/// Version, as `ovs-vswitchd` tells it.
pub fn version() -> Option<String> {
    let output = Command::new(find_program("ovs-vswitchd")?).arg("--version").output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next()?.to_owned())
}

/// Starts the daemons, connects the pods and puts the flows in force.
///
/// # Errors
/// Open vSwitch is not installed, or refuses something.
pub fn build(
    place: Place<'_>,
    topology: &Topology,
    side: Side,
    pods: &[&Pod],
    mtu: u32,
) -> Result<Vec<Daemon>, LabError> {
    check()?;
    let directory = place.directory;
    fs::create_dir_all(directory)?;
    let switch = Switch { place, directory };
    let database = switch.start_database()?;
    let netns = topology.node(side).netns();
    for pod in pods {
        pod.connect(netns)?;
        pod.configure(mtu)?;
        let mut command = Command::new("ethtool");
        command.args(["-K", INTERFACE, "tx", "off"]);
        switch.run_in(command, pod.netns.netns(), "")?;
        within(netns, |netlink| {
            let link = find(netlink, &pod.host_link())?.index;
            netlink.set_mtu(link, mtu)?;
            netlink.ensure_ingress_drop(link)
        })?;
    }
    within(netns, |netlink| netlink.ensure_ingress_drop(find(netlink, UNDERLAY)?.index))?;
    let daemon = switch.start_switch()?;
    switch.configure(side, pods)?;
    within(netns, |netlink| {
        let (inner, outer) = (find(netlink, BRIDGE)?.index, find(netlink, PHYSICAL)?.index);
        netlink.set_mtu(inner, mtu)?;
        netlink.add_address(inner, net(side.pod_v4(1), 24))?;
        netlink.add_address(inner, net(side.pod_v6(1), 64))?;
        netlink.add_address(outer, net(underlay(side), 24))?;
        netlink.set_up(inner, true)?;
        netlink.set_up(outer, true)
    })?;
    switch.ofctl(&["add-flows", BRIDGE, "-"], &flows(side, pods))?;
    switch.ofctl(&["mod-port", BRIDGE, TUNNEL, "no-flood"], "")?;
    let (far, mac) = (underlay(side.other()).to_string(), mac_text(physical_mac(side.other())));
    switch.appctl(&["tnl/neigh/set", PHYSICAL, &far, &mac])?;
    // In this order they end: the switch before its database.
    Ok(vec![daemon, database])
}

/// The node's address on the underlay as Open vSwitch has it, beside the one the kernel keeps on the interface (RFC 5737).
const fn underlay(side: Side) -> std::net::Ipv4Addr {
    std::net::Ipv4Addr::new(203, 0, 113, number(side))
}

const fn number(side: Side) -> u8 {
    match side {
        Side::A => 1,
        Side::B => 2,
    }
}

const fn gateway_mac(side: Side) -> [u8; 6] {
    [0x0a, 0x58, 0, 0, 1, number(side)]
}

const fn physical_mac(side: Side) -> [u8; 6] {
    [0x0a, 0x58, 0, 0, 2, number(side)]
}

/// The bridge's flows, one a line.
fn flows(side: Side, pods: &[&Pod]) -> String {
    let mut text = "priority=0,actions=NORMAL\n".to_owned();
    let gateway = mac_text(gateway_mac(side));
    for pod in pods {
        let (mac, link) = (mac_text(pod.plan.mac()), pod.host_link());
        for (field, family) in [("ip,nw_dst", Family::V4), ("ipv6,ipv6_dst", Family::V6)] {
            let to = pod.plan.address(family);
            let _ = writeln!(
                text,
                "priority=100,in_port={TUNNEL},{field}={to},actions=mod_dl_src:{gateway},mod_dl_dst:{mac},output:{link}"
            );
        }
    }
    let far = mac_text(gateway_mac(side.other()));
    let [v4, v6] = side.other().pod_cidrs();
    for (field, to) in [("ip,nw_dst", v4), ("ipv6,ipv6_dst", v6)] {
        let _ = writeln!(text, "priority=90,{field}={to},actions=dec_ttl,mod_dl_dst:{far},output:{TUNNEL}");
    }
    text
}

/// One node's Open vSwitch, and its tools.
struct Switch<'a> {
    place: Place<'a>,
    directory: &'a Path,
}

impl Switch<'_> {
    fn start_database(&self) -> Result<Daemon, LabError> {
        let database = self.directory.join("conf.db");
        let mut create = self.tool("ovsdb-tool")?;
        create.arg("create").arg(&database).arg(schema()?);
        self.run(create, "")?;
        let mut serve = self.tool("ovsdb-server")?;
        serve.arg(&database).arg(format!("--remote=p{}", self.socket()));
        serve.arg(self.path("--pidfile=", "ovsdb-server.pid"));
        serve.arg(self.path("--unixctl=", "ovsdb-server.ctl"));
        let mut daemon = Daemon::start(self.place, "ovsdb-server", serve)?;
        let socket = self.directory.join("db.sock");
        daemon.wait_until(self.place, START, || Ok(socket.exists()))?;
        self.vsctl(&["--no-wait", "init"])?;
        Ok(daemon)
    }

    fn start_switch(&self) -> Result<Daemon, LabError> {
        let mut command = self.tool("ovs-vswitchd")?;
        command.arg(self.socket());
        command.arg(self.path("--pidfile=", "ovs-vswitchd.pid"));
        command.arg(self.path("--unixctl=", "ovs-vswitchd.ctl"));
        let mut daemon = Daemon::start(self.place, "ovs-vswitchd", command)?;
        let control = self.directory.join("ovs-vswitchd.ctl");
        daemon.wait_until(self.place, START, || Ok(control.exists()))?;
        Ok(daemon)
    }

    /// Bridges, ports and the tunnel.
    fn configure(&self, side: Side, pods: &[&Pod]) -> Result<(), LabError> {
        let bridge = |name: &str, mac| {
            format!(
                "-- add-br {name} -- set bridge {name} datapath_type=netdev fail_mode=secure \
                 other-config:hwaddr=\"{}\"",
                mac_text(mac)
            )
        };
        let mut line = format!(
            "{} {} -- add-port {PHYSICAL} {UNDERLAY}",
            bridge(BRIDGE, gateway_mac(side)),
            bridge(PHYSICAL, physical_mac(side))
        );
        for pod in pods {
            let _ = write!(line, " -- add-port {BRIDGE} {}", pod.host_link());
        }
        let _ = write!(
            line,
            " -- add-port {BRIDGE} {TUNNEL} -- set interface {TUNNEL} type=vxlan options:remote_ip={} options:key=1 \
             options:dst_port=8472",
            underlay(side.other())
        );
        let words: Vec<&str> = line.split_whitespace().collect();
        self.vsctl(&words)?;
        self.ofctl(&["add-flow", PHYSICAL, "actions=NORMAL"], "")
    }

    fn vsctl(&self, arguments: &[&str]) -> Result<(), LabError> {
        let mut command = self.tool("ovs-vsctl")?;
        command.arg(format!("--db={}", self.socket())).arg("--timeout=15").args(arguments);
        self.run(command, "")
    }

    fn ofctl(&self, arguments: &[&str], input: &str) -> Result<(), LabError> {
        let mut command = self.tool("ovs-ofctl")?;
        command.args(arguments);
        self.run(command, input)
    }

    fn appctl(&self, arguments: &[&str]) -> Result<(), LabError> {
        let mut command = self.tool("ovs-appctl")?;
        command.arg("-t").arg(self.directory.join("ovs-vswitchd.ctl")).args(arguments);
        self.run(command, "")
    }

    fn tool(&self, name: &str) -> Result<Command, LabError> {
        let mut command = Command::new(program(name)?);
        for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"] {
            command.env(variable, self.directory);
        }
        Ok(command)
    }

    fn run(&self, command: Command, input: &str) -> Result<(), LabError> {
        self.run_in(command, self.place.netns, input)
    }

    fn run_in(
        &self,
        mut command: Command,
        netns: &dataplane::sys::netns::Netns,
        input: &str,
    ) -> Result<(), LabError> {
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        process::run_in(&mut command, netns)?;
        let mut child = command.spawn()?;
        if let Some(mut pipe) = child.stdin.take() {
            // One that needs no input may be gone already.
            let _ = pipe.write_all(input.as_bytes());
        }
        let output = child.wait_with_output()?;
        if output.status.success() {
            return Ok(());
        }
        let name = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy();
        let said = String::from_utf8_lossy(&output.stderr);
        let text = format!("{name}: {}", said.lines().next().unwrap_or("failed"));
        Err(LabError::Weir { node: self.place.node, text })
    }

    fn socket(&self) -> String {
        format!("unix:{}", self.directory.join("db.sock").display())
    }

    fn path(&self, option: &str, name: &str) -> String {
        format!("{option}{}", self.directory.join(name).display())
    }
}

fn program(name: &str) -> Result<PathBuf, LabError> {
    find_program(name).ok_or_else(|| {
        LabError::unmet("Open vSwitch cannot be measured", &format!("{name} is not installed"), ADVICE)
    })
}

/// Where a program is; daemons are where ordinary users do not look.
fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(more).map(|directory| directory.join(name)).find(|path| path.is_file())
}

fn schema() -> Result<PathBuf, LabError> {
    let found = ["/usr", "/usr/local"].map(|prefix| Path::new(prefix).join(SCHEMA));
    found.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        let reason = io::Error::new(io::ErrorKind::NotFound, format!("there is no /usr/{SCHEMA}"));
        LabError::unmet("Open vSwitch cannot be measured", &reason, ADVICE)
    })
}
