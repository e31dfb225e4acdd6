//! Where a tier stands among tiers and a policy in its tier.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// Low first. A number, as Calico's `order` is; whatever has none comes last.
#[derive(Debug, Clone, Copy)]
pub struct Order(f64);

impl Order {
    /// Before all others.
    pub const FIRST: Self = Self(f64::NEG_INFINITY);
    /// After all others.
    pub const LAST: Self = Self(f64::INFINITY);

    /// At this place.
    pub const fn at(order: f64) -> Self {
        Self(order)
    }
}

impl PartialEq for Order {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Order {}

impl PartialOrd for Order {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Order {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl Hash for Order {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::FIRST {
            f.write_str("first")
        } else if *self == Self::LAST {
            f.write_str("last")
        } else {
            write!(f, "{}", self.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Order;

    #[test]
    fn whatever_has_no_order_comes_last() {
        let mut orders = [Order::LAST, Order::at(1000.0), Order::FIRST, Order::at(-3.5), Order::at(1e9)];
        orders.sort();
        let shown: Vec<String> = orders.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["first", "-3.5", "1000", "1000000000", "last"]);
    }
}
