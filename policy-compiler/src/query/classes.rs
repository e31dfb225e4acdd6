//! Pods that behave alike, so that a matrix of hundreds of pods can be read.
//!
//! Two pods of a namespace are alike if everybody else reaches both over the same ports and is reached by both over the
//! same ports, and each reaches the other as the other reaches it. That is an equivalence, so a class stands for all of
//! its pods exactly: nothing is averaged. Cost: pods × classes of their namespace × ends, most of it cut short.

use super::matrix::Matrix;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

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
    // Writing to a String cannot fail.
    pub fn label(&self) -> String {
        let mut label = match &self.owners[..] {
            [first, second, rest @ ..] if !rest.is_empty() => {
                format!("{first}, {second} +{}", rest.len())
            }
            owners => owners.join(", "),
        };
        if self.members.len() > 1 {
            let _ = write!(label, " ×{}", self.members.len());
        }
        label
    }
}

impl Matrix {
    /// All ends in classes: pods by namespace and owner, then the others. Replicas of one owner that behave alike share
    /// a class; where that leaves more than `most` classes, so do pods of a namespace, whoever owns them.
    pub fn classes(&self, most: usize) -> Vec<Class> {
        let classes = self.classes_of(false);
        if classes.len() <= most { classes } else { self.classes_of(true) }
    }

    fn classes_of(&self, whoever_owns: bool) -> Vec<Class> {
        let mut namespaces: BTreeMap<Natural<'_>, Vec<(Natural<'_>, usize)>> = BTreeMap::new();
        let mut others = Vec::new();
        for (position, end) in self.ends.iter().enumerate() {
            match &end.owner {
                Some(owner) => {
                    let pods = namespaces.entry(Natural(&owner.namespace)).or_default();
                    pods.push((Natural(&owner.name), position));
                }
                None => others.push(Class {
                    namespace: None,
                    owners: vec![end.name.clone()],
                    members: vec![position],
                }),
            }
        }
        let mut classes = Vec::new();
        for (Natural(namespace), mut pods) in namespaces {
            pods.sort();
            let mut found: Vec<Vec<usize>> = Vec::new();
            for &(_, pod) in &pods {
                let same = found.iter_mut().find(|members| {
                    members.first().is_some_and(|&first| {
                        (whoever_owns || self.owner(first) == self.owner(pod)) && self.alike(first, pod)
                    })
                });
                match same {
                    Some(members) => members.push(pod),
                    None => found.push(vec![pod]),
                }
            }
            classes.extend(found.into_iter().map(|members| {
                let owners = members.iter().filter_map(|&member| self.owner(member)).map(Natural);
                let owners: BTreeSet<Natural<'_>> = owners.collect();
                let owners = owners.into_iter().map(|Natural(name)| name.to_owned()).collect();
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

    fn owner(&self, end: usize) -> Option<&str> {
        self.ends.get(end)?.owner.as_ref().map(|owner| owner.name.as_str())
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

/// A name in the order of people: `team-9` before `team-10`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Natural<'n>(&'n str);

impl PartialOrd for Natural<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Natural<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let (mut left, mut right) = (self.0, other.0);
        loop {
            let ((a, left_digits), (b, right_digits)) = (part(left), part(right));
            if a.is_empty() || b.is_empty() {
                // Equal by parts (leading zeros) is not equal by letters.
                return a.len().cmp(&b.len()).then_with(|| self.0.cmp(other.0));
            }
            let order = if left_digits && right_digits {
                let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
                a.len().cmp(&b.len()).then_with(|| a.cmp(b))
            } else {
                a.cmp(b)
            };
            if order != Ordering::Equal {
                return order;
            }
            (left, right) = (left.get(a.len()..).unwrap_or(""), right.get(b.len()..).unwrap_or(""));
        }
    }
}

/// The digits, or what is none, that a name begins with.
fn part(name: &str) -> (&str, bool) {
    let digits = name.starts_with(|c: char| c.is_ascii_digit());
    let end = name.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(name.len());
    (name.get(..end).unwrap_or(""), digits)
}

#[cfg(test)]
mod tests {
    use super::Natural;

    #[test]
    fn numbers_in_names_are_compared_as_numbers() {
        let mut names = ["team-10", "team-9", "a", "team", "team-09", "10", "9", ""];
        names.sort_by_key(|name| Natural(name));
        assert_eq!(names, ["", "9", "10", "a", "team", "team-09", "team-9", "team-10"]);
    }
}
