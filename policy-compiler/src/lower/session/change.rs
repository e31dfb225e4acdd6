//! Changes of a session: pods that come and go, policies that others take the place of.
//!
//! What is new goes the way that everything went in the full build; [`Session::finish`] then writes it into the tables.
//! Whatever fails on the way leaves the session unusable, and a full build has to follow.

use super::{PodEntry, PodNumber, Refused, Session, sources_of};
use crate::classifier::port_table::PortTable;
use crate::cluster::LivePod;
use crate::lower::TooLarge;
use crate::lower::identity::{Owner, PodClass, SELECTORS};
use crate::lower::port_class;
use crate::model::{Peer, Policy, PolicyName};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// New identities that one change may bring before a full build is cheaper.
const MAX_NEW_IDENTITIES: usize = 256;

impl Session {
    /// Adds a live pod that owns all its addresses; `place`: that among subjects, if it is one. An error leaves the
    /// session unusable.
    pub(crate) fn add_pod(&mut self, live: &LivePod<'_>, place: Option<usize>) -> Result<PodNumber, Refused> {
        if place.is_some() && !self.nodes.contains_key(&live.pod.node_name) {
            return Err(Refused::NotHere);
        }
        let number = self.free_pods.pop().unwrap_or(self.pods.len());
        let look = self.looks.add(live, number, &self.catalogue, &mut self.cells.budget)?;
        let names = self.catalogue.resolve(&live.pod.named_ports);
        let mut entry = PodEntry::new(live, look, names);
        entry.class = self.identities.add_to_class(self.class_of(&entry));
        let class = entry.class;
        if let Some(slot) = self.pods.get_mut(number) {
            *slot = Some(entry);
        } else {
            self.pods.push(Some(entry));
        }
        self.refine()?;
        for &address in &live.pod.pod_ips {
            self.identities.set_owner(address, Some(Owner::Pods(class)), &mut self.cells.budget)?;
        }
        if let Some(place) = place {
            let rows = self.add_rows(number)?;
            let subject = self.flat_subject(live, rows);
            Arc::make_mut(&mut self.flat.subjects).insert(place, subject);
        }
        Ok(number)
    }

    /// Removes a pod that owned all its addresses.
    pub(crate) fn remove_pod(&mut self, number: PodNumber, place: Option<usize>) -> Result<(), Refused> {
        let Some(entry) = self.pods.get_mut(number).and_then(Option::take) else {
            return Err(Refused::NotHere);
        };
        self.free_pods.push(number);
        for &address in &entry.addresses {
            self.identities.set_owner(address, None, &mut self.cells.budget)?;
        }
        self.identities.remove_from_class(entry.class);
        self.looks.remove(entry.look, number);
        if let Some(rows) = entry.subject {
            self.rows.remove(rows);
        }
        if let Some(place) = place {
            Arc::make_mut(&mut self.flat.subjects).remove(place);
        }
        Ok(())
    }

    /// Takes the policies of an object out and puts others in their place; `place`: that of a pod among subjects. An
    /// error leaves the session unusable.
    pub(crate) fn replace_policies<'p>(
        &mut self,
        object: &PolicyName,
        policies: impl Iterator<Item = (&'p str, &'p Policy)>,
        place: impl Fn(PodNumber) -> Option<usize>,
    ) -> Result<(), Refused> {
        let mut touched: BTreeSet<usize> = BTreeSet::new();
        for number in self.of_object.remove(object).unwrap_or_default() {
            if let Some(policy) = self.catalogue.policies.get_mut(number) {
                policy.gone = true;
            }
            touched.extend(self.looks.drop_policy(number, &self.catalogue, &mut self.cells.budget)?);
        }
        let atoms = self.catalogue.atoms.len();
        let mut numbers = Vec::new();
        for (tier, policy) in policies {
            let tier =
                self.catalogue.tiers.iter().position(|known| known.name == tier).ok_or(Refused::NotHere)?;
            numbers.push(self.catalogue.add(tier, policy));
        }
        if !numbers.is_empty() {
            self.of_object.insert(object.clone(), numbers);
        }
        let affected = self.looks.extend(&self.catalogue, &mut self.cells.budget)?;
        touched.extend(affected.selected);
        for (atom, looks) in affected.atoms {
            self.add_atom(atom, &looks)?;
        }
        for number in atoms..self.catalogue.atoms.len() {
            match self.catalogue.atoms.get(number) {
                Some(Peer::Addresses(block)) => {
                    self.identities.add_block(number, block, &mut self.cells.budget)?;
                    self.few_are_new()?;
                }
                Some(Peer::Nodes(_)) => return Err(Refused::NotHere),
                _ => {}
            }
        }
        self.resolve_names()?;
        self.refine()?;
        // All pods whose look gained or lost a policy, and those that are subjects anew by the names on them.
        let pods: BTreeSet<usize> = touched
            .iter()
            .filter_map(|&look| self.looks.get(look))
            .flat_map(|look| look.pods.iter().copied())
            .collect();
        for number in pods {
            let Some(rows) = self.pods.get(number).and_then(|pod| pod.as_ref()?.subject) else { continue };
            let after = self.add_rows(number)?;
            self.rows.remove(rows);
            let Some(place) = place(number) else { return Err(Refused::NotHere) };
            Arc::make_mut(&mut self.flat.subjects).set_rows(place, after);
        }
        Ok(())
    }

    /// Port classes as fine as all ranges ask for.
    fn refine(&mut self) -> Result<(), TooLarge> {
        let before = &self.cells.classes;
        let [destinations, sources] = &self.catalogue.ranges;
        if before[0].covered.len() == destinations.len() && before[1].covered.len() == sources.len() {
            return Ok(());
        }
        let classes = [
            port_class::build(destinations.things(), self.cells.budget.ceiling())?,
            port_class::build(sources.things(), self.cells.budget.ceiling())?,
        ];
        let parents = [classes[0].parents(&before[0]), classes[1].parents(&before[1])];
        self.flat.ports = Arc::new(PortTable::new(&classes[0].tables));
        self.flat.sources = sources_of(&classes);
        self.flat.stride = classes[0].count;
        if classes[1].count != before[1].count {
            self.rows.forget_choices();
        }
        self.cells.refine(classes, &parents)
    }

    /// Writes what changes brought into the tables.
    pub(crate) fn finish(&mut self) -> Result<(), Refused> {
        self.few_are_new()?;
        self.admit()?;
        self.fill()?;
        self.cells.budget.next_change();
        Ok(())
    }

    /// Whether a full build would not be cheaper than writing the columns of all identities that are new.
    fn few_are_new(&self) -> Result<(), Refused> {
        let many = MAX_NEW_IDENTITIES.max(self.identities.seen.len() / 16);
        if self.identities.new_count() > many { Err(Refused::NotHere) } else { Ok(()) }
    }

    fn class_of(&self, pod: &PodEntry) -> PodClass {
        let atoms = self.looks.get(pod.look).map(|look| look.atoms.clone()).unwrap_or_default();
        PodClass { atoms, names: pod.names.clone() }
    }

    /// A new atom holds of these looks.
    fn add_atom(&mut self, atom: usize, looks: &[usize]) -> Result<(), Refused> {
        let mut of_class: BTreeMap<usize, Vec<PodNumber>> = BTreeMap::new();
        let budget = &mut self.cells.budget;
        for &number in looks.iter().filter_map(|&look| self.looks.get(look)).flat_map(|look| &look.pods) {
            budget.toil(1, SELECTORS)?;
            if let Some(Some(pod)) = self.pods.get(number) {
                of_class.entry(pod.class).or_default().push(number);
            }
        }
        let mut whole = BTreeSet::new();
        for (class, pods) in of_class {
            if self.identities.class_size(class) == pods.len() {
                whole.insert(class);
                continue;
            }
            let Some(mut grown) = self.identities.class(class).cloned() else { continue };
            // Higher than all before it.
            grown.atoms.push(atom);
            for number in pods {
                self.cells.budget.toil(3 * grown.atoms.len(), SELECTORS)?;
                self.move_pod(number, grown.clone())?;
            }
        }
        Ok(self.identities.add_to_classes(&whole, atom, &mut self.cells.budget)?)
    }

    /// Finds out what names stand for that rules did not use before.
    fn resolve_names(&mut self) -> Result<(), Refused> {
        if !self.catalogue.take_new_uses() {
            return Ok(());
        }
        for number in 0..self.pods.len() {
            let Some(Some(pod)) = self.pods.get(number) else { continue };
            if pod.named_ports.is_empty() {
                continue;
            }
            let names = self.catalogue.resolve(&pod.named_ports);
            if names == pod.names {
                continue;
            }
            let Some(Some(pod)) = self.pods.get_mut(number) else { continue };
            pod.names.clone_from(&names);
            let Some(mut class) = self.identities.class(pod.class).cloned() else { continue };
            class.names = names;
            self.move_pod(number, class)?;
        }
        Ok(())
    }

    fn move_pod(&mut self, number: PodNumber, class: PodClass) -> Result<(), Refused> {
        let after = self.identities.add_to_class(class);
        let Some(Some(pod)) = self.pods.get_mut(number) else { return Err(Refused::NotHere) };
        let before = std::mem::replace(&mut pod.class, after);
        let addresses = if pod.cut_off.is_some() { Vec::new() } else { pod.addresses.clone() };
        for address in addresses {
            self.identities.set_owner(address, Some(Owner::Pods(after)), &mut self.cells.budget)?;
        }
        self.identities.remove_from_class(before);
        self.few_are_new()
    }
}
