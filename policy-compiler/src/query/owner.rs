//! Which pods are replicas of one another, by their names: who owns a pod is not among what weir reads of it.
//!
//! Used for people alone, to name many pods in few words; a wrong guess names pods one by one, or under a name too
//! wide, and changes no verdict.

use super::end::{End, EndKind};
use crate::api::Pod;
use std::collections::BTreeMap;

/// Characters of the random parts of names that Kubernetes makes: no vowels, nothing easily mistaken.
const RANDOM: &str = "bcdfghjklmnpqrstvwxz2456789";

/// What a pod is a replica of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner {
    /// Its namespace.
    pub namespace: String,
    /// Its name, as far as the pod's tells: `web` for `web-7d4b9c6f5-x2k9p`, `db` for `db-0`.
    pub name: String,
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The owner of a pod.
pub(super) fn owner(pod: &Pod) -> Owner {
    let labels = &pod.meta.labels;
    let name = &pod.meta.key.name;
    let job = labels.get("batch.kubernetes.io/job-name").or_else(|| labels.get("job-name"));
    let template = labels.get("pod-template-hash").and_then(|hash| {
        let (rest, _) = name.rsplit_once('-')?;
        rest.strip_suffix(hash.as_str())?.strip_suffix('-')
    });
    let name = match (job, template) {
        (Some(job), _) if name.starts_with(job.as_str()) => job,
        (_, Some(template)) => template,
        _ => without_suffix(name),
    };
    Owner { namespace: pod.meta.key.namespace.clone(), name: name.to_owned() }
}

fn without_suffix(name: &str) -> &str {
    let Some((rest, last)) = name.rsplit_once('-') else { return name };
    let is_random = |part: &str| part.chars().all(|c| RANDOM.contains(c));
    if !last.is_empty() && last.len() <= 4 && last.bytes().all(|byte| byte.is_ascii_digit()) {
        return rest;
    }
    if last.len() != 5 || !is_random(last) {
        return name;
    }
    match rest.rsplit_once('-') {
        Some((owner, hash)) if (8..=10).contains(&hash.len()) && is_random(hash) => owner,
        _ => rest,
    }
}

/// Names sets of ends in few words.
#[derive(Debug)]
pub(super) struct Roster<'e> {
    ends: &'e [End],
    owners: BTreeMap<&'e Owner, usize>,
    namespaces: BTreeMap<&'e str, usize>,
    pods: usize,
    nodes: usize,
}

/// Most names that are listed of a set.
const LISTED: usize = 4;

impl<'e> Roster<'e> {
    pub(super) fn new(ends: &'e [End]) -> Self {
        let (mut owners, mut namespaces, mut pods) = (BTreeMap::new(), BTreeMap::new(), 0);
        for owner in ends.iter().filter_map(|end| end.owner.as_ref()) {
            *owners.entry(owner).or_default() += 1;
            *namespaces.entry(owner.namespace.as_str()).or_default() += 1;
            pods += 1;
        }
        let nodes = ends.iter().filter(|end| end.kind == EndKind::Node).count();
        Self { ends, owners, namespaces, pods, nodes }
    }

    /// The ends at these positions: whole namespaces and all replicas of an owner by one word each.
    pub(super) fn name(&self, positions: &[usize]) -> String {
        let ends = positions.iter().filter_map(|&position| self.ends.get(position));
        let set: Vec<(&str, Option<&Owner>)> =
            ends.clone().map(|end| (end.name.as_str(), end.owner.as_ref())).collect();
        let owned = set.iter().filter_map(|(_, owner)| *owner);
        let pods = owned.clone().count();
        let mut words: Vec<String> = Vec::new();
        if pods == self.pods && pods > LISTED {
            words.push(format!("every pod ({pods})"));
        } else {
            let mut namespaces: BTreeMap<&str, BTreeMap<&Owner, usize>> = BTreeMap::new();
            for owner in owned {
                *namespaces.entry(&owner.namespace).or_default().entry(owner).or_default() += 1;
            }
            for (namespace, owners) in namespaces {
                let count: usize = owners.values().sum();
                if owners.len() > 1 && self.namespaces.get(namespace) == Some(&count) {
                    words.push(format!("{namespace}/* ({count})"));
                    continue;
                }
                for (owner, count) in owners {
                    if count > 1 && self.owners.get(owner) == Some(&count) {
                        words.push(format!("{owner} (all {count})"));
                    } else if count > 2 {
                        let all = self.owners.get(owner).copied().unwrap_or(count);
                        words.push(format!("{owner} ({count} of {all})"));
                    } else {
                        let named = set.iter().filter(|(_, of)| *of == Some(owner));
                        words.extend(named.map(|(name, _)| (*name).to_owned()));
                    }
                }
            }
        }
        let nodes = ends.clone().filter(|end| end.kind == EndKind::Node).count();
        let all_nodes = nodes == self.nodes && nodes > 1;
        if all_nodes {
            words.push(format!("every node ({nodes})"));
        }
        let others = ends.filter(|end| end.owner.is_none() && !(all_nodes && end.kind == EndKind::Node));
        words.extend(others.map(|end| end.name.clone()));
        let rest = words.len().saturating_sub(LISTED);
        if rest > 1 {
            words.truncate(LISTED);
            words.push(format!("{rest} more"));
        }
        words.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::{Owner, Roster, without_suffix};
    use crate::cluster::SubjectId;
    use crate::query::end::{End, EndKind};

    #[test]
    fn suffixes_of_replicas_are_left_out() {
        for (name, owner) in [
            ("web-7d4b9c6f5-x2k9p", "web"),
            ("node-agent-x2k9p", "node-agent"),
            ("db-0", "db"),
            ("redis", "redis"),
            ("my-proxy", "my-proxy"),
            ("web-20261121", "web-20261121"),
            ("-", "-"),
        ] {
            assert_eq!(without_suffix(name), owner, "{name}");
        }
    }

    #[test]
    fn whole_groups_are_one_word() {
        let end = |name: &str, kind, owner: Option<(&str, &str)>| End {
            name: name.to_owned(),
            kind,
            addresses: Vec::new(),
            owner: owner.map(|(namespace, name)| Owner { namespace: namespace.into(), name: name.into() }),
        };
        let pod = |name, namespace, owner| end(name, EndKind::Pod(SubjectId(0)), Some((namespace, owner)));
        let ends = [
            pod("a/web-0", "a", "web"),
            pod("a/web-1", "a", "web"),
            pod("a/db-0", "a", "db"),
            pod("b/x", "b", "x"),
            end("outside", EndKind::Outside, None),
            end("node 1", EndKind::Node, None),
            end("node 2", EndKind::Node, None),
        ];
        let roster = Roster::new(&ends);
        assert_eq!(roster.name(&[0, 1, 2]), "a/* (3)");
        assert_eq!(roster.name(&[0, 1, 3, 4]), "a/web (all 2), b/x, outside");
        assert_eq!(roster.name(&[1, 2]), "a/db-0, a/web-1");
        assert_eq!(roster.name(&[0, 1, 2, 3]), "a/* (3), b/x");
        assert_eq!(roster.name(&[4, 5, 6]), "every node (2), outside");
        assert_eq!(roster.name(&[5]), "node 1");
        assert_eq!(roster.name(&[]), "");
    }
}
