//! Names for groups of pods that behave alike, so that no two of a namespace have the same.
//!
//! A group is called by the owners of its pods (`web ×3`). Where another group of the namespace would be called by the
//! same, as pods that share a stem and differ in a number and in what they may do, both are called by their pods.

use std::collections::BTreeMap;

use policy_compiler::query::{Class, Matrix};

/// A group, and what it is called in its namespace.
pub(super) struct Group {
    pub(super) class: Class,
    pub(super) label: String,
}

impl Group {
    pub(super) fn namespace(&self) -> Option<&str> {
        self.class.namespace.as_deref()
    }

    /// How many it stands for.
    pub(super) fn size(&self) -> usize {
        self.class.members.len()
    }

    /// With its namespace.
    pub(super) fn name(&self) -> String {
        match &self.class.namespace {
            Some(namespace) => format!("{namespace}/{}", self.label),
            None => self.label.clone(),
        }
    }
}

/// The classes with their names.
pub(super) fn named(matrix: &Matrix, classes: Vec<Class>) -> Vec<Group> {
    // What is shown of the owners: two of them, and how many more.
    let shown = |class: &Class| {
        let owners: Vec<String> = class.owners.iter().take(2).cloned().collect();
        (class.namespace.clone(), owners, class.owners.len())
    };
    let mut of_owners: BTreeMap<_, usize> = BTreeMap::new();
    for class in &classes {
        *of_owners.entry(shown(class)).or_default() += 1;
    }
    let label = |class: &Class| {
        let alone = of_owners.get(&shown(class)) == Some(&1);
        if alone { class.label() } else { by_pods(matrix, class) }
    };
    classes.into_iter().map(|class| Group { label: label(&class), class }).collect()
}

/// `web-1`, `web-1, web-3 ×2`, `web-1, web-3, … ×5`.
fn by_pods(matrix: &Matrix, class: &Class) -> String {
    let name = |&member: &usize| {
        let name = matrix.ends.get(member).map_or("", |end| end.name.as_str());
        let prefix = class.namespace.as_ref().map(|namespace| format!("{namespace}/"));
        prefix.and_then(|prefix| name.strip_prefix(&prefix)).unwrap_or(name)
    };
    let mut names: Vec<&str> = class.members.iter().map(name).collect();
    // They share a stem: numbers in their order.
    names.sort_by_key(|name| (name.len(), *name));
    match names[..] {
        [first, second] => format!("{first}, {second} ×2"),
        [first, second, ..] => format!("{first}, {second}, … ×{}", names.len()),
        _ => names.concat(),
    }
}
