//! Words in messages: the one a typo meant, lists of those that would do, and hostile ones cut short.

/// Characters of a foreign word that a message shows. Names and labels end at 63, but for DNS prefixes.
const SHOWN: usize = 80;

/// A text as messages show it, in quotes and cut short if it is long.
pub(crate) fn quoted(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

/// The same without quotes.
pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// `a, b or c`.
pub(crate) fn listed(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

/// The known word a typo most probably meant.
pub(crate) fn closest<'k>(typo: &str, known: &[&'k str]) -> Option<&'k str> {
    // The distance is quadratic; a hostile key is long and no typo.
    if typo.len() > SHOWN {
        return None;
    }
    let lower = typo.to_ascii_lowercase();
    let letters = letters(&lower);
    known
        .iter()
        .filter_map(|&word| {
            let reach = (word.len() / 3).min(3);
            // Nearly all words are too far from each other to be worth measuring: a step changes at most one letter
            // into another, and the length by one character.
            let apart = (letters ^ self::letters(word)).count_ones() as usize;
            if typo.is_ascii() && apart > 2 * reach || typo.len().abs_diff(word.len()) > 4 * reach {
                return None;
            }
            let distance = distance(&lower, &word.to_ascii_lowercase());
            (distance <= reach).then_some((distance, word))
        })
        .min()
        .map(|(_, word)| word)
}

/// The set of characters of a word, upper and lower case alike; those beyond ASCII share bits.
fn letters(word: &str) -> u64 {
    word.bytes().fold(0, |set, byte| set | 1 << (byte.to_ascii_lowercase() & 63))
}

/// Levenshtein's, with a swap of neighbours as one step.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, &left) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &right) in b.iter().enumerate() {
            let mut best = (above[j] + usize::from(left != right)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && left == b[j - 1] && a[i - 1] == right {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::{closest, listed, quoted};

    #[test]
    fn a_typo_finds_its_word() {
        let known = ["podSelector", "namespaceSelector", "ipBlock"];
        assert_eq!(closest("podselector", &known), Some("podSelector"));
        assert_eq!(closest("ipblokc", &known), Some("ipBlock"));
        assert_eq!(closest("unrelated", &known), None);
        assert_eq!((closest("tcp", &["TCP"]), closest("ICMP", &["SCTP"])), (Some("TCP"), None));
        assert_eq!(closest(&"x".repeat(100_000), &known), None);
    }

    #[test]
    fn words_are_listed_as_people_do() {
        assert_eq!(listed(&["TCP", "UDP", "SCTP"]), "TCP, UDP or SCTP");
        assert_eq!(listed(&["vxlan"]), "vxlan");
    }

    #[test]
    fn a_long_text_is_cut_short() {
        assert_eq!(quoted("a\"b"), "\"a\\\"b\"");
        assert_eq!(quoted(&"é".repeat(100_000)), format!("\"{}\"…", "é".repeat(80)));
    }
}
