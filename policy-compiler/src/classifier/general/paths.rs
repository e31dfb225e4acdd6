//! The prefixes with chained rules around an address, a cache line each.
//!
//! Prefixes that have such rules are numbered from 1. By class there is the number of the nearest one, and by number a
//! [`Path`]: that prefix and those around it, longest first, thirteen of them and where they go on. So a packet reads one
//! line a side, and sixteen lanes can be loaded from it; only deeper nesting reads another. Bytes: 4 a class, 64 a prefix.

use super::prefixes::PrefixTree;

/// Numbers in a line.
pub(super) const NUMBERS: usize = 13;

/// The prefixes around an address: [`NUMBERS`] numbers, 0 where there are no more; how many these are; the best id at
/// any of them and of what follows; the number whose path goes on, or 0.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Path(pub(super) [u32; 16]);

const _: () = assert!(size_of::<Path>() == 64);
const COUNT: usize = 13;
const BEST: usize = 14;
const GOES_ON: usize = 15;

impl Path {
    /// No prefix, and no rule.
    const EMPTY: Self = {
        let mut words = [0; 16];
        words[BEST] = u32::MAX;
        Self(words)
    };

    /// The prefixes of this line.
    #[inline(always)]
    pub(super) fn numbers(&self) -> &[u32] {
        self.0.get(..(self.0[COUNT] as usize).min(NUMBERS)).unwrap_or_default()
    }

    /// The best id of a rule at this line's prefixes or those that follow.
    #[inline(always)]
    pub(super) fn best(&self) -> u32 {
        self.0[BEST]
    }
}

/// One side's paths.
#[derive(Debug)]
pub(super) struct Paths {
    /// By class.
    near: Vec<u32>,
    /// By number; 0 is no prefix.
    paths: Vec<Path>,
}

impl Paths {
    /// The paths of rules' classes, with the rules' ids, and by class the number of its prefix if it has rules.
    pub(super) fn new(tree: &PrefixTree, rules: impl Iterator<Item = (u32, u32)>) -> (Self, Vec<u32>) {
        let mut best = vec![u32::MAX; tree.classes()];
        for (class, id) in rules {
            if let Some(best) = best.get_mut(class as usize) {
                *best = (*best).min(id);
            }
        }
        let mut paths = Self { near: vec![0; tree.classes()], paths: vec![Path::EMPTY] };
        let mut numbers = vec![0; tree.classes()];
        // Whatever is around a class has a smaller number: it is done already.
        for (class, &best) in (0_u32..).zip(&best) {
            let around = paths.near_to(tree.parent(class));
            let near = if best == u32::MAX { around } else { paths.push(around, best) };
            if let Some(place) = paths.near.get_mut(class as usize) {
                *place = near;
            }
            if let Some(number) = numbers.get_mut(class as usize).filter(|_| best != u32::MAX) {
                *number = near;
            }
        }
        paths.paths.shrink_to_fit();
        (paths, numbers)
    }

    fn near_to(&self, class: u32) -> u32 {
        self.near.get(class as usize).copied().unwrap_or(0)
    }

    fn path(&self, number: u32) -> &Path {
        self.paths.get(number as usize).unwrap_or(&Path::EMPTY)
    }

    /// A prefix within the one of number `around`.
    fn push(&mut self, around: u32, best: u32) -> u32 {
        let number = self.paths.len() as u32;
        let mut words = Path::EMPTY.0;
        words[BEST] = best.min(self.path(around).best());
        let outer = self.lines(around).flat_map(Path::numbers);
        for (place, &other) in words.iter_mut().zip(std::iter::once(&number).chain(outer)).take(NUMBERS) {
            *place = other;
        }
        words[COUNT] = words.iter().take(NUMBERS).filter(|&&number| number != 0).count() as u32;
        words[GOES_ON] = self.lines(around).flat_map(Path::numbers).nth(NUMBERS - 1).copied().unwrap_or(0);
        self.paths.push(Path(words));
        number
    }

    /// The lines that begin with a number's.
    fn lines(&self, number: u32) -> impl Iterator<Item = &Path> + Clone {
        let line = move |number: u32| (number != 0).then(|| self.path(number));
        std::iter::successors(line(number), move |path| line(path.0[GOES_ON]))
    }

    /// The lines of prefixes around an address of this class.
    #[inline(always)]
    pub(super) fn around(&self, class: u32) -> impl Iterator<Item = &Path> + Clone {
        self.lines(self.near_to(class))
    }

    /// Bytes for so many classes and prefixes at most.
    pub(super) fn bytes_at_most(classes: usize, prefixes: usize) -> usize {
        classes * 4 + (prefixes.min(classes) + 1) * size_of::<Path>()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&self.near[..]) + size_of_val(&self.paths[..])
    }
}

#[cfg(test)]
mod tests {
    use super::{Paths, PrefixTree};
    use crate::classifier::general::prefixes::Prefix;

    #[test]
    fn a_path_leads_through_all_prefixes_with_rules() {
        // Lengths 0 to 40, of which every third has no rule.
        let nested: Vec<Prefix> = (0..=40).map(|len| Prefix { bits: 0, len }).collect();
        let tree = PrefixTree::new(nested.clone());
        let with_rules = |len: u8| !len.is_multiple_of(3);
        let class = |prefix: &Prefix| tree.class(*prefix).expect("in the tree");
        let rules = nested.iter().filter(|prefix| with_rules(prefix.len));
        let (paths, numbers) =
            Paths::new(&tree, rules.map(|prefix| (class(prefix), 100 - u32::from(prefix.len))));
        for prefix in &nested {
            let expected: Vec<u32> = (0..=prefix.len)
                .rev()
                .filter(|&len| with_rules(len))
                .map(|len| numbers[class(&Prefix { bits: 0, len }) as usize])
                .collect();
            let found: Vec<u32> =
                paths.around(class(prefix)).flat_map(super::Path::numbers).copied().collect();
            assert_eq!(found, expected);
            assert!(!found.contains(&0));
            let best = (0..=prefix.len).rev().find(|&len| with_rules(len)).map(|len| 100 - u32::from(len));
            assert_eq!(paths.around(class(prefix)).next().map(super::Path::best), best);
        }
        assert_eq!(paths.around(0).count(), 0);
        assert!(paths.memory_bytes() <= Paths::bytes_at_most(42, 27));
    }
}
