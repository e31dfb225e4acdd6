//! Pods that behave alike, so that a matrix of hundreds of pods can be read.
//!
//! Two pods of a namespace are alike if everybody else reaches both over the same ports and is reached by both over the
//! same ports, and each reaches the other as the other reaches it. That is an equivalence, so a class stands for all of
//! its pods exactly: nothing is averaged. Cost: pods × classes of their namespace × ends, most of it cut short.

use super::matrix::Matrix;
use std::collections::{BTreeMap, BTreeSet};

/// Ends that behave alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// Their namespace; none for ends that are no pods.
    pub namespace: Option<String>,
    /// The owners of the pods, without the namespace; or the name of an end that is no pod.
    pub owners: Vec<String>,
    /// Positions in [`Matrix::ends`].
    pub members: Vec<usize>,
}

impl Class {
    /// `web ×3`, `api, web ×5`.
    pub fn label(&self) -> String {
        let mut label = match &self.owners[..] {
            [first, second, third, rest @ ..] if !rest.is_empty() => {
                format!("{first}, {second}, {third} +{}", rest.len())
            }
            owners => owners.join(", "),
        };
        if self.members.len() > 1 {
            label.push_str(&format!(" ×{}", self.members.len()));
        }
        label
    }
}

impl Matrix {
    /// All ends in classes: pods by namespace and owner, then the others.
    pub fn classes(&self) -> Vec<Class> {
        let mut namespaces: BTreeMap<&str, Vec<(&str, usize)>> = BTreeMap::new();
        let mut others = Vec::new();
        for (position, end) in self.ends.iter().enumerate() {
            match &end.owner {
                Some(owner) => {
                    namespaces.entry(&owner.namespace).or_default().push((&owner.name, position));
                }
                None => others.push(Class {
                    namespace: None,
                    owners: vec![end.name.clone()],
                    members: vec![position],
                }),
            }
        }
        let mut classes = Vec::new();
        for (namespace, mut pods) in namespaces {
            pods.sort();
            let mut found: Vec<Vec<usize>> = Vec::new();
            for &(_, pod) in &pods {
                let same = found
                    .iter_mut()
                    .find(|members| members.first().is_some_and(|&first| self.alike(first, pod)));
                match same {
                    Some(members) => members.push(pod),
                    None => found.push(vec![pod]),
                }
            }
            classes.extend(found.into_iter().map(|members| {
                let owners: BTreeSet<&str> = members
                    .iter()
                    .filter_map(|&member| self.ends.get(member)?.owner.as_ref())
                    .map(|owner| owner.name.as_str())
                    .collect();
                let owners = owners.into_iter().map(str::to_owned).collect();
                Class { namespace: Some(namespace.to_owned()), owners, members }
            }));
        }
        classes.extend(others);
        classes
    }

    /// What is open from one class to the other. A class of one pod to itself: none, for that needs no policy.
    pub fn class_shade(&self, from: &Class, to: &Class) -> Option<u32> {
        let (&src, &first) = (from.members.first()?, to.members.first()?);
        let dst = if src == first { to.members.get(1).copied()? } else { first };
        self.shade(src, dst)
    }

    fn alike(&self, one: usize, two: usize) -> bool {
        self.shade(one, two) == self.shade(two, one)
            && (0..self.ends.len()).all(|end| {
                end == one
                    || end == two
                    || self.shade(one, end) == self.shade(two, end)
                        && self.shade(end, one) == self.shade(end, two)
            })
    }
}
