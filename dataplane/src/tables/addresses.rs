//! What is known of single addresses, keyed so that a lookup hashes one number: two multiplications for IPv4.
//!
//! Senders choose the addresses that are looked up, so the key of the hash is of this process.

use std::collections::HashMap;
use std::net::IpAddr;

/// A value for each of some addresses.
#[derive(Debug, Clone)]
pub(super) struct Addresses<T> {
    v4: HashMap<u32, T, ahash::RandomState>,
    v6: HashMap<u128, T, ahash::RandomState>,
}

impl<T: Copy> Addresses<T> {
    /// Gives `address` this value, whichever it had.
    pub(super) fn insert(&mut self, address: IpAddr, value: T) {
        match address {
            IpAddr::V4(address) => self.v4.insert(address.to_bits(), value),
            IpAddr::V6(address) => self.v6.insert(address.to_bits(), value),
        };
    }

    /// The value of `address`, if it has one.
    #[inline]
    pub(super) fn get(&self, address: IpAddr) -> Option<T> {
        match address {
            IpAddr::V4(address) => self.v4.get(&address.to_bits()).copied(),
            IpAddr::V6(address) => self.v6.get(&address.to_bits()).copied(),
        }
    }
}

impl<T: Copy> Extend<(IpAddr, T)> for Addresses<T> {
    fn extend<I: IntoIterator<Item = (IpAddr, T)>>(&mut self, all: I) {
        all.into_iter().for_each(|(address, value)| self.insert(address, value));
    }
}

impl<T: Copy> FromIterator<(IpAddr, T)> for Addresses<T> {
    fn from_iter<I: IntoIterator<Item = (IpAddr, T)>>(all: I) -> Self {
        let mut addresses = Self { v4: HashMap::default(), v6: HashMap::default() };
        addresses.extend(all);
        addresses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_address_is_not_the_ipv6_address_that_holds_it() {
        let v4: IpAddr = "10.244.1.2".parse().unwrap();
        let mapped: IpAddr = "::ffff:10.244.1.2".parse().unwrap();
        let compatible: IpAddr = "::10.244.1.2".parse().unwrap();
        let addresses: Addresses<u8> = [(v4, 1), (mapped, 2), (v4, 3)].into_iter().collect();
        assert_eq!([v4, mapped, compatible].map(|address| addresses.get(address)), [Some(3), Some(2), None]);
    }
}
