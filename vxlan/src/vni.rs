//! The VXLAN network identifier: 24 bits (RFC 7348 section 5), checked where it enters.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A VXLAN network identifier. There is no way to make one above 24 bits.
///
/// ```
/// use vxlan::Vni;
///
/// assert_eq!(Vni::new(1), Ok(Vni::FLANNEL));
/// assert!(Vni::new(1 << 24).is_err());
/// ```
#[derive(Debug, Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Vni(u32);

/// A number above 24 bits.
#[derive(Debug, Copy, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a VXLAN network identifier is at most 16777215, found {0}")]
pub struct VniError(pub u32);

impl Vni {
    /// Flannel's default.
    pub const FLANNEL: Self = Self(1);

    /// The highest.
    pub const MAX: Self = Self(0x00ff_ffff);

    /// The identifier `value`.
    ///
    /// # Errors
    /// It needs more than 24 bits.
    pub const fn new(value: u32) -> Result<Self, VniError> {
        if value <= Self::MAX.0 { Ok(Self(value)) } else { Err(VniError(value)) }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The three bytes of the VXLAN header.
    pub const fn to_bytes(self) -> [u8; 3] {
        let [_, high, middle, low] = self.0.to_be_bytes();
        [high, middle, low]
    }

    /// The identifier in three bytes of a VXLAN header; any three bytes are one.
    pub const fn from_bytes([high, middle, low]: [u8; 3]) -> Self {
        Self(u32::from_be_bytes([0, high, middle, low]))
    }
}

impl TryFrom<u32> for Vni {
    type Error = VniError;

    fn try_from(value: u32) -> Result<Self, VniError> {
        Self::new(value)
    }
}

impl From<Vni> for u32 {
    fn from(vni: Vni) -> Self {
        vni.0
    }
}

impl fmt::Display for Vni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vni_above_24_bits_is_rejected() {
        assert_eq!(Vni::new(0x00ff_ffff), Ok(Vni::MAX));
        assert_eq!(Vni::new(0x0100_0000), Err(VniError(0x0100_0000)));
        assert_eq!(Vni::new(u32::MAX), Err(VniError(u32::MAX)));
    }

    #[test]
    fn configuration_spells_it_as_a_number_and_cannot_exceed_24_bits() {
        use serde::de::value::Error;
        let read = |number| Vni::deserialize(serde::de::IntoDeserializer::<Error>::into_deserializer(number));
        assert_eq!(read(1_u32), Ok(Vni::FLANNEL));
        assert!(read(1 << 24).unwrap_err().to_string().contains("at most 16777215"));
    }

    #[test]
    fn bytes_are_the_low_three_in_network_order() {
        let Ok(vni) = Vni::new(0x0001_0203) else { panic!("24 bits are enough") };
        assert_eq!(vni.to_bytes(), [1, 2, 3]);
        assert_eq!(Vni::from_bytes([1, 2, 3]), vni);
    }
}
