//! Namespaces and rtnetlink against the real kernel.
//!
//! Each test works in namespaces of its own and removes them, also when it fails. Without the right to make
//! namespaces a test says what it lacks and passes; as root under `CI=true` that is a failure.

use std::io;
use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use dataplane::sys::netlink::{Link, Netlink, Route, Vxlan, os_error};
use dataplane::sys::netns::{Netns, sysctl, sysctl_set};
use ipnet::IpNet;

const EEXIST: i32 = 17;

struct Scratch {
    name: String,
    netns: Netns,
}

impl Scratch {
    fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("f-nl-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        match Netns::create(&name) {
            Ok(netns) => Some(Self { name, netns }),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                assert!(
                    std::env::var("CI").as_deref() != Ok("true"),
                    "namespaces are needed under CI: {error}"
                );
                println!("skipped: no right to make a network namespace ({error})");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn run<T: Send>(&self, f: impl FnOnce(&Netlink) -> io::Result<T> + Send) -> T {
        self.netns.run(|| f(&Netlink::open()?)).unwrap().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        Netns::delete(&self.name).unwrap();
    }
}

fn must(netlink: &Netlink, name: &str) -> io::Result<Link> {
    netlink.link(name)?.ok_or_else(|| io::Error::other(format!("no link {name}")))
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_closure_runs_in_the_other_namespace_and_the_caller_stays() {
    let Some(scratch) = Scratch::new() else { return };
    let before = Netns::current().unwrap().inode().unwrap();
    let inside = scratch.netns.run(|| Netns::current().unwrap().inode().unwrap()).unwrap();
    assert_eq!(inside, scratch.netns.inode().unwrap());
    assert_eq!(before, Netns::current().unwrap().inode().unwrap());
    assert_ne!(before, inside);
    assert_eq!(Netns::named(&scratch.name).unwrap().inode().unwrap(), inside);
    assert!(Netns::names().unwrap().contains(&scratch.name));
}

#[test]
fn a_panic_in_the_closure_reaches_the_caller() {
    let Some(scratch) = Scratch::new() else { return };
    let caught =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| scratch.netns.run(|| panic!("inside"))));
    assert!(caught.is_err());
}

#[test]
fn a_taken_name_is_refused_and_a_deleted_one_is_free() {
    let Some(scratch) = Scratch::new() else { return };
    assert_eq!(Netns::create(&scratch.name).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(Netns::named(&scratch.name).unwrap().inode().unwrap(), scratch.netns.inode().unwrap());
    Netns::delete(&scratch.name).unwrap();
    assert!(Netns::named(&scratch.name).is_err());
    Netns::create(&scratch.name).unwrap();
}

#[test]
fn a_sysctl_is_that_of_the_namespace() {
    let Some(scratch) = Scratch::new() else { return };
    let inside = scratch.netns.run(|| {
        sysctl_set("net/ipv4/ip_forward", "1")?;
        sysctl("net/ipv4/ip_forward")
    });
    assert_eq!(inside.unwrap().unwrap(), "1");
    let error = sysctl_set("net/ipv4/no_such_thing", "1").unwrap_err();
    assert!(error.to_string().contains("no_such_thing"), "{error}");
}

#[test]
fn links_are_made_changed_moved_and_removed() {
    let Some(scratch) = Scratch::new() else { return };
    let Some(other) = Scratch::new() else { return };
    scratch.run(|netlink| {
        assert_eq!(netlink.link("dum0")?, None);
        netlink.add_veth("dum0", "peer0", None)?;
        let made = must(netlink, "dum0")?;
        assert_eq!(made.kind.as_deref(), Some("veth"));
        assert!(!made.up);
        netlink.set_up(made.index, true)?;
        netlink.set_mac(made.index, [2, 0, 0, 0, 0, 9])?;
        netlink.set_mtu(made.index, 1400)?;
        netlink.add_bridge("br0")?;
        let bridge = must(netlink, "br0")?;
        netlink.set_master(made.index, Some(bridge.index))?;
        let changed = netlink.link_by_index(made.index)?.unwrap();
        assert_eq!(changed.mac, [2, 0, 0, 0, 0, 9]);
        assert_eq!((changed.mtu, changed.up, changed.master), (1400, true, Some(bridge.index)));
        netlink.set_master(made.index, None)?;
        netlink.set_up(made.index, false)?;
        netlink.rename(made.index, "dum1")?;
        assert_eq!(must(netlink, "dum1")?.master, None);
        let names: Vec<String> = netlink.links()?.into_iter().map(|link| link.name).collect();
        assert_eq!(names, ["lo", "peer0", "dum1", "br0"]);
        netlink.set_netns(made.index, &other.netns)?;
        assert_eq!(netlink.link("dum1")?, None);
        netlink.delete_link(bridge.index)?;
        assert_eq!(netlink.link_by_index(bridge.index)?, None);
        Ok(())
    });
    other.run(|netlink| must(netlink, "dum1"));
}

#[test]
fn a_refusal_says_what_was_asked_and_keeps_its_number() {
    let Some(scratch) = Scratch::new() else { return };
    scratch.run(|netlink| {
        netlink.add_bridge("br0")?;
        let error = netlink.add_bridge("br0").unwrap_err();
        assert_eq!(os_error(&error), Some(EEXIST));
        assert!(error.to_string().contains("make bridge link br0"), "{error}");
        let error = netlink.set_mtu(must(netlink, "br0")?.index, 1).unwrap_err();
        assert!(error.to_string().contains("mtu less than device minimum"), "{error}");
        Ok(())
    });
}

#[test]
fn traffic_passes_a_veth_with_addresses_and_routes() {
    let Some(one) = Scratch::new() else { return };
    let Some(two) = Scratch::new() else { return };
    one.run(|netlink| {
        netlink.add_veth("left", "right", Some(&two.netns))?;
        let left = must(netlink, "left")?;
        netlink.set_up(left.index, true)?;
        netlink.add_address(left.index, net("10.9.0.1/24"))?;
        netlink.add_address(left.index, net("10.9.0.1/24"))?;
        netlink.add_address(left.index, net("fd00:9::1/64"))?;
        netlink.add_route(&Route::to(net("10.10.0.0/16"), left.index).via(ip("10.9.0.2")))?;
        netlink.add_route(&Route {
            mtu: Some(1400),
            ..Route::to(net("10.10.0.0/16"), left.index).via(ip("10.9.0.3"))
        })?;
        netlink.add_route(&Route::to(net("0.0.0.0/0"), left.index).via(ip("10.9.0.2")))?;
        netlink.add_route(&Route::to(net("::/0"), left.index).via(ip("fd00:9::2")))?;
        let addresses = netlink.addresses(left.index)?;
        assert!(
            addresses.contains(&net("10.9.0.1/24")) && addresses.contains(&net("fd00:9::1/64")),
            "{addresses:?}"
        );
        Ok(())
    });
    let right_mac = two.run(|netlink| {
        let right = must(netlink, "right")?;
        netlink.add_address(right.index, net("10.9.0.2/24"))?;
        netlink.add_address(right.index, net("fd00:9::2/64"))?;
        netlink.set_up(right.index, true)?;
        Ok(right.mac)
    });
    let peer = one.run(|netlink| netlink.peer_mac(must(netlink, "left")?.index));
    assert_eq!(peer, Some(right_mac));
    assert_eq!(one.run(|netlink| netlink.peer_mac(must(netlink, "lo")?.index)), None);
    for (to, from) in [("10.9.0.2", "10.9.0.1"), ("fd00:9::2", "fd00:9::1")] {
        assert_eq!(datagram_arrives(&one, &two, to), Some(ip(from)), "{to}");
    }
    let table = one.netns.run(|| std::fs::read_to_string("/proc/thread-self/net/route")).unwrap().unwrap();
    assert_eq!(table.matches("00000A0A").count(), 1, "a route replaces the one before: {table}");
}

/// Sends a few datagrams to `to` and gives the sender's address as seen there.
fn datagram_arrives(from: &Scratch, at: &Scratch, to: &str) -> Option<IpAddr> {
    let receiver = at.netns.run(|| UdpSocket::bind((to, 7))).unwrap().unwrap();
    receiver.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let any = if to.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
    let sender = from.netns.run(|| UdpSocket::bind(any)).unwrap().unwrap();
    (0..10).find_map(|_| {
        sender.send_to(b"x", (to, 7)).unwrap();
        receiver.recv_from(&mut [0; 8]).ok().map(|(_, source)| source.ip())
    })
}

#[test]
fn a_peer_in_the_same_namespace_is_found() {
    let Some(scratch) = Scratch::new() else { return };
    scratch.run(|netlink| {
        netlink.add_veth("left", "right", None)?;
        let right = must(netlink, "right")?;
        assert_eq!(netlink.peer_mac(must(netlink, "left")?.index)?, Some(right.mac));
        Ok(())
    });
}

#[test]
fn flannels_three_entries_are_taken() {
    let Some(scratch) = Scratch::new() else { return };
    scratch.run(|netlink| {
        netlink.add_bridge("eth0")?;
        let eth0 = must(netlink, "eth0")?;
        netlink.set_up(eth0.index, true)?;
        netlink.add_address(eth0.index, net("192.0.2.2/24"))?;
        netlink.add_address(eth0.index, net("2001:db8::2/64"))?;
        for (name, local, own, far, far_pods, vtep) in [
            ("flannel.1", "192.0.2.2", "10.244.2.0/32", "192.0.2.1", "10.244.1.0/24", "10.244.1.0"),
            (
                "flannel-v6.1",
                "2001:db8::2",
                "fd00:10:244:2::/128",
                "2001:db8::1",
                "fd00:10:244:1::/64",
                "fd00:10:244:1::",
            ),
        ] {
            let mac = [0x0e, 0, 0, 0, 0, 2];
            netlink.add_vxlan(&Vxlan {
                name,
                vni: 1,
                port: 8472,
                local: ip(local),
                dev_index: eth0.index,
                learning: false,
                mac: Some(mac),
            })?;
            let device = must(netlink, name)?;
            assert_eq!((device.mac, device.kind.as_deref()), (mac, Some("vxlan")));
            netlink.add_address(device.index, net(own))?;
            netlink.set_up(device.index, true)?;
            let far_mac = [0x0e, 0, 0, 0, 0, 1];
            for _ in 0..2 {
                netlink.add_neighbour(device.index, ip(vtep), far_mac)?;
                netlink.add_fdb(device.index, far_mac, ip(far))?;
                netlink.add_route(&Route {
                    onlink: true,
                    ..Route::to(net(far_pods), device.index).via(ip(vtep))
                })?;
            }
        }
        Ok(())
    });
}

#[test]
fn behind_the_ingress_drop_the_kernel_sees_nothing() {
    let Some(one) = Scratch::new() else { return };
    let Some(two) = Scratch::new() else { return };
    one.run(|netlink| {
        netlink.add_veth("left", "right", Some(&two.netns))?;
        let left = must(netlink, "left")?;
        netlink.set_up(left.index, true)?;
        netlink.add_address(left.index, net("10.9.0.1/24"))
    });
    let index = two.run(|netlink| {
        let right = must(netlink, "right")?;
        netlink.set_up(right.index, true)?;
        netlink.add_address(right.index, net("10.9.0.2/24"))?;
        Ok(right.index)
    });
    assert!(datagram_arrives(&one, &two, "10.9.0.2").is_some());
    two.run(|netlink| {
        assert!(!netlink.has_ingress_drop(index)?);
        netlink.remove_ingress_drop(index)?;
        netlink.ensure_ingress_drop(index)?;
        netlink.ensure_ingress_drop(index)?;
        assert!(netlink.has_ingress_drop(index)?);
        Ok(())
    });
    assert!(datagram_arrives(&one, &two, "10.9.0.2").is_none());
    two.run(|netlink| {
        netlink.remove_ingress_drop(index)?;
        assert!(!netlink.has_ingress_drop(index)?);
        Ok(())
    });
    assert!(datagram_arrives(&one, &two, "10.9.0.2").is_some());
}

#[test]
fn a_filter_before_the_drop_is_not_overlooked() {
    let Some(scratch) = Scratch::new() else { return };
    let index = scratch.run(|netlink| {
        netlink.add_veth("left", "right", None)?;
        Ok(must(netlink, "left")?.index)
    });
    let tc = |line: &str| {
        scratch.netns.run(|| std::process::Command::new("tc").args(line.split(' ')).status()).unwrap()
    };
    let pass = "filter add dev left ingress prio 1 protocol all bpf da bytecode 1,6_0_0_0";
    let Ok(status) = tc("qdisc add dev left clsact") else {
        println!("skipped: no tc on this machine to place a foreign filter with");
        return;
    };
    assert!(status.success());
    let add = |line: &str| {
        let arguments: Vec<String> = line.split(' ').map(|word| word.replace('_', " ")).collect();
        scratch.netns.run(|| std::process::Command::new("tc").args(arguments).status()).unwrap().unwrap()
    };
    assert!(add(pass).success());
    scratch.run(|netlink| {
        assert!(!netlink.has_ingress_drop(index)?);
        Ok(())
    });
    let outcome = scratch.netns.run(|| Netlink::open()?.ensure_ingress_drop(index)).unwrap();
    let has = scratch.run(|netlink| netlink.has_ingress_drop(index));
    assert_eq!(outcome.is_ok(), has, "{outcome:?}");
    if let Err(error) = outcome {
        assert!(error.to_string().contains("tc"), "{error}");
    }
}
