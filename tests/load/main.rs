//! `weir load` and `weir bench rfc2544` on a real device: the kernel's bridge between interfaces.
//!
//! ```text
//!  tester ── near ═ veth ═ one ─┐
//!                               bridge          two network namespaces
//!  tester ── far  ═ veth ═ two ─┤
//!  tester ── aside ═ veth ═ three
//! ```
//! Figures are not judged here, sums are.

mod profile;
mod sending;
#[path = "../support/mod.rs"]
mod support;

use std::process::Output;
use std::time::Duration;

use dataplane::sys::netlink::Netlink;
use dataplane::sys::netns::Netns;
use support::weir;

/// A tester with three interfaces and the bridge between them; gone when dropped.
pub(crate) struct Bridge {
    names: [String; 2],
    pub(crate) tester: Netns,
}

impl Bridge {
    pub(crate) fn build(name: &str) -> Self {
        let names =
            ["tester", "device"].map(|part| format!("weir-load-{}-{name}-{part}", std::process::id()));
        let [tester, device] = [0, 1].map(|place: usize| Netns::create(&names[place]).unwrap());
        let made = device.run(|| {
            let netlink = Netlink::open().unwrap();
            netlink.add_bridge("bridge").unwrap();
            for (own, other) in [("one", "near"), ("two", "far"), ("three", "aside")] {
                netlink.add_veth(own, other, Some(&tester)).unwrap();
            }
            let bridge = netlink.link("bridge").unwrap().unwrap().index;
            for own in ["one", "two", "three"] {
                let index = netlink.link(own).unwrap().unwrap().index;
                netlink.set_master(index, Some(bridge)).unwrap();
                netlink.set_up(index, true).unwrap();
            }
            netlink.set_up(bridge, true).unwrap();
        });
        made.unwrap();
        tester
            .run(|| {
                let netlink = Netlink::open().unwrap();
                for name in ["near", "far", "aside", "lo"] {
                    let index = netlink.link(name).unwrap().unwrap().index;
                    netlink.set_up(index, true).unwrap();
                }
            })
            .unwrap();
        // Ports of a bridge forward once they have noticed their carrier.
        std::thread::sleep(Duration::from_millis(300));
        Self { names, tester }
    }

    pub(crate) fn weir(&self, arguments: &[&str]) -> Output {
        self.tester.run(|| weir(arguments)).unwrap()
    }

    pub(crate) fn has_drop(&self, interface: &str) -> bool {
        self.tester
            .run(|| {
                let netlink = Netlink::open().unwrap();
                let index = netlink.link(interface).unwrap().unwrap().index;
                netlink.has_ingress_drop(index).unwrap()
            })
            .unwrap()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = Netns::delete(name);
        }
    }
}
