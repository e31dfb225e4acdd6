//! Connections between pods of a cluster, to be judged at both ends: input for benches of the policy engine.

use std::net::IpAddr;

use policy_compiler::{Cluster, Pair, SubjectId};

use super::PORTS;
use super::ruleset::Skew;
use crate::generate::Rng;

/// `count` connections between different subjects of the cluster, IPv4 or IPv6, TCP, on ports that policies speak of and on
/// others. Both ends are chosen evenly or by Zipf's law, in an order of their own. None where no subject has an address
/// of the family.
pub fn pod_pairs(cluster: &Cluster, v4: bool, skew: Skew, seed: u64, count: usize) -> Vec<Pair> {
    let mut rng = Rng::new(seed);
    let mut ends: Vec<(SubjectId, IpAddr)> = (0..)
        .map(SubjectId)
        .zip(&cluster.subjects)
        .filter_map(|(id, one)| Some((id, *one.addresses.iter().find(|own| own.is_ipv4() == v4)?)))
        .collect();
    for place in 1..ends.len() {
        ends.swap(place, rng.below(place + 1));
    }
    // Sums of shares, in fractions of 2^32 of the first one's.
    let mut sum = 0_u64;
    let mut sums = Vec::with_capacity(ends.len());
    for rank in 1..=ends.len() as u64 {
        sum += match skew {
            Skew::Uniform => 1,
            Skew::Zipf => (1 << 32) / rank,
        };
        sums.push(sum);
    }
    let mut pairs = Vec::with_capacity(count);
    while pairs.len() < count {
        let mut end = || {
            let at = rng.number() % sum.max(1);
            ends.get(sums.partition_point(|&sum| sum <= at)).copied()
        };
        let (Some((source, src)), Some((destination, dst))) = (end(), end()) else { break };
        // What a pod sends to itself never leaves it.
        if source == destination && ends.len() > 1 {
            continue;
        }
        let dst_port = match rng.below(4) {
            0 => rng.below(65_536) as u16,
            _ => rng.pick(&PORTS).copied().unwrap_or(0),
        };
        pairs.push(Pair {
            source: Some(source),
            destination: Some(destination),
            src,
            dst,
            protocol: 6,
            src_port: 32_768 + rng.below(28_232) as u16,
            dst_port,
        });
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::{Skew, pod_pairs};
    use crate::generate::ClusterShape;
    use policy_compiler::{Cluster, Compiler, Options, Scope, parse};
    use std::collections::BTreeMap;

    #[test]
    fn pairs_are_of_one_family_and_as_skewed_as_asked() {
        let mut compiler = Compiler::new(Options::default());
        for object in parse("generated.yaml", &ClusterShape::with_policies(0).manifests()).objects {
            compiler.upsert(object);
        }
        let cluster = compiler.cluster(&Scope::All);
        for v4 in [true, false] {
            for (skew, least, most) in [(Skew::Uniform, 1, 30), (Skew::Zipf, 300, 800)] {
                let pairs = pod_pairs(&cluster, v4, skew, 1, 4000);
                assert_eq!(pairs, pod_pairs(&cluster, v4, skew, 1, 4000));
                assert!(pairs.iter().all(|pair| pair.src.is_ipv4() == v4 && pair.dst.is_ipv4() == v4));
                assert!(pairs.iter().all(|pair| pair.source != pair.destination));
                let mut sources = BTreeMap::new();
                for pair in &pairs {
                    *sources.entry(pair.src).or_insert(0) += 1;
                }
                let first = sources.values().max().copied().unwrap_or(0);
                assert!((least..=most).contains(&first), "{skew:?}: {first}");
            }
        }
        assert!(pod_pairs(&Cluster::default(), true, Skew::Uniform, 1, 10).is_empty());
    }
}
