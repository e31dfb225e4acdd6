//! The form for every processor.

/// Eight ascending numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keys([u16; 8]);

impl Keys {
    /// Ascending keys.
    pub(crate) fn new(keys: [u16; 8]) -> Self {
        Self(keys)
    }

    /// How many keys are less than `low`.
    #[inline(always)]
    pub(crate) fn below(&self, low: u16) -> usize {
        self.0.iter().map(|&key| usize::from(low > key)).sum()
    }
}
