//! Shapes that the CRDs ask for: exactly one field of several, lists with a least and a most.

use crate::api::reader::Reader;
use crate::api::tree::{Entry, Node, Value};

/// The one field of a mapping that may have only one of several. `Err(true)`: there is none, or only unknown ones.
///
/// Null is no field: the API server drops it before it validates.
pub(super) fn only_field<'t>(
    reader: &mut Reader<'t>,
    node: &'t Node,
    what: &str,
    known: &'static [&'static str],
) -> Result<(&'static str, &'t Node), bool> {
    let expected = format!("exactly one of {}", known.join(", "));
    if node.value == Value::Null {
        reader.error(node.mark, format!("an empty {what}"), &expected);
        return Err(true);
    }
    let Some(entries) = reader.mapping(node) else { return Err(false) };
    reader.refuse_unknown(entries, known);
    let set: Vec<&Entry> = entries.iter().filter(|entry| entry.value.value != Value::Null).collect();
    match set[..] {
        [] => {
            reader.error(node.mark, format!("an empty {what}"), &expected);
            Err(true)
        }
        [entry] => match known.iter().find(|name| **name == entry.key) {
            Some(&name) => Ok((name, &entry.value)),
            None => Err(true),
        },
        _ => {
            let names: Vec<&str> = set.iter().map(|entry| entry.key.as_str()).collect();
            if names.iter().all(|name| known.contains(name)) {
                reader.error(node.mark, format!("{} in one {what}", names.join(" and ")), &expected);
            }
            Err(names.iter().all(|name| !known.contains(name)))
        }
    }
}

/// Reads a list of at least one and at most `most` elements; `None`: it is none such, and none of it was read.
pub(super) fn elements<'t>(
    reader: &mut Reader<'t>,
    node: &'t Node,
    most: usize,
    mut read: impl FnMut(&mut Reader<'t>, &'t Node),
) -> Option<()> {
    let count = reader.sequence(node)?.len();
    if count == 0 {
        reader.error(node.mark, "an empty list", "at least one element");
        return None;
    }
    too_many(reader, node, count, most)?;
    reader.each(node, &mut read);
    Some(())
}

/// Reports a list of more elements than the API takes.
pub(super) fn too_many(reader: &mut Reader<'_>, node: &Node, count: usize, most: usize) -> Option<()> {
    if count <= most {
        return Some(());
    }
    reader.error(node.mark, format!("{count} elements"), &format!("at most {most}"));
    None
}
