//! Tier: a place among the tiers, and what happens in it when no rule decides.

use crate::api::diagnostic::Provenance;
use crate::api::meta::{Meta, OBJECT_FIELDS, RawMeta};
use crate::api::reader::Reader;
use crate::api::syntax::is_dns_label;
use crate::api::tree::{Entry, Mark, Node, Value};
use crate::api::words::quoted;
use std::cmp::Ordering;

/// `order` of a tier or of a policy: low first, missing ones last.
#[derive(Debug, Clone, Copy)]
pub struct CalicoOrder(f64);

impl CalicoOrder {
    /// Where none is given.
    pub const LAST: Self = Self(f64::INFINITY);

    /// The number; infinite where none is given.
    pub fn value(self) -> f64 {
        self.0
    }
}

impl PartialEq for CalicoOrder {
    fn eq(&self, other: &Self) -> bool {
        self.0.total_cmp(&other.0) == Ordering::Equal
    }
}

impl Eq for CalicoOrder {}

/// What a tier does when one of its policies applied and none decided.
const DEFAULT_ACTIONS: [&str; 2] = ["Deny", "Pass"];

/// Where NetworkPolicies are.
pub(crate) const DEFAULT_TIER: &str = "default";
/// Where ClusterNetworkPolicies of tier Admin and AdminNetworkPolicies are.
pub(crate) const ADMIN_TIER: &str = "kube-admin";
/// Where ClusterNetworkPolicies of tier Baseline and the BaselineAdminNetworkPolicy are.
pub(crate) const BASELINE_TIER: &str = "kube-baseline";

/// Tiers that always have this order and default action, as Calico orders them. The first three are there without an object;
/// the others are what Calico called two of them before.
pub(crate) const FIXED_TIERS: [(&str, f64, &str); 5] = [
    (DEFAULT_TIER, 1_000_000.0, "Deny"),
    (ADMIN_TIER, 1_000.0, "Pass"),
    (BASELINE_TIER, 10_000_000.0, "Pass"),
    ("adminnetworkpolicy", 1_000.0, "Pass"),
    ("baselineadminnetworkpolicy", 10_000_000.0, "Pass"),
];

/// What weir calls the tier of policies whose tier is not known; no object may have the name.
pub(crate) const UNREADABLE_TIER: &str = "unreadable";

/// A tier of Calico's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalicoTier {
    /// Name and labels.
    pub meta: Meta,
    /// Its place; `None`: something of the tier could not be read.
    pub order: Option<CalicoOrder>,
    /// Whether it passes, not denies, what none of its policies decides.
    pub passes: bool,
}

impl CalicoTier {
    pub(crate) fn read<'t>(
        reader: &mut Reader<'t>,
        raw: RawMeta<'_>,
        mark: Mark,
        entries: &'t [Entry],
    ) -> Self {
        let mut order = Some(CalicoOrder::LAST);
        let mut action = Some("Deny");
        reader.refuse_unknown(entries, &OBJECT_FIELDS);
        reader.field(entries, "spec", |reader, node| {
            let Some(spec) = reader.mapping(node) else { return };
            reader.refuse_unknown(spec, &["order", "defaultAction"]);
            order = reader.field(spec, "order", read_order).unwrap_or(order);
            action = reader.field(spec, "defaultAction", read_default_action).unwrap_or(action);
        });
        let name = raw.meta.key.name.as_str();
        if !is_dns_label(name) || name == UNREADABLE_TIER {
            let message = format!("{} is not a name for a tier", quoted(name));
            let expected =
                format!("lower case letters, digits and '-', without dots, not {UNREADABLE_TIER:?}");
            reader.error(mark, message, &expected);
        }
        let fixed = FIXED_TIERS.into_iter().find(|(fixed, ..)| *fixed == name);
        if let (Some((_, place, does)), Some(order), Some(action)) = (fixed, order, action)
            && (order.value().total_cmp(&place) != Ordering::Equal || action != does)
        {
            let message = format!("the tier {name:?} has another place or default action than it always has");
            reader.error(mark, message, &format!("order: {place}, defaultAction: {does}"));
        }
        // Of text and metadata too: which of two orders was meant is unknown.
        if reader.error_count() > 0 {
            order = None;
        }
        Self { meta: raw.meta, order, passes: action == Some("Pass") }
    }
}

fn read_default_action<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Option<&'static str> {
    let text = reader.string(node)?;
    let known = DEFAULT_ACTIONS.into_iter().find(|known| *known == text);
    if known.is_none() {
        reader.unknown_word(node.mark, text, "a default action", &DEFAULT_ACTIONS);
    }
    known
}

/// Reads `order`.
pub(super) fn read_order<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Option<CalicoOrder> {
    let number = match &node.value {
        // A leading zero is octal to kubectl; "inf" and "nan" are numbers only to Rust.
        Value::Scalar(scalar) if scalar.plain => {
            let digits = scalar.text.strip_prefix('-').unwrap_or(&scalar.text);
            let octal = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
            let is_number = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') && !octal;
            is_number.then(|| scalar.text.parse::<f64>().ok()).flatten().filter(|number| number.is_finite())
        }
        _ => None,
    };
    if number.is_none() {
        let shown = node.text().map_or_else(|| "this".to_owned(), quoted);
        reader.error(node.mark, format!("{shown} is not an order"), "a number like 100, without quotes");
    }
    // Minus zero is zero.
    number.map(|number| CalicoOrder(number + 0.0))
}

/// Where we are, for a policy that names a tier.
pub(super) fn read_tier_name<'t>(
    reader: &mut Reader<'t>,
    node: &'t Node,
    at: &mut Provenance,
) -> Option<String> {
    *at = reader.provenance(node.mark);
    let name = reader.string(node)?;
    // As the API server defaults it.
    let name = if name.is_empty() { "default" } else { name };
    if is_dns_label(name) {
        return Some(name.to_owned());
    }
    reader.error(
        node.mark,
        format!("{} is not the name of a tier", quoted(name)),
        "a name like default or security",
    );
    None
}
