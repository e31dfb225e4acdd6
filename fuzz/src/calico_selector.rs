//! Calico's selectors: a text is read or refused at one of its characters, and what is read holds or does not.
//!
//! Read again in parentheses it means the same, and negated the opposite.

use policy_compiler::api::{CalicoNamespaces, CalicoSelector};

const LABELS: [[(&str, &str); 2]; 3] =
    [[("app", "web"), ("tier", "")], [("a", "b"), ("b", "a")], [("app", "x y"), ("has", "in")]];

/// One input.
pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let selector = match CalicoSelector::parse(text) {
        Ok(selector) => selector,
        Err(error) => {
            assert!(error.at <= text.chars().count(), "{error}");
            assert!(!error.message.is_empty() && !error.expected.is_empty(), "{error}");
            // The one text that is a selector of namespaces only.
            let namespaces = CalicoNamespaces::parse(text);
            assert!(matches!(namespaces, Ok(CalicoNamespaces::Global) | Err(_)));
            return;
        }
    };
    assert_eq!(CalicoNamespaces::parse(text), Ok(CalicoNamespaces::Matching(selector.clone())));
    let negated = CalicoSelector::parse(&format!("!({text})"));
    for labels in LABELS {
        let label = |key: &str| labels.into_iter().find(|(name, _)| *name == key).map(|(_, value)| value);
        let holds = selector.matches(&label);
        // Refused only where the text is empty, or one more level is one too many.
        if let Ok(negated) = &negated {
            assert_eq!(negated.matches(&label), !holds);
        }
    }
}
