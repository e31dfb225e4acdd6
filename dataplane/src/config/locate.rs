//! From line and column back to the key: `underlay.port` for the value at 4:9.
//!
//! serde's errors carry a place but no path. The text is read a second time, into a tree of places, and the
//! deepest node that begins at or before the error is the one meant.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::located::{Located, Place};

/// A YAML node reduced to where its parts stand.
#[derive(Debug)]
enum Node {
    Leaf,
    Map(Vec<(Located<String>, Located<Node>)>),
    Seq(Vec<Located<Node>>),
}

/// The key of what stands at `place`; empty for the document itself or where the text cannot be read.
pub(super) fn key_at(text: &str, place: Place) -> String {
    let Ok(root) = serde_saphyr::from_str::<Located<Node>>(text) else { return String::new() };
    let mut key = String::new();
    let mut node = &root.value;
    loop {
        let (step, next) = match node {
            Node::Leaf => return key,
            Node::Map(entries) => {
                let Some((name, value)) = entries.iter().rfind(|(name, _)| !after(name.place, place)) else {
                    return key;
                };
                (if key.is_empty() { name.value.clone() } else { format!(".{}", name.value) }, value)
            }
            Node::Seq(items) => {
                let Some((index, item)) =
                    items.iter().enumerate().rfind(|(_, item)| !after(item.place, place))
                else {
                    return key;
                };
                (format!("[{index}]"), item)
            }
        };
        key.push_str(&step);
        node = &next.value;
    }
}

/// The plain scalar at `place`, as written.
pub(super) fn scalar_at(text: &str, place: Place) -> Option<&str> {
    let line = text.lines().nth(usize::try_from(place.line.checked_sub(1)?).ok()?)?;
    let (start, _) = line.char_indices().nth(usize::try_from(place.column.checked_sub(1)?).ok()?)?;
    let scalar = line.get(start..)?.split([',', '}', ']', '#']).next()?.trim();
    (!scalar.is_empty()).then_some(scalar)
}

fn after(left: Place, right: Place) -> bool {
    (left.line, left.column) > (right.line, right.column)
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Node;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }

            fn visit_bool<E: Error>(self, _: bool) -> Result<Node, E> {
                Ok(Node::Leaf)
            }

            fn visit_i64<E: Error>(self, _: i64) -> Result<Node, E> {
                Ok(Node::Leaf)
            }

            fn visit_u64<E: Error>(self, _: u64) -> Result<Node, E> {
                Ok(Node::Leaf)
            }

            fn visit_i128<E: Error>(self, _: i128) -> Result<Node, E> {
                Ok(Node::Leaf)
            }

            fn visit_u128<E: Error>(self, _: u128) -> Result<Node, E> {
                Ok(Node::Leaf)
            }

            fn visit_f64<E: Error>(self, _: f64) -> Result<Node, E> {
                Ok(Node::Leaf)
            }

            fn visit_str<E: Error>(self, _: &str) -> Result<Node, E> {
                Ok(Node::Leaf)
            }

            fn visit_bytes<E: Error>(self, _: &[u8]) -> Result<Node, E> {
                Ok(Node::Leaf)
            }

            fn visit_unit<E: Error>(self) -> Result<Node, E> {
                Ok(Node::Leaf)
            }

            fn visit_none<E: Error>(self) -> Result<Node, E> {
                Ok(Node::Leaf)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
                let mut nodes = Vec::new();
                while let Some(item) = items.next_element()? {
                    nodes.push(item);
                }
                Ok(Node::Seq(nodes))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
                let mut nodes = Vec::new();
                while let Some(entry) = entries.next_entry()? {
                    nodes.push(entry);
                }
                Ok(Node::Map(nodes))
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Node, D::Error> {
                IgnoredAny::deserialize(inner).map(|_| Node::Leaf)
            }
        }
        deserializer.deserialize_any(Any)
    }
}
