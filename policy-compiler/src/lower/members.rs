//! Identities by what holds of them, so that a new row looks at those alone that its rules may know.

use super::identity::Seen;

/// Identities by what holds of them.
pub(super) struct Members {
    pub(super) of_atom: Vec<Vec<usize>>,
    pub(super) cut_off: Vec<usize>,
    pub(super) own: Vec<usize>,
    pub(super) named: Vec<usize>,
}

impl Members {
    pub(super) fn new(seen: &[Seen], atoms: usize) -> Self {
        let mut members = Self {
            of_atom: vec![Vec::new(); atoms],
            cut_off: Vec::new(),
            own: Vec::new(),
            named: Vec::new(),
        };
        for (number, seen) in seen.iter().enumerate() {
            for &atom in seen.atoms() {
                if let Some(members) = members.of_atom.get_mut(atom) {
                    members.push(number);
                }
            }
            for (list, is) in [
                (&mut members.cut_off, seen.cut_off.is_some()),
                (&mut members.own, seen.own),
                (&mut members.named, seen.profile != 0),
            ] {
                if is {
                    list.push(number);
                }
            }
        }
        members
    }
}
