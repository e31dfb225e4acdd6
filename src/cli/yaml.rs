//! `-o yaml`: what would be JSON as block YAML, keys in the order of the fields.
//!
//! Texts that YAML could take for something else are written as JSON strings, which YAML 1.2 reads.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A JSON document that remembers the order of its keys.
enum Tree {
    /// A number, `true`, `false`, `null` or a text, as it is to be written.
    Scalar(String),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

/// `record` as YAML.
pub(super) fn to_string(record: &impl serde::Serialize) -> serde_json::Result<String> {
    let tree: Tree = serde_json::from_str(&serde_json::to_string(record)?)?;
    let mut text = String::new();
    tree.write(&mut text, 0);
    Ok(text)
}

impl Tree {
    fn is_block(&self) -> bool {
        match self {
            Self::Scalar(_) => false,
            Self::List(items) => !items.is_empty(),
            Self::Map(entries) => !entries.is_empty(),
        }
    }

    /// Writes the node at `indent`, where the cursor stands already, and ends the line.
    fn write(&self, text: &mut String, indent: usize) {
        match self {
            Self::Scalar(scalar) => line(text, scalar),
            Self::List(items) if items.is_empty() => line(text, "[]"),
            Self::Map(entries) if entries.is_empty() => line(text, "{}"),
            Self::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    spaces(text, if index == 0 { 0 } else { indent });
                    text.push_str("- ");
                    item.write(text, indent + 2);
                }
            }
            Self::Map(entries) => {
                for (index, (key, value)) in entries.iter().enumerate() {
                    spaces(text, if index == 0 { 0 } else { indent });
                    text.push_str(&scalar(key));
                    text.push(':');
                    if value.is_block() {
                        text.push('\n');
                        spaces(text, indent + 2);
                        value.write(text, indent + 2);
                    } else {
                        text.push(' ');
                        value.write(text, indent);
                    }
                }
            }
        }
    }
}

fn line(text: &mut String, scalar: &str) {
    text.push_str(scalar);
    text.push('\n');
}

fn spaces(text: &mut String, count: usize) {
    text.extend(std::iter::repeat_n(' ', count));
}

/// A text, plain where no YAML reader, of version 1.1 either, would take it for something else.
fn scalar(text: &str) -> String {
    const WORDS: [&str; 11] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "~", "nan"];
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./ ".contains(c))
        && !text.ends_with(' ')
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
        && !text.contains("..");
    if plain { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Tree;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Tree, E> {
                Ok(Tree::Scalar(value.to_string()))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Tree, E> {
                Ok(Tree::Scalar(value.to_string()))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Tree, E> {
                Ok(Tree::Scalar(value.to_string()))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Tree, E> {
                Ok(Tree::Scalar(serde_json::Value::from(value).to_string()))
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<Tree, E> {
                Ok(Tree::Scalar(scalar(value)))
            }

            fn visit_unit<E: Error>(self) -> Result<Tree, E> {
                Ok(Tree::Scalar("null".to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Tree::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
                let mut map = Vec::new();
                while let Some(entry) = entries.next_entry()? {
                    map.push(entry);
                }
                Ok(Tree::Map(map))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::to_string;
    use serde_json::json;

    #[test]
    fn nested_lists_and_maps_are_indented() {
        let record = json!({"a": [{"b": 1, "c": [true, null]}, "x"], "d": {}, "e": [], "f": {"g": 1.5}});
        let expected =
            "a:\n  - b: 1\n    c:\n      - true\n      - null\n  - x\nd: {}\ne: []\nf:\n  g: 1.5\n";
        assert_eq!(to_string(&record).unwrap(), expected);
    }

    #[test]
    fn texts_that_look_like_something_else_are_quoted() {
        for text in [
            "",
            "no",
            "1.5",
            "10.244.1.1/24",
            "02:00:5e:00:53:01",
            "a: b",
            "- a",
            "null",
            "a #b",
            "a\nb",
            "é",
        ] {
            assert_eq!(to_string(&text).unwrap(), format!("{}\n", json!(text)), "{text:?}");
        }
        assert_eq!(to_string(&"shop/frontend").unwrap(), "shop/frontend\n");
    }
}
