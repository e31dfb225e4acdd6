//! Syntax of names, labels and CIDRs, as the API server validates them.

use ipnet::{IpNet, Ipv4Net};
use std::net::{IpAddr, Ipv4Addr};

/// What to say was expected where [`is_label_key`] refused a text.
pub(crate) const LABEL_KEY_EXPECTED: &str =
    "letters, digits, '-', '_' and '.', up to 63, after an optional DNS prefix and '/', like example.com/app";
/// What to say was expected where [`is_label_value`] refused a text.
pub(crate) const LABEL_VALUE_EXPECTED: &str = "letters, digits, '-', '_' and '.', up to 63, or nothing";

/// RFC 1123 label, as namespaces are named.
pub(crate) fn is_dns_label(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    text.len() <= 63
        && !text.is_empty()
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// RFC 1123 subdomain, as most objects are named.
pub(crate) fn is_dns_subdomain(text: &str) -> bool {
    // Up to 253 in all; unlike labels, the parts between dots have no length limit of their own.
    let part = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(part)
}

/// Label value: empty or a name of at most 63 characters.
pub(crate) fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_qualified_part(text)
}

/// Label key: a name, after an optional DNS prefix and a slash.
pub(crate) fn is_label_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_dns_subdomain(prefix) && is_qualified_part(name),
        None => is_qualified_part(text),
    }
}

fn is_qualified_part(text: &str) -> bool {
    let bytes = text.as_bytes();
    let edge = |c: Option<&u8>| c.is_some_and(u8::is_ascii_alphanumeric);
    text.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
}

/// IANA service name, as ports are named.
pub(crate) fn is_port_name(text: &str) -> bool {
    text.len() <= 15
        && is_dns_label(text)
        && !text.contains("--")
        && text.bytes().any(|c| c.is_ascii_lowercase())
}

/// CIDR as the API server takes it: host bits are cut off, leading zeros of IPv4 octets are decimal. But for IPv4 in the
/// guise of IPv6, see [`parse_address`].
pub(crate) fn parse_cidr(text: &str) -> Option<IpNet> {
    let (address, length) = text.split_once('/')?;
    // Signs and leading zeros are not what anyone means by a prefix length.
    if length.is_empty() || !length.bytes().all(|c| c.is_ascii_digit()) || length.len() > 3 {
        return None;
    }
    if address.contains(':') {
        return Some(IpNet::new(parse_address(address)?, length.parse().ok()?).ok()?.trunc());
    }
    let mut octets = [0_u8; 4];
    let mut parts = address.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        if part.is_empty() || !part.bytes().all(|c| c.is_ascii_digit()) {
            return None;
        }
        *octet = part.parse().ok()?;
    }
    if parts.next().is_some() {
        return None;
    }
    let net = Ipv4Net::new(Ipv4Addr::from(octets), length.parse().ok()?).ok()?;
    Some(IpNet::V4(net.trunc()))
}

/// An address. IPv4 in the guise of IPv6 (RFC 4291, 2.5.5.2) is none: it is IPv4 to every program in Go, and no packet has it.
pub(crate) fn parse_address(text: &str) -> Option<IpAddr> {
    text.parse().ok().filter(|address| !is_ipv4_mapped(address))
}

fn is_ipv4_mapped(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some())
}

/// What to say was expected where [`parse_cidr`] refused a text.
pub(crate) fn cidr_expected(text: &str) -> &'static str {
    let address = text.split_once('/').map_or(text, |(address, _)| address);
    if address.parse().is_ok_and(|address| is_ipv4_mapped(&address)) {
        "IPv4 written as such, like 10.0.0.0/8"
    } else if text.contains(':') {
        "an address and a prefix length up to 128, like 2001:db8::/32"
    } else {
        "an address and a prefix length up to 32, like 10.0.0.0/8"
    }
}

#[cfg(test)]
mod tests {
    use super::{is_dns_label, is_label_key, is_label_value, is_port_name, parse_cidr};

    #[test]
    fn cidrs_are_read_as_the_api_server_does() {
        let read = |text| parse_cidr(text).map(|net| net.to_string());
        assert_eq!(read("10.1.2.3/24").as_deref(), Some("10.1.2.0/24"));
        assert_eq!(read("010.0.0.0/8").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(read("2001:db8::1/64").as_deref(), Some("2001:db8::/64"));
        assert_eq!(read("0.0.0.0/0").as_deref(), Some("0.0.0.0/0"));
        for bad in [
            "10.0.0.0/33",
            "10.0.0.0",
            "10.0.0/8",
            "10.0.0.0.0/8",
            "::/129",
            "256.0.0.0/8",
            "1.2.3.4/+8",
            "::ffff:10.0.0.0/104",
            "::ffff:0:0/96",
            "/",
            "a/8",
            "",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn names_follow_their_grammar() {
        assert!(
            is_dns_label("kube-system") && !is_dns_label("Kube") && !is_dns_label("-a") && !is_dns_label("")
        );
        assert!(is_label_key("app.kubernetes.io/name") && is_label_key("a_b") && !is_label_key("a/b/c"));
        assert!(!is_label_key("/name") && !is_label_key("") && !is_label_key("-a"));
        assert!(
            is_label_value("") && is_label_value("v1.2") && !is_label_value("a b") && !is_label_value("a-")
        );
        assert!(is_port_name("http-alt") && !is_port_name("8080") && !is_port_name("a--b"));
        assert!(!is_port_name("sixteen-letters-") && !is_port_name("HTTP"));
    }
}
