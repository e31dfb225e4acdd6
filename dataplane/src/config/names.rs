//! What may be the name of an interface, a node, a namespace or a pod; and "did you mean".

/// What an interface name may be, for messages.
pub(super) const INTERFACE_FORM: &str =
    "1 to 15 bytes of printable ASCII without space, slash, colon and percent sign";
/// What a node or pod name may be, for messages.
pub(super) const SUBDOMAIN_FORM: &str =
    "at most 253 lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit";

/// Whether the kernel takes `name` for an interface, and takes it literally: TUNSETIFF counts up a `%d`.
pub(super) fn is_interface(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && name != "."
        && name != ".."
        && name.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':' | b'%'))
}

/// An RFC 1123 label, at most 63 characters: the name of a namespace.
pub(super) fn is_label(name: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    bytes.len() <= 63
        && bytes.first().copied().is_some_and(alphanumeric)
        && bytes.last().copied().is_some_and(alphanumeric)
        && bytes.iter().all(|&byte| alphanumeric(byte) || byte == b'-')
}

/// An RFC 1123 subdomain, at most 253 characters: the name of a node or a pod.
pub(super) fn is_subdomain(name: &str) -> bool {
    // Kubernetes limits the whole, not each part, to the label alphabet and its ends.
    name.len() <= 253
        && name.split('.').all(|part| {
            let ends = [part.bytes().next(), part.bytes().last()];
            ends.iter().all(|end| end.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        })
}

/// The one of `candidates` that `word` is most likely a slip for.
pub(super) fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    // Two letters swapped are two edits; in a word of three that would be any other word.
    let letters = word.chars().count();
    let limit = if letters < 4 { 1 } else { (letters / 3).max(2) };
    candidates
        .iter()
        .map(|candidate| (distance(&word.to_lowercase(), &candidate.to_lowercase()), *candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance; `-` and `_` count as equal.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.replace('-', "_").chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (above, l) in left.replace('-', "_").chars().enumerate() {
        let mut diagonal = above;
        let mut previous = above + 1;
        if let Some(first) = row.first_mut() {
            *first = previous;
        }
        for (r, cell) in right.iter().zip(row.iter_mut().skip(1)) {
            let substituted = diagonal + usize::from(l != *r);
            diagonal = *cell;
            *cell = substituted.min(diagonal + 1).min(previous + 1);
            previous = *cell;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{is_interface, is_label, is_subdomain, nearest};

    #[test]
    fn interface_names_follow_the_kernel() {
        assert!(is_interface("weir0"));
        assert!(is_interface("vethabcdef01234"));
        for wrong in ["", ".", "..", "sixteen-bytes-xx", "a/b", "a b", "a:b", "tap%d", "e\u{e9}"] {
            assert!(!is_interface(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn kubernetes_names_follow_rfc_1123() {
        assert!(is_label("kube-system"));
        assert!(!is_label("kube.system"));
        assert!(!is_label("-a"));
        assert!(!is_label(&"a".repeat(64)));
        assert!(is_subdomain("node-a.example.com"));
        for wrong in ["", "Node", "a..b", ".a", "a-", "a_b"] {
            assert!(!is_subdomain(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn a_slip_finds_the_word_that_was_meant() {
        assert_eq!(nearest("adress", &["address", "mac"]), Some("address"));
        assert_eq!(nearest("source-ports", &["source_ports"]), Some("source_ports"));
        assert_eq!(nearest("bogus", &["address", "mac"]), None);
    }
}
