//! The ways through weir's pipeline, as benches ask for them: one, or all.

use clap::ValueEnum;
use clap::builder::PossibleValue;
use harness::bench::Direction;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Way {
    /// From a pod into the tunnel
    Encap,
    /// Out of the tunnel to a pod
    Decap,
    /// From a pod to a pod of the same node
    Local,
}

impl From<Way> for Direction {
    fn from(way: Way) -> Self {
        match way {
            Way::Encap => Self::Encap,
            Way::Decap => Self::Decap,
            Way::Local => Self::Local,
        }
    }
}

/// A way; none: all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ways(Option<Way>);

impl Ways {
    pub(super) fn directions(self) -> Vec<Direction> {
        self.0.map_or_else(|| Direction::ALL.to_vec(), |way| vec![way.into()])
    }
}

impl ValueEnum for Ways {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self(Some(Way::Encap)), Self(Some(Way::Decap)), Self(Some(Way::Local)), Self(None)]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self.0 {
            Some(way) => way.to_possible_value(),
            None => Some(PossibleValue::new("all").help("All three")),
        }
    }
}
