//! Mappings: keys that are there twice make what they stand in doubtful, and `<<` brings what another mapping has.

use super::reader::TreeReader;
use super::value::{Built, Cost};
use super::{Entry, Mark, Node, Problem, Sink, Value};
use crate::api::words::quoted;
use granit_parser::{Event, ScalarStyle};
use std::collections::HashSet;

/// Mappings up to this size find their keys' repetition by looking through them, larger ones by hashing.
const SMALL_MAPPING: usize = 16;

impl TreeReader<'_> {
    /// Reads a mapping. `items` is given for the root of a document only: elements of the sequence under its
    /// `items` key go there one by one.
    pub(super) fn mapping(
        &mut self,
        mark: Mark,
        anchor: usize,
        depth: usize,
        mut items: Option<&mut Sink<'_>>,
    ) -> Result<Built, Problem> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut keys = Keys::default();
        let mut merges = Vec::new();
        let mut repeated: HashSet<String> = HashSet::new();
        let mut cost = Cost::ONE;
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let is_merge = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<");
            let key = self.node(event, &span, depth + 1)?;
            let key_mark = key.node.mark;
            let is_key = matches!(key.node.value, Value::Scalar(_) | Value::Null);
            let name = match key.node.value {
                Value::Scalar(scalar) => scalar.text,
                Value::Null => "null".into(),
                Value::Sequence(_) | Value::Mapping(_) => {
                    self.problem(key_mark, "a key that is not a string".into(), None);
                    "?".into()
                }
            };
            let (event, span) = self.next()?;
            let value = match (&event, items.as_mut()) {
                (Event::SequenceStart(..), Some(sink)) if name == "items" => {
                    self.stream(&mut **sink, &entries, depth + 1)?;
                    let node = Node { mark: self.mark(&span), value: Value::Null };
                    Built { node, cost: Cost::ONE, doubtful: false }
                }
                _ => self.node(event, &span, depth + 1)?,
            };
            cost.add(key.cost);
            cost.add(value.cost);
            if is_merge {
                merges.push(value.node);
            } else if keys.add(&name, &entries) {
                let doubtful = value.doubtful || !is_key;
                entries.push(Entry { key: name, key_mark, value: value.node, doubtful });
            } else {
                let message = format!("the key {} is here twice", quoted(&name));
                self.problem(key_mark, message, Some("it once"));
                repeated.insert(name);
            }
        }
        if !repeated.is_empty() {
            for entry in entries.iter_mut().filter(|entry| repeated.contains(&entry.key)) {
                entry.doubtful = true;
            }
        }
        let mut sound = true;
        for merge in merges {
            sound &= self.merge(merge, &mut entries, &mut keys);
        }
        if !sound {
            // What was to come might have been any of them.
            for entry in &mut entries {
                entry.doubtful = true;
            }
        }
        let doubtful = !sound || entries.iter().any(|entry| entry.doubtful);
        let node = Node { mark, value: Value::Mapping(entries) };
        self.remember(anchor, Built { node, cost, doubtful })
    }

    /// Adds what a `<<` key brings; keys that are there already win. Whether it can bring something.
    fn merge(&mut self, merge: Node, entries: &mut Vec<Entry>, keys: &mut Keys) -> bool {
        let mut sound = true;
        let mark = merge.mark;
        let sources = match merge.value {
            Value::Sequence(sources) => sources,
            value => vec![Node { mark, value }],
        };
        for source in sources {
            let Value::Mapping(merged) = source.value else {
                self.problem(source.mark, "the merge key << takes mappings only".into(), None);
                sound = false;
                continue;
            };
            for entry in merged {
                if keys.add(&entry.key, entries) {
                    entries.push(entry);
                }
            }
        }
        sound
    }
}

/// The keys of a mapping, to find those that are there twice.
#[derive(Default)]
struct Keys {
    /// Of mappings that are not small.
    hashed: HashSet<String>,
}

impl Keys {
    /// Whether `key` is new among `entries`, which it will be added to.
    fn add(&mut self, key: &str, entries: &[Entry]) -> bool {
        if entries.len() < SMALL_MAPPING {
            return entries.iter().all(|entry| entry.key != key);
        }
        if self.hashed.is_empty() {
            self.hashed.extend(entries.iter().map(|entry| entry.key.clone()));
        }
        self.hashed.insert(key.to_owned())
    }
}
