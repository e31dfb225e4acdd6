//! Reads and validates a policy: place, subject, rules in their order.
//!
//! A field that this reader does not know is an error at any depth of `spec`: an ignored field is a hole.

use super::dialect::Dialect;
use super::peers::read_peer;
use super::ports::read_cluster_port;
use super::shape::{elements, too_many};
use super::subject::read_subject;
use super::{
    ClusterAction, ClusterPeer, ClusterPlace, ClusterPolicy, ClusterRule, ClusterRuleBody, ClusterTier,
};
use crate::api::diagnostic::Provenance;
use crate::api::meta::{OBJECT_FIELDS, RawMeta};
use crate::api::reader::{Reader, as_integer};
use crate::api::tree::{Entry, Mark, Node, Value};
use crate::api::words::{listed, quoted, shortened};
use crate::model::Direction;

/// The last priority.
const MOST_PRIORITY: u16 = 1000;
/// Most characters of a rule's name.
const MOST_NAME: usize = 100;

/// Reads a policy. What cannot be read leaves a hole in it and errors in the reader.
pub(crate) fn read_cluster_policy<'t>(
    reader: &mut Reader<'t>,
    raw: RawMeta<'_>,
    mark: Mark,
    entries: &'t [Entry],
) -> ClusterPolicy {
    let dialect = Dialect::of(raw.meta.key.kind);
    let mut policy = ClusterPolicy {
        spec: Provenance { origin: raw.meta.origin.clone(), field: "spec".into() },
        meta: raw.meta,
        place: None,
        subject: None,
        ingress: Vec::new(),
        egress: Vec::new(),
        unreadable: None,
    };
    let errors = reader.error_count();
    reader.refuse_unknown(entries, &OBJECT_FIELDS);
    if let Some(name) = dialect.only_name.filter(|name| *name != policy.meta.key.name) {
        let metadata = entries.iter().find(|entry| entry.key == "metadata");
        let written =
            metadata.and_then(|metadata| metadata.value.child("name")).map_or(mark, |name| name.mark);
        let message = format!("a {} named {:?}", policy.meta.key.kind, policy.meta.key.name);
        let report =
            |reader: &mut Reader<'t>| reader.error(written, message, &format!("the only one, named {name}"));
        reader.within("metadata", |reader| reader.within("name", report));
    }
    if reader.error_count() > errors {
        policy.unreadable = Some(reader.provenance(mark));
    }
    let spec = reader.field(entries, "spec", |reader, node| {
        policy.spec = reader.provenance(node.mark);
        if let Some(spec) = reader.mapping(node) {
            read_spec(reader, &mut policy, spec, node.mark, dialect);
        }
    });
    if spec.is_none() {
        reader.error(mark, "there is no spec", &format!("a spec with {}", dialect.spec.join(", ")));
    }
    policy
}

fn read_spec<'t>(
    reader: &mut Reader<'t>,
    policy: &mut ClusterPolicy,
    spec: &'t [Entry],
    mark: Mark,
    dialect: &Dialect,
) {
    let errors = reader.error_count();
    reader.refuse_unknown(spec, dialect.spec);
    if reader.error_count() > errors {
        policy.unreadable = Some(reader.provenance(mark));
    }
    policy.place = read_place(reader, spec, mark, dialect);
    let subject = reader.field(spec, "subject", |reader, node| read_subject(reader, node, dialect));
    if subject.is_none() {
        reader.error(mark, "there is no subject", "a subject; {namespaces: {}} is every pod");
    }
    policy.subject = subject.flatten();
    for (field, direction, rules) in [
        ("ingress", Direction::Ingress, &mut policy.ingress),
        ("egress", Direction::Egress, &mut policy.egress),
    ] {
        let read = reader.field(spec, field, |reader, node| read_rules(reader, node, dialect, direction));
        *rules = read.unwrap_or_default();
    }
}

fn read_place<'t>(
    reader: &mut Reader<'t>,
    spec: &'t [Entry],
    mark: Mark,
    dialect: &Dialect,
) -> Option<ClusterPlace> {
    let tier = if dialect.tier.is_some() {
        dialect.tier
    } else {
        let tier = reader.field(spec, "tier", read_tier);
        if tier.is_none() {
            reader.error(mark, "there is no tier", "tier: Admin or tier: Baseline");
        }
        tier.flatten()
    };
    if !dialect.has_priority {
        return Some(ClusterPlace { tier: tier?, priority: None });
    }
    let priority = reader.field(spec, "priority", read_priority);
    if priority.is_none() {
        reader.error(mark, "there is no priority", "a priority from 0, the first, to 1000");
    }
    Some(ClusterPlace { tier: tier?, priority: Some(priority??) })
}

fn read_tier<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Option<ClusterTier> {
    match reader.string(node)? {
        "Admin" => Some(ClusterTier::Admin),
        "Baseline" => Some(ClusterTier::Baseline),
        other => {
            reader.unknown_word(node.mark, other, "a tier", &["Admin", "Baseline"]);
            None
        }
    }
}

fn read_priority<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Option<u16> {
    let scalar = if let Value::Scalar(scalar) = &node.value { Some(scalar) } else { None };
    let number = scalar.and_then(as_integer).and_then(|number| u16::try_from(number).ok());
    let priority = number.filter(|&number| number <= MOST_PRIORITY);
    if priority.is_none() {
        let text = match scalar {
            Some(scalar) if scalar.plain => shortened(&scalar.text),
            Some(scalar) => quoted(&scalar.text),
            None => "this".to_owned(),
        };
        let expected = format!("a number from 0 to {MOST_PRIORITY}, without quotes");
        reader.error(node.mark, format!("{text} is not a priority"), &expected);
    }
    priority
}

/// Reads `ingress` or `egress`. A section that is no list, or one of too many rules, is one unreadable rule.
fn read_rules<'t>(
    reader: &mut Reader<'t>,
    node: &'t Node,
    dialect: &Dialect,
    direction: Direction,
) -> Vec<ClusterRule> {
    let unreadable = ClusterRule { body: None, provenance: reader.provenance(node.mark) };
    let Some(count) = reader.sequence(node).map(<[Node]>::len) else { return vec![unreadable] };
    if too_many(reader, node, count, dialect.most).is_none() {
        return vec![unreadable];
    }
    let mut rules = Vec::new();
    reader.each(node, |reader, node| {
        let body = read_rule(reader, node, dialect, direction);
        rules.push(ClusterRule { body, provenance: reader.provenance(node.mark) });
    });
    rules
}

fn read_rule<'t>(
    reader: &mut Reader<'t>,
    node: &'t Node,
    dialect: &Dialect,
    direction: Direction,
) -> Option<ClusterRuleBody> {
    let peers_field = match direction {
        Direction::Ingress => "from",
        Direction::Egress => "to",
    };
    let errors = reader.error_count();
    let entries = reader.mapping(node)?;
    reader.refuse_unknown(entries, &["name", "action", peers_field, dialect.ports_field]);
    reader.field(entries, "name", |reader, node| {
        let length = reader.string(node).map_or(0, |name| name.chars().count());
        if length > MOST_NAME {
            reader.error(
                node.mark,
                format!("a name of {length} characters"),
                &format!("at most {MOST_NAME}"),
            );
        }
    });
    let action = reader.field(entries, "action", |reader, node| read_action(reader, node, dialect));
    if action.is_none() {
        reader.error(node.mark, "there is no action", &listed(&words(dialect)));
    }
    let action = action.flatten();
    let mut sound = reader.error_count() == errors;

    // An unknown peer is an error, but not one that leaves the rule unread.
    let mut peers = Vec::new();
    let listed = reader.field(entries, peers_field, |reader, node| {
        elements(reader, node, dialect.most, |reader, node| {
            let peer = read_peer(reader, node, dialect, direction, action);
            sound &= peer.is_some();
            peers.extend(peer);
        })
    });
    if listed.is_none() {
        let expected = format!("{peers_field} with at least one of {}", dialect.peers(direction).join(", "));
        reader.error(node.mark, format!("there is no {peers_field}"), &expected);
    }
    sound &= matches!(listed, Some(Some(())));

    let nameless = peers.iter().find_map(|peer| match peer {
        ClusterPeer::Nodes(_) => Some("nodes"),
        ClusterPeer::Networks(_) => Some("networks"),
        ClusterPeer::DomainNames(_) => Some("domainNames"),
        ClusterPeer::Pods(_) | ClusterPeer::Unknown => None,
    });
    let errors = reader.error_count();
    let mut ports = Vec::new();
    reader.field(entries, dialect.ports_field, |reader, node| {
        elements(reader, node, dialect.most, |reader, node| {
            ports.extend(read_cluster_port(reader, node, dialect, nameless));
        })
    });
    sound &= reader.error_count() == errors;
    if !sound {
        return None;
    }
    Some(ClusterRuleBody { action: action?, peers, ports })
}

fn words(dialect: &Dialect) -> Vec<&'static str> {
    dialect.actions.iter().map(|(word, _)| *word).collect()
}

fn read_action<'t>(reader: &mut Reader<'t>, node: &'t Node, dialect: &Dialect) -> Option<ClusterAction> {
    let text = reader.string(node)?;
    if let Some((_, action)) = dialect.actions.iter().find(|(word, _)| *word == text) {
        return Some(*action);
    }
    let (foreign, own) = dialect.foreign_action;
    if text == foreign {
        let help = format!("did you mean {own:?}?");
        reader.error_with_help(
            node.mark,
            format!("{text:?} is not an action"),
            &listed(&words(dialect)),
            help,
        );
    } else {
        reader.unknown_word(node.mark, text, "an action", &words(dialect));
    }
    None
}
