//! The answer of an end of a connection as one word: action, rule id, and whether to note it.
//!
//! So that whether a connection may pass is one test, and vector units compare and blend what they find.

use super::key::{PairVerdict, RuleId, Verdict};
use crate::model::Action;

/// The verdict denies.
const DENY: u32 = 1 << 31;
/// A rule on the way to the verdict may ask to note the connection.
const NOTED: u32 = 1 << 30;
/// A word of an end where no subject is.
pub(crate) const NOBODY: u32 = NOTED - 1;
/// The word of a subject that is not known, and of tables that contradict themselves.
pub(crate) const UNKNOWN: u32 = DENY;

/// Puts a verdict into a word.
pub(crate) const fn pack(action: Action, rule: RuleId, noted: bool) -> u32 {
    let deny = match action {
        Action::Allow => 0,
        Action::Deny => DENY,
    };
    // A rule that cannot be numbered is the unknown one, which denies.
    if rule.0 >= NOBODY {
        return UNKNOWN;
    }
    rule.0 | deny | if noted { NOTED } else { 0 }
}

pub(crate) const fn unpack(word: u32) -> Verdict {
    let action = if word & DENY == 0 { Action::Allow } else { Action::Deny };
    Verdict { action, rule: RuleId(word & NOBODY) }
}

/// The answers at both ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer([u32; 2]);

impl Answer {
    #[inline]
    pub(super) const fn new(words: [u32; 2]) -> Self {
        Self(words)
    }

    /// Whether no end denies. True where no end is a subject.
    #[inline]
    pub const fn allows(self) -> bool {
        let [egress, ingress] = self.0;
        (egress | ingress) & DENY == 0
    }

    /// Whether a rule on the way to a verdict may ask to note the connection; if not, none does.
    #[inline]
    pub const fn may_be_noted(self) -> bool {
        let [egress, ingress] = self.0;
        (egress | ingress) & NOTED != 0
    }

    /// What the source's policies say, if it is a subject.
    #[inline]
    pub const fn egress(self) -> Option<Verdict> {
        verdict(self.0[0])
    }

    /// What the destination's policies say, if it is a subject.
    #[inline]
    pub const fn ingress(self) -> Option<Verdict> {
        verdict(self.0[1])
    }

    /// Both.
    pub const fn verdicts(self) -> PairVerdict {
        verdicts(self.0)
    }
}

/// Both verdicts.
pub(crate) const fn verdicts([egress, ingress]: [u32; 2]) -> PairVerdict {
    PairVerdict { egress: verdict(egress), ingress: verdict(ingress) }
}

const fn verdict(word: u32) -> Option<Verdict> {
    if word == NOBODY { None } else { Some(unpack(word)) }
}

#[cfg(test)]
mod tests {
    use super::{NOBODY, RuleId, UNKNOWN, Verdict, pack, unpack};
    use crate::model::Action;

    #[test]
    fn words_say_action_rule_and_whether_to_note() {
        for action in [Action::Allow, Action::Deny] {
            for rule in [RuleId(0), RuleId(1), RuleId(NOBODY - 1)] {
                for noted in [false, true] {
                    assert_eq!(unpack(pack(action, rule, noted)), Verdict { action, rule });
                }
            }
            assert_eq!(pack(action, RuleId(NOBODY), false), UNKNOWN, "what cannot be numbered denies");
        }
    }
}
