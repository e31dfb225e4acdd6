//! What pods show, once for all that show the same: the atoms that hold of them and the policies that select them.
//!
//! Selectors are tried once per *look* (namespace, labels, service account), and of all atoms and policies only on
//! looks in the namespaces they are about. A new look costs the atoms and policies of its namespace and those about many
//! namespaces; a new policy costs the looks of its namespaces.

use super::TooLarge;
use super::budget::{Budget, SELECTOR};
use super::catalogue::Catalogue;
use super::identity::SELECTORS;
use crate::api::Labels;
use crate::cluster::LivePod;
use crate::model::{Applies, Attributes, Namespaces, Peer, PodSelection};
use ahash::AHashMap;
use std::sync::Arc;

/// What two pods of one cluster have in common that no selector can tell apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Look {
    namespace: String,
    labels: Labels,
    account: String,
}

impl Look {
    pub(crate) fn of(live: &LivePod<'_>) -> Self {
        Self {
            namespace: live.namespace().to_owned(),
            labels: live.pod.meta.labels.clone(),
            account: live.pod.service_account.clone(),
        }
    }
}

/// A look and what is known of it.
#[derive(Debug)]
pub(crate) struct LookEntry {
    look: Look,
    namespace_labels: Arc<Labels>,
    account_labels: Arc<Labels>,
    /// Atoms that hold, sorted.
    pub(crate) atoms: Vec<usize>,
    /// Policies that select it and apply, by direction (egress, ingress), in order.
    pub(crate) selected: [Vec<usize>; 2],
    /// Pods that look so, by number.
    pub(crate) pods: Vec<usize>,
}

impl LookEntry {
    /// Words of its lists of atoms and policies.
    fn words(&self) -> usize {
        self.selected.iter().fold(self.atoms.len(), |sum, selected| sum + selected.len())
    }

    pub(crate) fn attributes(&self) -> Attributes<'_> {
        Attributes {
            namespace: &self.look.namespace,
            namespace_labels: &self.namespace_labels,
            labels: &self.look.labels,
            service_account: &self.look.account,
            service_account_labels: &self.account_labels,
        }
    }
}

/// Numbers of atoms and policies that may be about a namespace.
#[derive(Debug, Default, Clone)]
struct About {
    atoms: Vec<usize>,
    policies: Vec<usize>,
}

#[derive(Debug, Default)]
pub(crate) struct Looks {
    numbers: AHashMap<Look, usize>,
    list: Vec<LookEntry>,
    free: Vec<usize>,
    of_namespace: AHashMap<String, Vec<usize>>,
    /// What names one namespace, by its name.
    named: AHashMap<String, About>,
    /// What is about namespaces by their labels.
    matching: About,
    known_atoms: usize,
    known_policies: usize,
    /// Words of the lists of all looks.
    words: usize,
}

/// What additions to the catalogue mean for looks.
#[derive(Debug, Default)]
pub(crate) struct Affected {
    /// Looks of which a new atom holds, by atom.
    pub(crate) atoms: Vec<(usize, Vec<usize>)>,
    /// Looks that a new policy selects.
    pub(crate) selected: Vec<usize>,
}

impl Looks {
    pub(crate) fn get(&self, number: usize) -> Option<&LookEntry> {
        self.list.get(number)
    }

    /// Bytes of the lists of what holds of looks.
    pub(crate) fn list_bytes(&self) -> usize {
        self.words.saturating_mul(size_of::<usize>())
    }

    /// The look of one more pod.
    pub(crate) fn add(
        &mut self,
        live: &LivePod<'_>,
        pod: usize,
        catalogue: &Catalogue,
        budget: &mut Budget,
    ) -> Result<usize, TooLarge> {
        let look = Look::of(live);
        if let Some(&number) = self.numbers.get(&look) {
            if let Some(entry) = self.list.get_mut(number) {
                entry.pods.push(pod);
            }
            return Ok(number);
        }
        let mut entry = LookEntry {
            look: look.clone(),
            namespace_labels: Arc::clone(&live.namespace_labels),
            account_labels: Arc::clone(&live.account_labels),
            atoms: Vec::new(),
            selected: [Vec::new(), Vec::new()],
            pods: vec![pod],
        };
        for about in self.named.get(&look.namespace).into_iter().chain([&self.matching]) {
            for &atom in &about.atoms {
                let Some(Peer::Pods(selection)) = catalogue.atoms.get(atom) else { continue };
                budget.toil(effort(selection), SELECTORS)?;
                if selection.matches(&entry.attributes()) {
                    entry.atoms.push(atom);
                }
            }
            for &policy in &about.policies {
                let selection = catalogue.policies.get(policy).map(|policy| &policy.subject);
                budget.toil(selection.map_or(0, effort), SELECTORS)?;
                select(&mut entry, policy, catalogue);
            }
        }
        self.words += entry.words();
        budget.holds(self.list_bytes(), SELECTORS)?;
        entry.atoms.sort_unstable();
        let number = self.free.pop().unwrap_or(self.list.len());
        if let Some(slot) = self.list.get_mut(number) {
            *slot = entry;
        } else {
            self.list.push(entry);
        }
        self.of_namespace.entry(look.namespace.clone()).or_default().push(number);
        self.numbers.insert(look, number);
        Ok(number)
    }

    /// A pod that looked so is no more.
    pub(crate) fn remove(&mut self, number: usize, pod: usize) {
        let Some(entry) = self.list.get_mut(number) else { return };
        if let Some(place) = entry.pods.iter().rposition(|&one| one == pod) {
            entry.pods.swap_remove(place);
        }
        if entry.pods.is_empty() {
            self.words = self.words.saturating_sub(entry.words());
            self.numbers.remove(&entry.look);
            if let Some(looks) = self.of_namespace.get_mut(&entry.look.namespace) {
                looks.retain(|&one| one != number);
                if looks.is_empty() {
                    self.of_namespace.remove(&entry.look.namespace);
                }
            }
            self.free.push(number);
        }
    }

    /// Takes note of what was added to the catalogue.
    pub(crate) fn extend(
        &mut self,
        catalogue: &Catalogue,
        budget: &mut Budget,
    ) -> Result<Affected, TooLarge> {
        let mut affected = Affected::default();
        for (number, atom) in catalogue.atoms.things().iter().enumerate().skip(self.known_atoms) {
            let Peer::Pods(selection) = atom else { continue };
            self.about(selection).atoms.push(number);
            let mut looks = self.in_namespaces(selection);
            budget.toil(effort(selection).saturating_mul(looks.len()), SELECTORS)?;
            looks.retain(|&look| {
                let entry = self.list.get_mut(look).filter(|entry| selection.matches(&entry.attributes()));
                // Higher than all before it.
                entry.map(|entry| entry.atoms.push(number)).is_some()
            });
            self.words += looks.len();
            budget.holds(self.list_bytes(), SELECTORS)?;
            affected.atoms.push((number, looks));
        }
        self.known_atoms = catalogue.atoms.len();
        for (number, policy) in catalogue.policies.iter().enumerate().skip(self.known_policies) {
            if policy.gone {
                continue;
            }
            self.about(&policy.subject).policies.push(number);
            let looks = self.in_namespaces(&policy.subject);
            budget.toil(effort(&policy.subject).saturating_mul(looks.len()), SELECTORS)?;
            for look in looks {
                let Some(entry) = self.list.get_mut(look) else { continue };
                let before = entry.words();
                if select(entry, number, catalogue) {
                    self.words += entry.words() - before;
                    affected.selected.push(look);
                }
            }
            budget.holds(self.list_bytes(), SELECTORS)?;
        }
        self.known_policies = catalogue.policies.len();
        Ok(affected)
    }

    /// Forgets a policy; the looks it selected.
    pub(crate) fn drop_policy(
        &mut self,
        number: usize,
        catalogue: &Catalogue,
        budget: &mut Budget,
    ) -> Result<Vec<usize>, TooLarge> {
        let Some(policy) = catalogue.policies.get(number) else { return Ok(Vec::new()) };
        let about = self.about(&policy.subject);
        budget.toil(about.policies.len(), SELECTORS)?;
        about.policies.retain(|&one| one != number);
        let mut looks = self.in_namespaces(&policy.subject);
        let Self { list, words, .. } = self;
        let mut tried = looks.len();
        looks.retain(|&look| {
            list.get_mut(look).is_some_and(|entry| {
                let before = entry.words();
                tried += before - entry.atoms.len();
                entry.selected.iter_mut().for_each(|selected| selected.retain(|&one| one != number));
                *words = words.saturating_sub(before - entry.words());
                entry.words() != before
            })
        });
        budget.toil(tried, SELECTORS)?;
        Ok(looks)
    }

    fn about(&mut self, selection: &PodSelection) -> &mut About {
        match &selection.namespaces {
            Namespaces::Named(name) => self.named.entry(name.clone()).or_default(),
            Namespaces::Matching(_) => &mut self.matching,
        }
    }

    /// The looks of the namespaces that a selection names; of all, where it matches their labels.
    fn in_namespaces(&self, selection: &PodSelection) -> Vec<usize> {
        match &selection.namespaces {
            Namespaces::Named(name) => self.of_namespace.get(name).cloned().unwrap_or_default(),
            Namespaces::Matching(_) => self.of_namespace.values().flatten().copied().collect(),
        }
    }
}

/// Steps to try a selection on a look: each of its values may be compared.
fn effort(selection: &PodSelection) -> usize {
    selection.tests().saturating_mul(SELECTOR)
}

/// Notes that a policy selects a look, if it does.
fn select(entry: &mut LookEntry, number: usize, catalogue: &Catalogue) -> bool {
    let Some(policy) = catalogue.policies.get(number) else { return false };
    if policy.gone || !policy.subject.matches(&entry.attributes()) {
        return false;
    }
    let place =
        |number: usize| (catalogue.policies.get(number).map(super::catalogue::PolicyEntry::place), number);
    for (selected, applies) in entry.selected.iter_mut().zip(policy.applies) {
        if applies != Applies::No {
            let at = selected.partition_point(|&one| place(one) < place(number));
            selected.insert(at, number);
        }
    }
    true
}
