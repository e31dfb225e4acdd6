//! The oracle for general rule sets: rules one after the other, until one matches.
//!
//! Shares nothing with `general` but [`Rule::matches`], which is the definition. Cost per lookup: every rule up to the
//! answer. Bytes: the rules.

use super::TupleClassifier;
use crate::ruleset::{Rule, RuleIndex, RuleSet, Tuple};

/// Rules, walked in order.
///
/// ```
/// use policy_compiler::classifier::{LinearRules, TupleClassifier};
/// use policy_compiler::ruleset::{RuleIndex, text};
///
/// let rules = text::rules("set", "@10.0.0.0/8 0.0.0.0/0 0 : 65535 80 : 80 0x06/0xFF\n\
///                                 @0.0.0.0/0 0.0.0.0/0 0 : 65535 0 : 65535 0x00/0x00")?;
/// let packets = text::trace("trace", "10.1.2.3 192.0.2.1 4711 80 6\n10.1.2.3 192.0.2.1 4711 81 6")?;
/// let linear = LinearRules::new(rules);
/// assert_eq!(linear.lookup(&packets[0]), Some(RuleIndex(0)));
/// assert_eq!(linear.lookup(&packets[1]), Some(RuleIndex(1)));
/// # Ok::<(), Vec<text::Problem>>(())
/// ```
#[derive(Debug, Clone)]
pub struct LinearRules {
    rules: RuleSet,
}

impl LinearRules {
    /// The oracle of a rule set.
    pub fn new(rules: RuleSet) -> Self {
        Self { rules }
    }
}

impl TupleClassifier for LinearRules {
    fn lookup(&self, tuple: &Tuple) -> Option<RuleIndex> {
        let position = self.rules.iter().position(|rule| rule.matches(tuple))?;
        u32::try_from(position).ok().map(RuleIndex)
    }

    fn memory_bytes(&self) -> usize {
        self.rules.len() * size_of::<Rule>()
    }

    fn name(&self) -> &'static str {
        "linear"
    }
}
