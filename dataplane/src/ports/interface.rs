//! The interfaces of the current network namespace, for start-up messages that say what there is.
//!
//! Enumerated anew by each call (`getifaddrs(3)` through `pnet_datalink`); never on the packet path.

use pnet_datalink::NetworkInterface;

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Interface index.
    pub index: u32,
    /// MAC, where it has one.
    pub mac: Option<[u8; 6]>,
    /// `IFF_UP` and its like.
    pub flags: u32,
}

impl From<NetworkInterface> for Interface {
    fn from(interface: NetworkInterface) -> Self {
        Self {
            name: interface.name,
            index: interface.index,
            mac: interface.mac.map(|mac| mac.octets()),
            flags: interface.flags,
        }
    }
}

/// All interfaces.
pub fn all() -> Vec<Interface> {
    pnet_datalink::interfaces().into_iter().map(Interface::from).collect()
}

/// The interface called `name`.
pub fn by_name(name: &str) -> Option<Interface> {
    all().into_iter().find(|interface| interface.name == name)
}

/// "there are: a, b", for a message about an interface that is not among them.
pub fn listing() -> String {
    let mut names: Vec<String> = all().into_iter().map(|interface| interface.name).collect();
    names.sort();
    if names.is_empty() { "there is none".to_owned() } else { format!("there are: {}", names.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_found_by_name_and_listed() {
        let Some(loopback) = by_name("lo") else {
            println!("skipped: no loopback interface here");
            return;
        };
        assert!(loopback.index > 0);
        assert!(listing().contains("lo"));
        assert_eq!(by_name("no-such-if"), None);
    }
}
