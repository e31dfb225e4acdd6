//! What other layers would have to enforce: names of hosts, HTTP requests, DNS questions, Kafka messages.
//!
//! Read, validated and kept. weir enforces none of it yet, so what depends on it is allowed nothing; whoever reads it
//! warns.

use crate::api::reader::Reader;
use crate::api::tree::{Entry, Node};
use crate::api::words::quoted;
use std::collections::BTreeMap;

/// A DNS name, exactly or by pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CiliumDnsMatch {
    /// `matchName`.
    Name(String),
    /// `matchPattern`: `*` stands for anything inside a label, a leading `**.` for any depth, `*` alone for everything.
    Pattern(String),
}

/// An HTTP request; what is missing is not asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct CiliumHttpRule {
    /// `path`, `method` and `host`: extended regular expressions.
    pub matches: BTreeMap<String, String>,
    /// `headers` that must be there.
    pub headers: Vec<String>,
    /// `headerMatches`: name, value and what to do about a mismatch.
    pub header_matches: Vec<BTreeMap<String, String>>,
}

/// `rules` of an element of `toPorts`: one protocol's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CiliumL7Rules {
    /// `http`.
    Http(Vec<CiliumHttpRule>),
    /// `dns`.
    Dns(Vec<CiliumDnsMatch>),
    /// `kafka`: fields as written.
    Kafka(Vec<BTreeMap<String, String>>),
    /// `l7proto`, with `l7`: fields as written.
    Other(String, Vec<BTreeMap<String, String>>),
}

impl CiliumL7Rules {
    /// What they are about, for messages.
    pub fn protocol(&self) -> &str {
        match self {
            Self::Http(_) => "HTTP",
            Self::Dns(_) => "DNS",
            Self::Kafka(_) => "Kafka",
            Self::Other(protocol, _) => protocol,
        }
    }
}

const PATTERN_EXPECTED: &str = "letters, digits, '-', '_', '.' and '*', like *.example.com";
const NAME_EXPECTED: &str = "letters, digits, '-', '_' and '.', like www.example.com";

/// Reads `matchName` or `matchPattern`.
pub(super) fn read_dns_match<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Option<CiliumDnsMatch> {
    let errors = reader.error_count();
    let entries = reader.mapping(node)?;
    reader.refuse_unknown(entries, &["matchName", "matchPattern"]);
    let text = |reader: &mut Reader<'t>, field, wildcard: bool, expected: &str| {
        reader.field(entries, field, |reader, node| {
            let text = reader.string(node)?;
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if text.is_empty() || text.len() > 255 || !text.chars().all(|c| plain(c) || wildcard && c == '*')
            {
                reader.error(node.mark, format!("{} is not a {field}", quoted(text)), expected);
            }
            Some(text.to_owned())
        })
    };
    let name = text(reader, "matchName", false, NAME_EXPECTED);
    let pattern = text(reader, "matchPattern", true, PATTERN_EXPECTED);
    if name.is_some() == pattern.is_some() && reader.error_count() == errors {
        let count = if name.is_some() { "both a name and a pattern" } else { "neither name nor pattern" };
        reader.error(node.mark, count, "matchName or matchPattern");
    }
    let read = match (name, pattern) {
        (Some(name), None) => name.map(CiliumDnsMatch::Name),
        (None, Some(pattern)) => pattern.map(CiliumDnsMatch::Pattern),
        _ => None,
    };
    read.filter(|_| reader.error_count() == errors)
}

/// Reads `rules`. `None`: there are none, or the reader has errors about them.
pub(super) fn read_l7_rules<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Option<CiliumL7Rules> {
    let entries = reader.mapping(node)?;
    reader.refuse_unknown(entries, &["http", "dns", "kafka", "l7proto", "l7"]);
    let mut read = Vec::new();
    let http = reader.field(entries, "http", |reader, node| all(reader, node, read_http));
    read.extend(http.map(CiliumL7Rules::Http));
    let dns = reader.field(entries, "dns", |reader, node| all(reader, node, read_dns_match));
    read.extend(dns.map(CiliumL7Rules::Dns));
    const KAFKA: [&str; 5] = ["role", "apiVersion", "apiKey", "clientID", "topic"];
    let kafka = reader.field(entries, "kafka", |reader, node| {
        all(reader, node, |reader, node| {
            let entries = reader.mapping(node)?;
            reader.refuse_unknown(entries, &KAFKA);
            Some(texts(reader, entries))
        })
    });
    read.extend(kafka.map(CiliumL7Rules::Kafka));
    let protocol = reader.field(entries, "l7proto", Reader::string).flatten();
    let other = reader.field(entries, "l7", |reader, node| {
        all(reader, node, |reader, node| {
            let entries = reader.mapping(node)?;
            Some(texts(reader, entries))
        })
    });
    match (protocol, other) {
        (Some(protocol), other) => {
            read.push(CiliumL7Rules::Other(protocol.to_owned(), other.unwrap_or_default()));
        }
        (None, Some(_)) => reader.error(node.mark, "l7 without l7proto", "the protocol's name in l7proto"),
        (None, None) => {}
    }
    if read.len() > 1 {
        reader.error(node.mark, "rules of several protocols", "one of http, dns, kafka or l7proto");
    }
    read.pop()
}

/// Every element that could be read.
fn all<'t, T>(
    reader: &mut Reader<'t>,
    node: &'t Node,
    mut read: impl FnMut(&mut Reader<'t>, &'t Node) -> Option<T>,
) -> Vec<T> {
    let mut elements = Vec::new();
    reader.each(node, |reader, node| elements.extend(read(reader, node)));
    elements
}

fn read_http<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Option<CiliumHttpRule> {
    let entries = reader.mapping(node)?;
    reader.refuse_unknown(entries, &["path", "method", "host", "headers", "headerMatches"]);
    let mut rule = CiliumHttpRule::default();
    for field in ["path", "method", "host"] {
        let text = reader.field(entries, field, Reader::string).flatten();
        rule.matches.extend(text.map(|text| (field.to_owned(), text.to_owned())));
    }
    reader.field(entries, "headers", |reader, node| {
        reader.each(node, |reader, node| rule.headers.extend(reader.string(node).map(str::to_owned)));
    });
    reader.field(entries, "headerMatches", |reader, node| {
        reader.each(node, |reader, node| {
            let Some(entries) = reader.mapping(node) else { return };
            reader.refuse_unknown(entries, &["name", "value", "mismatch"]);
            rule.header_matches.push(texts(reader, entries));
        });
    });
    Some(rule)
}

/// Fields that are strings.
fn texts<'t>(reader: &mut Reader<'t>, entries: &'t [Entry]) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    for entry in entries {
        let text = reader.within(&entry.key, |reader| reader.string(&entry.value));
        texts.extend(text.map(|text| (entry.key.clone(), text.to_owned())));
    }
    texts
}
