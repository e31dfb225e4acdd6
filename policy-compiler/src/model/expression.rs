//! Selectors of every language as one boolean expression over what a pod shows.
//!
//! Kubernetes label selectors, Calico's selector language and Cilium's endpoint selectors all become this. A test of
//! an attribute the pod does not have is false, whatever the test; its negation is therefore true, which is how
//! `NotIn`, `!=` and `not in` are meant in all three.

pub use crate::api::LabelTest as Test;
use crate::api::{Labels, Requirement, Selector};

/// What selectors see of a pod.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a> {
    /// Its namespace's name.
    pub namespace: &'a str,
    /// Its namespace's labels.
    pub namespace_labels: &'a Labels,
    /// Its own labels.
    pub labels: &'a Labels,
    /// Its service account's name.
    pub service_account: &'a str,
    /// Its service account's labels.
    pub service_account_labels: &'a Labels,
}

impl<'a> Attributes<'a> {
    fn get(&self, attribute: &Attribute) -> Option<&'a str> {
        match attribute {
            Attribute::Label(key) => self.labels.get(key).map(String::as_str),
            Attribute::NamespaceLabel(key) => self.namespace_labels.get(key).map(String::as_str),
            Attribute::Namespace => Some(self.namespace),
            Attribute::ServiceAccount => Some(self.service_account),
            Attribute::ServiceAccountLabel(key) => self.service_account_labels.get(key).map(String::as_str),
        }
    }
}

/// Something a selector can test.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Attribute {
    /// The label of this key.
    Label(String),
    /// The label of this key of the pod's namespace.
    NamespaceLabel(String),
    /// The name of the pod's namespace.
    Namespace,
    /// The name of the pod's service account.
    ServiceAccount,
    /// The label of this key of the pod's service account.
    ServiceAccountLabel(String),
}

/// A boolean expression. Its depth is bounded by whoever reads it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Expression {
    /// The attribute is there and the test holds.
    Is(Attribute, Test),
    /// The part does not hold.
    Not(Box<Expression>),
    /// All parts hold; without parts, always.
    All(Vec<Expression>),
    /// Some part holds; without parts, never.
    Any(Vec<Expression>),
}

impl Default for Expression {
    /// Matches every pod.
    fn default() -> Self {
        Self::EVERYTHING
    }
}

impl Expression {
    /// Matches every pod.
    pub const EVERYTHING: Self = Self::All(Vec::new());
    /// Matches no pod.
    pub const NOTHING: Self = Self::Any(Vec::new());

    /// The label is one of these values.
    pub fn label(key: impl Into<String>, values: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::Is(Attribute::Label(key.into()), Test::In(values.into_iter().map(Into::into).collect()))
    }

    /// Its negation.
    #[must_use]
    pub fn negated(self) -> Self {
        match self {
            Self::Not(inner) => *inner,
            other => Self::Not(Box::new(other)),
        }
    }

    /// Whether it matches every pod.
    pub fn is_everything(&self) -> bool {
        *self == Self::EVERYTHING
    }

    /// Whether the pod matches.
    pub fn matches(&self, pod: &Attributes<'_>) -> bool {
        match self {
            Self::Is(attribute, test) => pod.get(attribute).is_some_and(|value| test.holds(value)),
            Self::Not(part) => !part.matches(pod),
            Self::All(parts) => parts.iter().all(|part| part.matches(pod)),
            Self::Any(parts) => parts.iter().any(|part| part.matches(pod)),
        }
    }

    /// How much is compared to find out whether a pod matches, at most.
    pub fn tests(&self) -> usize {
        match self {
            Self::Is(_, Test::In(values)) => 1 + values.len(),
            Self::Is(..) => 1,
            Self::Not(part) => part.tests(),
            Self::All(parts) | Self::Any(parts) => {
                parts.iter().fold(1, |sum, part| sum.saturating_add(part.tests()))
            }
        }
    }
}

impl From<&Selector> for Expression {
    fn from(selector: &Selector) -> Self {
        let part = |requirement: &Requirement| match requirement {
            Requirement::In(key, values) => Self::label(key, values),
            Requirement::NotIn(key, values) => Self::label(key, values).negated(),
            Requirement::Exists(key) => Self::Is(Attribute::Label(key.clone()), Test::Exists),
            Requirement::DoesNotExist(key) => Self::Is(Attribute::Label(key.clone()), Test::Exists).negated(),
        };
        Self::All(selector.requirements.iter().map(part).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::{Attribute, Attributes, Expression, Test};
    use crate::api::Labels;

    fn is(key: &str, test: Test) -> Expression {
        Expression::Is(Attribute::Label(key.to_owned()), test)
    }

    #[test]
    fn a_missing_label_fails_every_test_and_passes_every_negated_one() {
        let labels = Labels::from([("app".to_owned(), "web-1".to_owned())]);
        let none = Labels::new();
        let pod = Attributes {
            namespace: "shop",
            namespace_labels: &none,
            labels: &labels,
            service_account: "default",
            service_account_labels: &none,
        };
        for (test, holds) in [
            (Test::Exists, true),
            (Test::In(vec!["web-1".into(), "x".into()]), true),
            (Test::Contains("b-".into()), true),
            (Test::StartsWith("web".into()), true),
            (Test::EndsWith("web".into()), false),
            (Test::In(vec![]), false),
        ] {
            assert_eq!(is("app", test.clone()).matches(&pod), holds, "{test:?}");
            assert_eq!(is("app", test.clone()).negated().matches(&pod), !holds, "{test:?}");
            assert!(!is("tier", test.clone()).matches(&pod), "{test:?}");
            assert!(is("tier", test.clone()).negated().matches(&pod), "{test:?}");
        }
        assert!(Expression::EVERYTHING.matches(&pod) && !Expression::NOTHING.matches(&pod));
        let account = Expression::Is(Attribute::ServiceAccount, Test::In(vec!["default".into()]));
        let namespace = Expression::Is(Attribute::Namespace, Test::In(vec!["shop".into()]));
        assert!(Expression::All(vec![account.clone(), namespace.clone()]).matches(&pod));
        assert!(!Expression::All(vec![account.negated(), namespace]).matches(&pod));
    }
}
