//! Calico's selectors as expressions over what a pod shows.
//!
//! Calico gives every pod labels beside its own: `projectcalico.org/namespace`, `/orchestrator` and `/serviceaccount`,
//! and, with prefixes, those of its namespace (`pcns.`) and of its service account (`pcsa.`). A selector of namespaces
//! or service accounts is one over labels with that prefix. A pod cannot shadow them with labels of its own.

use crate::api::{CalicoSelector, LabelTest};
use crate::model::{Attribute, Expression};

/// Whose labels a selector is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Labels {
    /// The endpoint's.
    Own,
    /// Its namespace's.
    Namespace,
    /// Its service account's.
    ServiceAccount,
}

/// What stands for a label of Calico's.
pub(super) enum Seen<'k> {
    /// A label of the endpoint itself.
    Own(&'k str),
    /// The name of its namespace.
    Namespace,
    /// A label of its namespace.
    OfNamespace(&'k str),
    /// The name of its service account.
    ServiceAccount,
    /// A label of its service account.
    OfServiceAccount(&'k str),
    /// `k8s`.
    Orchestrator,
}

/// What a pod's `projectcalico.org/orchestrator` is.
const ORCHESTRATOR: &str = "k8s";
/// The name of a namespace or service account, among its labels.
const NAME: &str = "projectcalico.org/name";

/// What the label is, in a selector over these labels.
pub(super) fn seen(key: &str, labels: Labels) -> Seen<'_> {
    let namespaced = |key| if key == NAME { Seen::Namespace } else { Seen::OfNamespace(key) };
    let account = |key| if key == NAME { Seen::ServiceAccount } else { Seen::OfServiceAccount(key) };
    match (labels, key) {
        (Labels::Namespace, key) => namespaced(key),
        (Labels::ServiceAccount, key) => account(key),
        (Labels::Own, "projectcalico.org/namespace") => Seen::Namespace,
        (Labels::Own, "projectcalico.org/serviceaccount") => Seen::ServiceAccount,
        (Labels::Own, "projectcalico.org/orchestrator") => Seen::Orchestrator,
        (Labels::Own, key) => match (key.strip_prefix("pcns."), key.strip_prefix("pcsa.")) {
            (Some(key), _) => namespaced(key),
            (_, Some(key)) => account(key),
            (None, None) => Seen::Own(key),
        },
    }
}

/// The pods of which the selector holds.
pub(super) fn expression(selector: &CalicoSelector, labels: Labels) -> Expression {
    match selector {
        CalicoSelector::All => Expression::EVERYTHING,
        CalicoSelector::Label(key, test) => {
            let attribute = match seen(key, labels) {
                Seen::Own(key) => Attribute::Label(key.to_owned()),
                Seen::OfNamespace(key) => Attribute::NamespaceLabel(key.to_owned()),
                Seen::OfServiceAccount(key) => Attribute::ServiceAccountLabel(key.to_owned()),
                Seen::Namespace => Attribute::Namespace,
                Seen::ServiceAccount => Attribute::ServiceAccount,
                Seen::Orchestrator if test.holds(ORCHESTRATOR) => return Expression::EVERYTHING,
                Seen::Orchestrator => return Expression::NOTHING,
            };
            let always = matches!(attribute, Attribute::Namespace | Attribute::ServiceAccount);
            if always && *test == LabelTest::Exists {
                return Expression::EVERYTHING;
            }
            Expression::Is(attribute, self::test(test))
        }
        CalicoSelector::Not(part) => match expression(part, labels) {
            everything if everything.is_everything() => Expression::NOTHING,
            nothing if nothing == Expression::NOTHING => Expression::EVERYTHING,
            part => part.negated(),
        },
        CalicoSelector::And(parts) => all(parts.iter().map(|part| expression(part, labels)).collect()),
        CalicoSelector::Or(parts) => {
            let mut parts: Vec<Expression> = parts.iter().map(|part| expression(part, labels)).collect();
            if parts.contains(&Expression::EVERYTHING) {
                return Expression::EVERYTHING;
            }
            parts.retain(|part| *part != Expression::NOTHING);
            match <[Expression; 1]>::try_from(parts) {
                Ok([only]) => only,
                Err(parts) => Expression::Any(parts),
            }
        }
    }
}

/// All of them, without those that say nothing.
pub(super) fn all(mut parts: Vec<Expression>) -> Expression {
    if parts.contains(&Expression::NOTHING) {
        return Expression::NOTHING;
    }
    parts.retain(|part| !part.is_everything());
    match <[Expression; 1]>::try_from(parts) {
        Ok([only]) => only,
        Err(parts) => Expression::All(parts),
    }
}

fn test(test: &LabelTest) -> LabelTest {
    match test {
        LabelTest::In(values) => {
            // One spelling per meaning, so that equal selectors are found equal.
            let mut values = values.clone();
            values.sort();
            values.dedup();
            LabelTest::In(values)
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Labels, expression};
    use crate::api::{CalicoSelector, Labels as LabelMap};
    use crate::model::{Attributes, Expression};

    fn read(text: &str, labels: Labels) -> Expression {
        match CalicoSelector::parse(text) {
            Ok(selector) => expression(&selector, labels),
            Err(error) => panic!("{text}: {error}"),
        }
    }

    #[test]
    fn labels_that_calico_adds_are_what_they_stand_for() {
        let labels = |key: &str, value: &str| LabelMap::from([(key.to_owned(), value.to_owned())]);
        let own = LabelMap::from(
            [("app", "web"), ("pcns.team", "spoofed"), ("projectcalico.org/namespace", "spoofed")]
                .map(|(key, value)| (key.to_owned(), value.to_owned())),
        );
        let pod = Attributes {
            namespace: "shop",
            namespace_labels: &labels("team", "red"),
            labels: &own,
            service_account: "till",
            service_account_labels: &labels("role", "cashier"),
        };
        for (text, whose, holds) in [
            ("projectcalico.org/namespace == 'shop'", Labels::Own, true),
            ("projectcalico.org/namespace == 'spoofed'", Labels::Own, false),
            ("projectcalico.org/orchestrator == 'k8s' && app == 'web'", Labels::Own, true),
            (
                "projectcalico.org/orchestrator != 'k8s' || !has(projectcalico.org/namespace)",
                Labels::Own,
                false,
            ),
            ("projectcalico.org/serviceaccount in {'till'}", Labels::Own, true),
            ("pcns.team == 'red' && pcsa.role == 'cashier'", Labels::Own, true),
            ("pcns.projectcalico.org/name == 'shop'", Labels::Own, true),
            ("projectcalico.org/name == 'shop' && team == 'red'", Labels::Namespace, true),
            ("app == 'web'", Labels::Namespace, false),
            ("projectcalico.org/name == 'till' && has(role)", Labels::ServiceAccount, true),
        ] {
            assert_eq!(read(text, whose).matches(&pod), holds, "{text}");
        }
    }

    #[test]
    fn what_is_certain_of_every_pod_leaves_no_test_behind() {
        assert!(read("has(projectcalico.org/namespace) && all()", Labels::Own).is_everything());
        assert_eq!(read("projectcalico.org/orchestrator == 'cni'", Labels::Own), Expression::NOTHING);
        assert_eq!(read("a == 'b' || !all()", Labels::Own), read("a == 'b'", Labels::Own));
        assert_eq!(read("a in {'y', 'x', 'y'}", Labels::Own), read("a in {'x', 'y'}", Labels::Own));
        assert!(read("!(projectcalico.org/orchestrator == 'cni')", Labels::Own).is_everything());
    }
}
