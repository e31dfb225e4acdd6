//! Ethernet addresses (IEEE 802, EUI-48): written `0a:58:0a:2a:00:05`, in configuration and JSON too.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An Ethernet address.
///
/// ```
/// use vxlan::Mac;
///
/// let mac: Mac = "0a:58:0A:2A:00:05".parse()?;
/// assert!(mac.is_unicast());
/// assert_eq!(mac.to_string(), "0a:58:0a:2a:00:05");
/// assert!("0a:58:0a:2a:00".parse::<Mac>().is_err());
/// # Ok::<(), vxlan::MacError>(())
/// ```
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// `ff:ff:ff:ff:ff:ff`, every station.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// `00:00:00:00:00:00`, the address of nobody.
    pub const ZERO: Self = Self([0; 6]);

    /// The address's bytes, as they stand on the wire.
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }

    /// Is the group bit set? Broadcast is a group too.
    pub const fn is_multicast(self) -> bool {
        let [first, ..] = self.0;
        first & 1 == 1
    }

    /// Is it [`Mac::BROADCAST`]?
    pub fn is_broadcast(self) -> bool {
        self == Self::BROADCAST
    }

    /// Is it one station's address? ([`Mac::ZERO`] has the form of one.)
    pub const fn is_unicast(self) -> bool {
        !self.is_multicast()
    }
}

/// Text that is no Ethernet address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an Ethernet address of six hexadecimal pairs such as 0a:58:0a:2a:00:05, found {0:?}")]
pub struct MacError(String);

impl FromStr for Mac {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, MacError> {
        parse(text).ok_or_else(|| MacError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Mac> {
    let mut octets = [0; 6];
    let mut pairs = text.split(':');
    for octet in &mut octets {
        let pair = pairs.next()?;
        // from_str_radix alone would take "+5" and "5".
        if pair.len() != 2 || !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        *octet = u8::from_str_radix(pair, 16).ok()?;
    }
    pairs.next().is_none().then_some(Mac(octets))
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, rest @ ..] = self.0;
        write!(f, "{first:02x}")?;
        rest.iter().try_for_each(|octet| write!(f, ":{octet:02x}"))
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Mac;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an Ethernet address such as 0a:58:0a:2a:00:05")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Mac, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn broadcast_is_a_group_and_no_station() {
        assert!(Mac::BROADCAST.is_broadcast() && Mac::BROADCAST.is_multicast());
        assert!(!Mac::BROADCAST.is_unicast());
        assert!(Mac([0x33, 0x33, 0, 0, 0, 1]).is_multicast());
        assert!(!Mac([0x33, 0x33, 0, 0, 0, 1]).is_broadcast());
        assert!(Mac([2, 0, 0, 0, 0, 1]).is_unicast());
    }

    #[test]
    fn configuration_spells_it_as_text() {
        use serde::de::value::{Error, StrDeserializer};
        let read = |text| Mac::deserialize(StrDeserializer::<Error>::new(text));
        assert_eq!(read("0a:58:0a:2a:00:05"), Ok(Mac([0x0a, 0x58, 0x0a, 0x2a, 0, 5])));
        assert!(read("0a:58").unwrap_err().to_string().contains("six hexadecimal pairs"));
    }

    #[test]
    fn text_that_is_no_mac_is_rejected_and_shown() {
        for text in [
            "",
            "0a:58",
            "0a:58:0a:2a:00:05:06",
            "0a:58:0a:2a:00:5",
            "0a:58:0a:2a:00:+5",
            "0a-58-0a-2a-00-05",
        ] {
            let error = text.parse::<Mac>().unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
    }

    proptest! {
        #[test]
        fn text_form_round_trips(octets: [u8; 6]) {
            prop_assert_eq!(Mac(octets).to_string().parse::<Mac>(), Ok(Mac(octets)));
        }

        #[test]
        fn any_text_is_parsed_or_rejected_without_a_panic(text: String) {
            let _ = text.parse::<Mac>();
        }
    }
}
