//! Which policy dropped what: denied packets by rule, direction and the two ends.
//!
//! A worker collects the denials of a batch and adds them under one lock when the batch had any: a forwarded
//! packet never meets it. Bounded: past [`MAX_ROWS`] distinct rows, further ones are added up in one
//! "other" row, so a scan cannot grow it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use policy_compiler::{Direction, PolicyName, RuleId, RuleKind, RuleTable};

use super::NoteLog;

/// Most distinct rows kept.
pub(super) const MAX_ROWS: usize = 4096;

/// One packet denied by policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Denial {
    /// The pod's direction that denied it.
    pub direction: Direction,
    /// Source of the packet that would have opened (or had opened) the connection.
    pub src: IpAddr,
    /// Its destination.
    pub dst: IpAddr,
    /// The deciding rule, in the rule table that goes with it.
    pub rule: RuleId,
}

/// A row for people and scripts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DenialRow {
    /// The pod's direction that denied it.
    pub direction: Direction,
    /// Source address; `None` in the row of all others.
    pub src: Option<IpAddr>,
    /// Destination address.
    pub dst: Option<IpAddr>,
    /// The deciding rule in words.
    pub rule: String,
    /// The policies it names, as `namespace/name`.
    pub policies: Vec<String>,
    /// Packets denied.
    pub packets: u64,
}

/// All denials since the start.
#[derive(Default)]
pub struct DenialLog {
    inner: Mutex<Inner>,
    /// Connections, allowed or denied, that a rule asks to be noted.
    pub notes: NoteLog,
}

#[derive(Default)]
struct Inner {
    rules: Option<Arc<RuleTable>>,
    current: HashMap<Denial, u64, ahash::RandomState>,
    earlier: HashMap<(Direction, IpAddr, IpAddr, String, Vec<String>), u64>,
    other: u64,
}

impl DenialLog {
    /// Adds denials judged by `rules`, each as often as the number beside it says.
    pub fn add(&self, rules: &Arc<RuleTable>, denials: &[(Denial, u64)]) {
        // A panic elsewhere cannot leave counts half-changed in a way that matters: go on.
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if !inner.rules.as_ref().is_some_and(|known| Arc::ptr_eq(known, rules)) {
            inner.turn_over(Arc::clone(rules));
        }
        for (denial, count) in denials {
            if inner.current.len() + inner.earlier.len() < MAX_ROWS || inner.current.contains_key(denial) {
                *inner.current.entry(*denial).or_default() += count;
            } else {
                inner.other += count;
            }
        }
    }

    /// The rows, most packets first.
    pub fn rows(&self) -> Vec<DenialRow> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let rules = inner.rules.clone();
        if let Some(rules) = rules {
            inner.turn_over(rules);
        }
        let mut rows: Vec<DenialRow> = inner
            .earlier
            .iter()
            .map(|((direction, src, dst, rule, policies), packets)| DenialRow {
                direction: *direction,
                src: Some(*src),
                dst: Some(*dst),
                rule: rule.clone(),
                policies: policies.clone(),
                packets: *packets,
            })
            .collect();
        if inner.other > 0 {
            rows.push(DenialRow {
                direction: Direction::Ingress,
                src: None,
                dst: None,
                rule: format!("more than {MAX_ROWS} different denials, added up"),
                policies: Vec::new(),
                packets: inner.other,
            });
        }
        rows.sort_by(|a, b| {
            let rest = |row: &DenialRow| (row.src, row.dst, row.direction == Direction::Ingress);
            (b.packets.cmp(&a.packets)).then_with(|| rest(a).cmp(&rest(b))).then_with(|| a.rule.cmp(&b.rule))
        });
        rows
    }
}

impl Inner {
    /// Puts the counts into words before the rule ids lose their meaning, and goes on with `rules`.
    fn turn_over(&mut self, rules: Arc<RuleTable>) {
        if let Some(old) = self.rules.take() {
            for (denial, packets) in self.current.drain() {
                let info = old.get(denial.rule);
                let key = (denial.direction, denial.src, denial.dst, info.to_string(), policies(&info.kind));
                *self.earlier.entry(key).or_default() += packets;
            }
        }
        self.rules = Some(rules);
    }
}

/// The policies a rule is made of, as `namespace/name`.
fn policies(kind: &RuleKind) -> Vec<String> {
    match kind {
        RuleKind::Rule { policy, .. }
        | RuleKind::Unreadable { policy, .. }
        | RuleKind::TooLarge { policy, .. } => vec![policy.path()],
        RuleKind::DefaultDeny { policies, .. } => policies.iter().map(PolicyName::path).collect(),
        _ => Vec::new(),
    }
}
