//! Pods: a namespace each, an interface `eth0` in it, its addresses and its way out.
//!
//! How the interface comes about depends on the node: the kernel's arrangement and weir's `af_packet` have a
//! veth whose host end is in the node; weir's `tap` is made by weir itself inside the pod's namespace, and
//! only then can be given addresses.

use std::io;
use std::time::{Duration, Instant};

use dataplane::sys::netlink::Route;
use dataplane::sys::netns::Netns;

use super::plan::{Family, PodPlan, net};
use super::teardown::OwnedNetns;
use super::topology::{find, namespace, within};

/// Name of a pod's interface.
pub const INTERFACE: &str = "eth0";

/// A pod's namespace and what it is to be.
#[derive(Debug)]
pub struct Pod {
    /// Name, labels, node and addresses.
    pub plan: PodPlan,
    /// Its namespace.
    pub netns: OwnedNetns,
}

impl Pod {
    /// Makes the namespace, without an interface.
    pub fn create(id: &str, plan: PodPlan, keep: bool) -> io::Result<Self> {
        let netns = namespace(id, &format!("{}-{}", plan.namespace, plan.name), keep)?;
        Ok(Self { plan, netns })
    }

    /// Name of the host end of its veth, in its node.
    pub fn host_link(&self) -> String {
        format!("pod{}", self.plan.host)
    }

    /// Makes its veth, the host end in `node`, up and without a master.
    pub fn connect(&self, node: &Netns) -> io::Result<()> {
        let host_link = self.host_link();
        within(node, |netlink| {
            netlink.add_veth(&host_link, INTERFACE, Some(self.netns.netns()))?;
            netlink.set_up(find(netlink, &host_link)?.index, true)
        })?;
        within(self.netns.netns(), |netlink| {
            netlink.set_mac(find(netlink, INTERFACE)?.index, self.plan.mac())
        })
    }

    /// Whether it has its interface.
    pub fn has_interface(&self) -> io::Result<bool> {
        Ok(within(self.netns.netns(), |netlink| netlink.link(INTERFACE))?.is_some())
    }

    /// Waits until it has its interface.
    pub fn wait_for_interface(&self, timeout: Duration) -> io::Result<()> {
        let start = Instant::now();
        while !self.has_interface()? {
            if start.elapsed() > timeout {
                let text = format!("pod {} got no interface within {timeout:?}", self.plan.full_name());
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Gives the interface its addresses, MTU and default routes. May be done again after it came anew.
    pub fn configure(&self, mtu: u32) -> io::Result<()> {
        let side = self.plan.side;
        within(self.netns.netns(), |netlink| {
            let link = find(netlink, INTERFACE)?.index;
            netlink.set_mtu(link, mtu)?;
            netlink.add_address(link, net(self.plan.address(Family::V4), 24))?;
            netlink.add_address(link, net(self.plan.address(Family::V6), 64))?;
            netlink.set_up(link, true)?;
            netlink.add_route(&Route::to(net([0; 4], 0), link).via(side.pod_v4(1).into()))?;
            netlink.add_route(&Route::to(net([0_u16; 8], 0), link).via(side.pod_v6(1).into()))
        })
    }
}
