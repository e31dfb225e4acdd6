//! The flat engine's tables and everything that is needed to change them: one generation is made from the one before.
//!
//! ```text
//!  policies ─► catalogue ─┬─► looks ──► classes ─► identities ─► tries ─┐
//!                         ├─► port classes ─► cells, fans ◄───────────┐ ├─► Flat (shares what did not change)
//!  pods ──────────────────┴─► rows ─────────► matrix ─────────────────┴─┘
//! ```
//! A full build goes this way once for everything. A change of pods or policies goes the same way with what is new, and
//! then writes the columns of new identities and the entries of new rows. Numbers that nobody uses any more are used
//! again where that is cheap (looks, classes, identities, rows, pages, trie blocks) and left behind where it is not (rules,
//! atoms, cells): when what is left behind weighs more than [`Session::is_worn`] allows, it is time for a full build.
//! What a change cannot do (a node, a namespace, a new kind of tier) is not tried here: that is a full build too.

mod change;

use super::TooLarge;
use super::budget::Budget;
use super::catalogue::{Catalogue, Resolved};
use super::cell::Cells;
use super::fixed::FixedRules;
use super::identity::{Identities, PodClass, PodClasses, SELECTORS};
use super::looks::Looks;
use super::port_class::{self, PortClasses};
use super::row::SubjectView;
use super::rows::Rows;
use crate::api::NamedPort;
use crate::classifier::answer::pack;
use crate::classifier::flat::{Flat, FlatSubject, Sources, Subjects};
use crate::classifier::port_table::{self, PortTable};
use crate::classifier::{RuleId, RuleInfo, RuleTable};
use crate::cluster::{LivePod, View};
use crate::model::{Action, Model, PolicyName};
use ahash::AHashMap;
use std::collections::BTreeSet;
use std::collections::hash_map::Entry as Slot;
use std::net::IpAddr;
use std::sync::Arc;

/// Why a change could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It would not fit.
    TooLarge(TooLarge),
    /// It needs a full build.
    NotHere,
}

impl From<TooLarge> for Refused {
    fn from(too_large: TooLarge) -> Self {
        Self::TooLarge(too_large)
    }
}

#[derive(Debug)]
struct PodEntry {
    look: usize,
    class: usize,
    named_ports: Vec<NamedPort>,
    names: Vec<Resolved>,
    addresses: Vec<IpAddr>,
    cut_off: Option<usize>,
    subject: Option<[u32; 4]>,
}

#[derive(Debug)]
pub(crate) struct Session {
    catalogue: Catalogue,
    of_object: AHashMap<PolicyName, Vec<usize>>,
    looks: Looks,
    pods: Vec<Option<PodEntry>>,
    free_pods: Vec<usize>,
    identities: Identities,
    cells: Cells,
    fixed: FixedRules,
    rows: Rows,
    nodes: AHashMap<String, u32>,
    flat: Flat,
    rules: Vec<Arc<RuleInfo>>,
    /// Rules, atoms and cells of the full build.
    built: [usize; 3],
}

/// A pod's position in the session's list, from when it comes until it leaves; others may have it afterwards.
pub(crate) type PodNumber = usize;

impl Session {
    /// A full build. The pods' numbers are their positions in the view.
    pub(crate) fn new(view: &View<'_>, model: &Model, ceiling: usize) -> Result<Self, TooLarge> {
        let mut catalogue = Catalogue::new(model);
        catalogue.take_new_uses();
        let mut of_object: AHashMap<PolicyName, Vec<usize>> = AHashMap::new();
        for (number, policy) in catalogue.policies.iter().enumerate() {
            of_object.entry(policy.name.clone()).or_default().push(number);
        }
        let fixed = FixedRules::new(&view.cut_offs, &mut catalogue.interner);
        let mut budget = Budget::new(ceiling);
        let mut looks = Looks::default();
        looks.extend(&catalogue, &mut budget)?;
        let mut pods = Vec::with_capacity(view.pods.len());
        let mut classes = PodClasses::default();
        let mut known: AHashMap<(usize, Vec<Resolved>), usize> = AHashMap::new();
        let mut words = 0_usize;
        for (number, live) in view.pods.iter().enumerate() {
            let look = looks.add(live, number, &catalogue, &mut budget)?;
            let names = catalogue.resolve(&live.pod.named_ports);
            let class = match known.entry((look, names.clone())) {
                Slot::Occupied(slot) => *slot.get(),
                Slot::Vacant(slot) => {
                    let atoms = looks.get(look).map(|look| look.atoms.clone()).unwrap_or_default();
                    words = words.saturating_add(2 * atoms.len());
                    budget.holds(words.saturating_mul(size_of::<usize>()), SELECTORS)?;
                    classes.distinct.push(PodClass { atoms, names: names.clone() });
                    *slot.insert(classes.distinct.len() - 1)
                }
            };
            classes.of_pod.push(class);
            pods.push(Some(PodEntry::new(live, look, names)));
        }
        let own: BTreeSet<&str> = view
            .subjects
            .iter()
            .filter_map(|&position| view.pods.get(position))
            .map(|live| live.pod.node_name.as_str())
            .collect();
        let (identities, classes) = Identities::build(view, &catalogue, classes, &own, &mut budget)?;
        for (pod, class) in pods.iter_mut().flatten().zip(classes) {
            pod.class = class;
        }
        // After names are resolved, which adds the ranges that they stand for.
        let [destinations, sources] = &catalogue.ranges;
        let classes = [
            port_class::build(destinations.things(), ceiling)?,
            port_class::build(sources.things(), ceiling)?,
        ];
        let nodes: Vec<&str> = own.into_iter().collect();
        let addresses = |node: &&str| view.own_node.get(node).into_iter().flatten().copied().collect();
        let flat = Flat::new(
            nodes.iter().map(addresses).collect(),
            PortTable::new(&classes[0].tables),
            sources_of(&classes),
            classes[0].count,
        );
        let cells = Cells::new(classes, fixed.not_isolated, 0, budget);
        let mut session = Self {
            catalogue,
            of_object,
            looks,
            pods,
            free_pods: Vec::new(),
            identities,
            cells,
            fixed,
            rows: Rows::default(),
            nodes: nodes.iter().map(|node| (*node).to_owned()).zip(0..).collect(),
            flat,
            rules: Vec::new(),
            built: [0; 3],
        };
        session.admit()?;
        for (cell, rule) in session.flat.self_traffic.iter_mut().zip(session.fixed.self_traffic) {
            *cell = session.cells.whole(pack(Action::Allow, rule, false))?;
        }
        let mut subjects = Subjects::default();
        for (&position, live) in
            view.subjects.iter().filter_map(|position| Some((position, view.pods.get(*position)?)))
        {
            let rows = session.add_rows(position)?;
            subjects.insert(subjects.len(), session.flat_subject(live, rows));
        }
        session.flat.subjects = Arc::new(subjects);
        session.fill()?;
        session.built = session.size();
        session.cells.budget.next_change();
        Ok(session)
    }

    /// Holds what can be known before rows are made against the ceiling.
    fn admit(&mut self) -> Result<(), TooLarge> {
        let parts = [
            ("IPv4 trie", self.identities.tries()[0].used_bytes()),
            ("IPv6 trie", self.identities.tries()[1].used_bytes()),
            (
                "port tables",
                self.cells.classes.iter().map(|classes| port_table::max_bytes(classes.tables.len())).sum(),
            ),
            ("subjects", self.pods.len() * FlatSubject::BYTES),
        ];
        let needed = parts.iter().fold(0_usize, |sum, (_, bytes)| sum.saturating_add(*bytes));
        self.cells.around = needed;
        let budget = &self.cells.budget;
        budget.holds(self.looks.list_bytes(), SELECTORS)?;
        budget.holds(self.identities.list_bytes(), "what holds of addresses")?;
        if needed > budget.ceiling() {
            let part = parts.iter().max_by_key(|(_, bytes)| *bytes).map_or("tables", |(part, _)| *part);
            return Err(TooLarge { part, needed });
        }
        Ok(())
    }

    fn size(&self) -> [usize; 3] {
        [
            self.catalogue.entries.len() + self.catalogue.interner.len(),
            self.catalogue.atoms.len(),
            self.cells.len(),
        ]
    }

    /// Whether so much has been left behind that a full build is due: an eighth of the whole, and some.
    pub(crate) fn is_worn(&self) -> bool {
        self.size().iter().zip(self.built).any(|(&now, built)| now > built + built / 8 + 1024)
    }

    /// The tables as they are now.
    pub(crate) fn flat(&mut self) -> Flat {
        [self.flat.v4, self.flat.v6] = self.identities.copy_tries();
        self.flat.matrix = self.rows.matrix.copy();
        if self.flat.subjects.width() != self.flat.matrix.width {
            Arc::make_mut(&mut self.flat.subjects).set_width(self.flat.matrix.width);
        }
        self.flat.cells = self.cells.data.copy();
        self.flat.fans = self.cells.fans.copy();
        self.flat.clone()
    }

    /// What the rule ids of the tables mean.
    pub(crate) fn rules(&mut self) -> RuleTable {
        for id in self.rules.len()..self.catalogue.interner.len() {
            let info = u32::try_from(id).ok().and_then(|id| self.catalogue.interner.info(RuleId(id)));
            self.rules.extend(info.map(Arc::new));
        }
        RuleTable::shared(self.rules.clone())
    }

    /// How many rule ids there are.
    pub(crate) fn rule_count(&self) -> usize {
        self.catalogue.interner.len()
    }

    fn add_rows(&mut self, pod: PodNumber) -> Result<[u32; 4], TooLarge> {
        let Some(Some(entry)) = self.pods.get_mut(pod) else { return Ok([0; 4]) };
        let Some(look) = self.looks.get(entry.look) else { return Ok([0; 4]) };
        let subject =
            SubjectView { look, cut_off: entry.cut_off, addresses: &entry.addresses, names: &entry.names };
        let rows = self.rows.add(&subject, &self.fixed, &mut self.cells, &mut self.catalogue)?;
        entry.subject = Some(rows);
        Ok(rows)
    }

    fn flat_subject(&mut self, live: &LivePod<'_>, rows: [u32; 4]) -> FlatSubject {
        let own = if live.cut_off.is_none() { &live.pod.pod_ips[..] } else { &[] };
        let node = self.nodes.get(&live.pod.node_name).copied().unwrap_or(u32::MAX);
        FlatSubject::new(own, rows, node)
    }

    fn fill(&mut self) -> Result<(), TooLarge> {
        let around = self.cells.around;
        self.rows.fill(&mut self.identities, &self.fixed, &mut self.cells, &mut self.catalogue, around)?;
        self.cells.around = around;
        Ok(())
    }
}

impl PodEntry {
    fn new(live: &LivePod<'_>, look: usize, names: Vec<Resolved>) -> Self {
        Self {
            look,
            class: 0,
            named_ports: live.pod.named_ports.clone(),
            names,
            addresses: live.pod.pod_ips.clone(),
            cut_off: live.cut_off,
            subject: None,
        }
    }
}

fn sources_of(classes: &[PortClasses; 2]) -> Option<Arc<Sources>> {
    let [_, sources] = classes;
    (sources.count > 1)
        .then(|| Arc::new(Sources { table: PortTable::new(&sources.tables), classes: sources.count }))
}
