//! What the language says, where it says no, and that it never panics.

use super::{CalicoNamespaces, CalicoSelector, LabelTest};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use std::fmt::Write;

const LABELS: [(&str, &str); 3] = [("app", "web-1"), ("tier", ""), ("a/b.c_d-e", "x y")];

fn of_pod(label: &str) -> Option<&'static str> {
    LABELS.into_iter().find(|(key, _)| *key == label).map(|(_, value)| value)
}

fn holds(text: &str) -> bool {
    match CalicoSelector::parse(text) {
        Ok(selector) => selector.matches(&of_pod),
        Err(error) => panic!("{text}: {error}"),
    }
}

#[test]
fn every_operator_is_read_with_and_without_spaces() {
    for text in [
        "",
        " \t ",
        "all()",
        "all( )",
        "app == 'web-1'",
        "app==\"web-1\"",
        "app != 'web-2'",
        "none != 'x'",
        "app in {'web-1', \"b\"}",
        "app in{'web-1'}",
        "app in { 'web-1', }",
        "app not in {'b'}",
        "app notin {'b'}",
        "none not in {'b'}",
        "app not in {}",
        "app contains 'b-'",
        "app contains ''",
        "app starts with 'web'",
        "app startswith'web'",
        "app ends  with '-1'",
        "has(app)",
        "has( tier )",
        "tier == ''",
        "!has(none)",
        "!!has(app)",
        "! ! ! has(none)",
        "a/b.c_d-e == 'x y'",
        "!(app == 'x')",
        "((has(app)))",
        "has != 'x' && in != 'x' && contains != 'x'",
    ] {
        assert!(holds(text), "{text}");
    }
    for text in [
        "app in {}",
        "none == ''",
        "none contains ''",
        "none starts with ''",
        "none ends with ''",
        "none in {''}",
        "!all()",
        "!app == 'web-1'",
    ] {
        assert!(!holds(text), "{text}");
    }
}

#[test]
fn and_binds_tighter_than_or_and_not_tighter_than_both() {
    assert!(holds("has(app) || has(none) && has(none)"));
    assert!(!holds("(has(app) || has(none)) && has(none)"));
    assert!(holds("has(none) && has(none) || has(app)"));
    assert!(holds("!has(none) || has(app) && has(none)"));
    assert!(!holds("!(has(none) || has(app)) && has(app)"));
}

#[test]
fn what_cannot_be_read_is_pointed_at() {
    for (text, at, says) in [
        ("app = 'web'", 4, "\"==\""),
        ("app == web", 7, "'web'"),
        ("app == 'web", 7, "a closing '"),
        ("app == 'web' and has(b)", 13, "\"&&\""),
        ("not has(app)", 4, "\"!\" instead"),
        ("has(a) or has(b)", 7, "\"||\""),
        ("has(a) é", 7, "a label"),
        ("has(a, b)", 5, "has(a) && has(b)"),
        ("has()", 4, "without quotes"),
        ("has('a')", 4, "without quotes"),
        ("has (a)", 0, "has( without a space"),
        ("a == 'b' & c == 'd'", 9, "\"&&\""),
        ("a == 'b' | c == 'd'", 9, "\"||\""),
        ("a in ('b')", 5, "{'a', 'b'}"),
        ("a in {'b' 'c'}", 10, "\",\""),
        ("a in {'b'", 9, "\"}\""),
        ("a == 'b' && ", 12, "a label"),
        ("(a == 'b'", 9, "\")\""),
        ("a == 'b')", 8, "the end"),
        ("a == \u{2018}b\u{2019}", 5, "straight quotes"),
        ("é == 'b'", 0, "a label"),
        ("a == 'é' é", 9, "a label"),
        ("a == 'b'\n", 8, "on one line"),
        ("a like 'b'", 2, "contains"),
        ("a starts 'b'", 9, "\"with\""),
        ("a", 1, "has(a)"),
        ("{'a'}", 0, "a label"),
        ("global()", 0, "namespaceSelector"),
        ("global() && a == 'b'", 0, "alone"),
        ("all(", 4, "\")\""),
    ] {
        let Err(error) = CalicoSelector::parse(text) else { panic!("{text} is no selector") };
        assert_eq!(error.at, at, "{text}: {error}");
        assert!(error.to_string().contains(says), "{text}: {error}");
    }
}

#[test]
fn global_stands_alone_where_namespaces_are_selected() {
    assert_eq!(CalicoNamespaces::parse(" global() "), Ok(CalicoNamespaces::Global));
    assert_eq!(CalicoNamespaces::parse("all()"), Ok(CalicoNamespaces::Matching(CalicoSelector::All)));
    assert!(CalicoNamespaces::parse("!global()").is_err());
    assert!(CalicoNamespaces::parse("(global())").is_err());
}

#[test]
fn nesting_is_bounded_and_length_is_not() {
    let nested = |levels: usize| format!("{}has(a){}", "(".repeat(levels), ")".repeat(levels));
    assert!(CalicoSelector::parse(&nested(super::MAX_DEPTH)).is_ok());
    let Err(error) = CalicoSelector::parse(&nested(100_000)) else { panic!("too deep") };
    assert_eq!(error.at, super::MAX_DEPTH);
    assert!(CalicoSelector::parse(&format!("{}has(a)", "!".repeat(100_001))).is_ok());
    assert!(CalicoSelector::parse(&vec!["has(a)"; 50_000].join(" && ")).is_ok());
}

fn shown(selector: &CalicoSelector, text: &mut String) {
    let joined = |parts: &[CalicoSelector], sign: &str, text: &mut String| {
        text.push('(');
        for (index, part) in parts.iter().enumerate() {
            text.push_str(if index == 0 { "" } else { sign });
            shown(part, text);
        }
        text.push(')');
    };
    let _ = match selector {
        CalicoSelector::All => write!(text, "all()"),
        CalicoSelector::Label(key, LabelTest::Exists) => write!(text, "has({key})"),
        CalicoSelector::Label(key, LabelTest::In(values)) => {
            let values: Vec<String> = values.iter().map(|value| format!("'{value}'")).collect();
            write!(text, "{key} in {{{}}}", values.join(","))
        }
        CalicoSelector::Label(key, LabelTest::Contains(part)) => write!(text, "{key} contains '{part}'"),
        CalicoSelector::Label(key, LabelTest::StartsWith(part)) => write!(text, "{key} starts with '{part}'"),
        CalicoSelector::Label(key, LabelTest::EndsWith(part)) => write!(text, "{key} ends with '{part}'"),
        CalicoSelector::Not(part) => {
            text.push_str("!(");
            shown(part, text);
            text.push(')');
            Ok(())
        }
        CalicoSelector::And(parts) => {
            joined(parts, " && ", text);
            Ok(())
        }
        CalicoSelector::Or(parts) => {
            joined(parts, "||", text);
            Ok(())
        }
    };
}

fn selector() -> impl Strategy<Value = CalicoSelector> {
    let value = || select(vec!["", "web", "web-1", "x y", "é"]).prop_map(str::to_owned);
    let test = prop_oneof![
        Just(LabelTest::Exists),
        vec(value(), 0..3).prop_map(LabelTest::In),
        value().prop_map(LabelTest::Contains),
        value().prop_map(LabelTest::StartsWith),
        value().prop_map(LabelTest::EndsWith),
    ];
    let key = select(vec!["app", "tier", "none", "in", "not", "a/b.c_d-e"]).prop_map(str::to_owned);
    let leaf = prop_oneof![
        Just(CalicoSelector::All),
        (key, test).prop_map(|(key, test)| CalicoSelector::Label(key, test))
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|part| CalicoSelector::Not(Box::new(part))),
            vec(inner.clone(), 2..4).prop_map(CalicoSelector::And),
            vec(inner, 2..4).prop_map(CalicoSelector::Or),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_selector_written_out_is_read_as_itself(selector in selector()) {
        let mut text = String::new();
        shown(&selector, &mut text);
        prop_assert_eq!(CalicoSelector::parse(&text), Ok(selector), "{}", text);
    }

    #[test]
    fn no_text_is_too_strange(words in vec(select(vec![
        "app", "has(", ")", "(", "'", "\"", "!", "=", "==", "!=", "&&", "|", "||", " ", "in", "not ", "{", "}", ",",
        "all()", "global()", "starts", "with", "é", "\u{2019}", "\n", "'x'", "contains",
    ]), 0..12)) {
        let text = words.concat();
        if let Err(error) = CalicoSelector::parse(&text) {
            prop_assert!(error.at <= text.chars().count() && !error.expected.is_empty());
        }
    }

    #[test]
    fn what_is_certain_is_so(selector in selector()) {
        let known = |label: &str, test: &LabelTest| (label == "app").then(|| test.holds("web-1"));
        if let Some(certain) = selector.certainly(&known) {
            prop_assert_eq!(certain, selector.matches(&of_pod));
            prop_assert_eq!(certain, selector.matches(&|label| (label == "app").then_some("web-1")));
        }
    }
}
