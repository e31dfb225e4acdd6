//! What flannel writes into a Node's annotations about its VTEP.
//!
//! An unusable annotation is a warning that names it, never an error: the node then has no VTEP in that family,
//! and everything else goes on.

use super::reader::Reader;
use super::tree::{Entry, Node as Tree};
use super::words::quoted;
use serde_json::Value;
use std::net::{Ipv4Addr, Ipv6Addr};

const PREFIX: &str = "flannel.alpha.coreos.com/";
const DATA_EXPECTED: &str = r#"JSON like {"VNI":1,"VtepMAC":"02:00:00:00:00:01"}"#;

/// What flannel's annotations say about a node's VTEP. A part that is missing or unusable is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Flannel {
    /// `VtepMAC` of `backend-data`: the MAC of the device on the IPv4 underlay.
    pub vtep_mac: Option<[u8; 6]>,
    /// `VNI` of `backend-data`.
    pub vni: Option<u32>,
    /// `VtepMAC` of `backend-v6-data`: the MAC of the device on the IPv6 underlay.
    pub vtep_mac_v6: Option<[u8; 6]>,
    /// `VNI` of `backend-v6-data`.
    pub vni_v6: Option<u32>,
    /// `public-ip-overwrite`, else `public-ip`.
    pub public_ip: Option<Ipv4Addr>,
    /// `public-ipv6-overwrite`, else `public-ipv6`.
    pub public_ipv6: Option<Ipv6Addr>,
}

impl Flannel {
    /// Whether flannel has said anything about the node.
    pub fn is_there(&self) -> bool {
        *self != Self::default()
    }
}

/// MAC and VNI of one family.
type BackendData = (Option<[u8; 6]>, Option<u32>);

/// Reads the annotations.
pub(crate) fn read_flannel<'t>(reader: &mut Reader<'t>, annotations: &'t [Entry]) -> Flannel {
    reader.within("metadata", |reader| {
        reader.within("annotations", |reader| read_annotations(reader, annotations))
    })
}

fn read_annotations<'t>(reader: &mut Reader<'t>, annotations: &'t [Entry]) -> Flannel {
    let backend = annotation(annotations, "backend-type");
    if let Some((entry, kind)) = backend
        && kind != "vxlan"
    {
        reader.within(&entry.key, |reader| {
            let message = format!("the backend is {}, so the node has no VTEP", quoted(kind));
            reader.warning(entry.value.mark, message, "vxlan");
        });
        return Flannel::default();
    }
    let (vtep_mac, vni) = backend_data(reader, annotations, "backend-data");
    let (vtep_mac_v6, vni_v6) = backend_data(reader, annotations, "backend-v6-data");
    Flannel {
        vtep_mac,
        vni,
        vtep_mac_v6,
        vni_v6,
        public_ip: address(reader, annotations, ["public-ip-overwrite", "public-ip"], "192.0.2.1"),
        public_ipv6: address(reader, annotations, ["public-ipv6-overwrite", "public-ipv6"], "2001:db8::1"),
    }
}

fn annotation<'t>(annotations: &'t [Entry], name: &str) -> Option<(&'t Entry, &'t str)> {
    let entry = annotations.iter().find(|entry| entry.key.strip_prefix(PREFIX) == Some(name))?;
    entry.value.text().filter(|text| !text.is_empty()).map(|text| (entry, text))
}

fn unusable<'t>(reader: &mut Reader<'t>, entry: &'t Entry, message: String, expected: &str) {
    let at: &Tree = &entry.value;
    reader.within(&entry.key, |reader| reader.warning(at.mark, message, expected));
}

/// The first of the names that is there decides, usable or not.
fn address<'t, A: std::str::FromStr>(
    reader: &mut Reader<'t>,
    annotations: &'t [Entry],
    names: [&str; 2],
    like: &str,
) -> Option<A> {
    let (entry, text) = names.into_iter().find_map(|name| annotation(annotations, name))?;
    let parsed = text.parse().ok();
    if parsed.is_none() {
        let message =
            format!("{} is not an address of this family, so the node has no VTEP in it", quoted(text));
        unusable(reader, entry, message, &format!("an address like {like}"));
    }
    parsed
}

fn backend_data<'t>(reader: &mut Reader<'t>, annotations: &'t [Entry], name: &str) -> BackendData {
    let Some((entry, text)) = annotation(annotations, name) else { return (None, None) };
    let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(text) else {
        // flannel writes "null" for the family it does not serve.
        if text != "null" {
            unusable(reader, entry, format!("{} is not backend data", quoted(text)), DATA_EXPECTED);
        }
        return (None, None);
    };
    // Go matches JSON keys without regard to case.
    let field =
        |name: &str| fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    let mac = match field("VtepMAC").map(|value| value.as_str().and_then(parse_mac)) {
        Some(Some(mac)) => mac,
        Some(None) => {
            unusable(reader, entry, "VtepMAC is not a unicast MAC address".into(), DATA_EXPECTED);
            return (None, None);
        }
        None => {
            unusable(reader, entry, "there is no VtepMAC".into(), DATA_EXPECTED);
            return (None, None);
        }
    };
    let vni = match field("VNI").map(|value| value.as_u64().and_then(|vni| u32::try_from(vni).ok())) {
        Some(Some(vni)) if vni < 1 << 24 => Some(vni),
        // Old releases of flannel do not write it.
        None => None,
        Some(_) => {
            unusable(reader, entry, "VNI is not a number below 2^24".into(), DATA_EXPECTED);
            return (None, None);
        }
    };
    (Some(mac), vni)
}

/// A unicast MAC address other than zero, in the colon form.
fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        let part =
            parts.next().filter(|part| part.len() == 2 && part.chars().all(|c| c.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    (parts.next().is_none() && mac[0] & 1 == 0 && mac != [0; 6]).then_some(mac)
}

#[cfg(test)]
mod tests {
    use super::parse_mac;

    #[test]
    fn only_unicast_macs_are_taken() {
        assert_eq!(parse_mac("02:aB:00:00:00:01"), Some([2, 0xab, 0, 0, 0, 1]));
        for bad in [
            "",
            "01:00:00:00:00:01",
            "00:00:00:00:00:00",
            "02:00:00:00:00",
            "02:00:00:00:00:01:02",
            "+2:00:00:00:00:01",
        ] {
            assert_eq!(parse_mac(bad), None, "{bad}");
        }
    }
}
