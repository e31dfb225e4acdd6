//! Any order of changes against what the prefixes say, and what the tables take.

use super::table::{BLOCK, ROOT, Skip};
use super::{Trie, TrieTable};

/// Bytes of the root table.
const ROOT_BYTES: usize = ROOT * 4;
/// Bytes of one further block.
const BLOCK_BYTES: usize = BLOCK * 4;
/// Bytes that one prefix takes at most.
const MOST_PER_PREFIX: usize = 2 * (BLOCK_BYTES + size_of::<Skip>());

impl TrieTable {
    fn lookup_v4(&self, address: u32) -> Option<u32> {
        self.view()?.lookup_v4(address)
    }

    fn lookup_v6(&self, bits: u128) -> Option<u32> {
        self.view()?.lookup_v6(bits)
    }
}

#[test]
fn the_longest_prefix_wins() {
    let mut trie = Trie::new(0);
    for (address, prefix_len, value) in
        [([10, 0, 0, 0], 8, 1), ([10, 1, 0, 0], 16, 2), ([10, 1, 2, 0], 23, 3), ([10, 1, 3, 7], 32, 4)]
    {
        assert_eq!(trie.insert(&address, prefix_len, value), Some(()));
    }
    for (address, value) in [
        ([9, 255, 255, 255], 0),
        ([10, 0, 0, 0], 1),
        ([10, 1, 255, 255], 2),
        ([10, 1, 2, 1], 3),
        ([10, 1, 3, 6], 3),
        ([10, 1, 3, 7], 4),
        ([10, 1, 4, 0], 2),
        ([11, 0, 0, 0], 0),
    ] {
        assert_eq!(trie.copy().lookup_v4(u32::from_be_bytes(address)), Some(value), "{address:?}");
    }
}

#[test]
fn a_shorter_prefix_gives_back_what_was_inside() {
    let mut trie = Trie::new(0);
    let mut used = 0;
    for round in 0..50 {
        for host in 0..=255 {
            assert_eq!(trie.insert(&[10, 1, host, round], 32, 7), Some(()));
        }
        let before = trie.copy();
        if round == 0 {
            used = trie.copy().memory_bytes();
            assert_eq!(trie.used_bytes(), ROOT_BYTES + 257 * BLOCK_BYTES);
        }
        assert_eq!(trie.insert(&[10, 0, 0, 0], if round % 2 == 0 { 8 } else { 16 }, 0), Some(()));
        if round % 2 != 0 {
            assert_eq!(trie.insert(&[10, 1, 0, 0], 16, 0), Some(()));
        }
        assert_eq!(trie.used_bytes(), ROOT_BYTES);
        assert_eq!(
            before.lookup_v4(u32::from_be_bytes([10, 1, 9, round])),
            Some(7),
            "a copy stays as it was"
        );
        assert_eq!(trie.copy().lookup_v4(u32::from_be_bytes([10, 1, 9, round])), Some(0));
        assert_eq!(trie.copy().memory_bytes(), used);
    }
}

#[test]
fn ipv6_goes_as_deep_as_its_prefixes() {
    let mut trie = Trie::new(0);
    let host = 0x2001_0db8_0042_0001_0000_0000_0000_0005_u128.to_be_bytes();
    assert_eq!(trie.insert(&host, 61, 1), Some(()));
    assert_eq!(trie.insert(&host, 128, 2), Some(()));
    assert_eq!(trie.copy().lookup_v6(u128::from_be_bytes(host)), Some(2));
    assert_eq!(trie.copy().lookup_v6(u128::from_be_bytes(host) ^ 1), Some(1));
    assert_eq!(trie.copy().lookup_v6(0), Some(0));
}

#[test]
fn a_prefix_longer_than_its_address_is_refused() {
    assert_eq!(Trie::new(0).insert(&[10, 0, 0, 0], 33, 1), None);
}

/// Prefixes as they are: what is inherited from none is 0.
fn plainly(prefixes: &[(u128, u8, u32)], address: u128) -> u32 {
    let holds =
        |&&(prefix, len, _): &&(u128, u8, u32)| len == 0 || (prefix ^ address) >> (128 - u32::from(len)) == 0;
    prefixes.iter().filter(holds).max_by_key(|(_, len, _)| *len).map_or(0, |&(.., value)| value)
}

#[test]
fn any_order_of_changes_is_what_the_prefixes_say() {
    let mut state = 0x8472_u64;
    let mut below = |bound: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % bound
    };
    for v4 in [true, false] {
        let mut trie = Trie::new(0);
        let mut prefixes: Vec<(u128, u8, u32)> = Vec::new();
        for round in 0..3000_u32 {
            // Bytes of few values, so that prefixes share beginnings of every length.
            let bytes: [u8; 16] =
                std::array::from_fn(
                    |at| if v4 && at >= 4 { 0 } else { [0, 0, 0, 1, 255][below(5) as usize] },
                );
            let address = u128::from_be_bytes(bytes);
            let most = if v4 { 32 } else { 128 };
            let len = if below(2) == 0 { most } else { below(u64::from(most) + 1) as u8 };
            let len = if round % 400 == 399 { 0 } else { len.max(9) };
            let prefix =
                if len == 0 { 0 } else { address >> (128 - u32::from(len)) << (128 - u32::from(len)) };
            prefixes.retain(|&(other, of, _)| {
                of < len || (len != 0 && (other ^ prefix) >> (128 - u32::from(len)) != 0)
            });
            prefixes.push((prefix, len, round + 1));
            let used = trie.used_bytes();
            let given = if v4 { &bytes[..4] } else { &bytes[..] };
            assert_eq!(trie.insert(given, len, round + 1), Some(()));
            assert!(v4 || trie.used_bytes() <= used + MOST_PER_PREFIX, "no prefix takes more");
            let table = trie.copy();
            for _ in 0..8 {
                let probe = match below(3) {
                    0 => address,
                    1 => address ^ (1 << if v4 { 96 + below(32) } else { below(128) }),
                    _ => prefixes[below(prefixes.len() as u64) as usize].0,
                };
                let found = if v4 { table.lookup_v4((probe >> 96) as u32) } else { table.lookup_v6(probe) };
                assert_eq!(found, Some(plainly(&prefixes, probe)), "{probe:x} in round {round}");
            }
            if len == 0 {
                assert_eq!(trie.used_bytes(), ROOT_BYTES, "all is given back");
            }
        }
    }
}

#[test]
fn pods_of_many_nodes_share_what_their_addresses_share() {
    let mut trie = Trie::new(0);
    for node in 0..100_u128 {
        for pod in 0..50 {
            let address = 0xfd00_0010_0244_u128 << 80 | node << 64 | pod;
            assert_eq!(trie.insert(&address.to_be_bytes(), 128, 7), Some(()));
        }
    }
    assert!(trie.used_bytes() < ROOT_BYTES + 102 * (BLOCK_BYTES + 64), "{}", trie.used_bytes());
}
