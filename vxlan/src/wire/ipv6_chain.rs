//! The walk over IPv6 extension headers (RFC 8200 section 4) to the protocol that policy is about.
//!
//! Bounded: at most [`MAX_HEADERS`] headers and [`MAX_BYTES`] bytes (RFC 9098 says why long chains are an
//! attack). Refused as `Ipv6ExtensionChain`:
//!
//! - a hop-by-hop header anywhere but first (RFC 8200 section 4.1), a jumbo payload option (RFC 2675);
//! - options that do not fill their header exactly;
//! - routing type 0 (RFC 5095), and any source route that has segments left: its destination is not where
//!   the packet goes, so policy would judge the wrong one (IPv4's source routes fare the same);
//! - a second fragment header, a header that does not lie within the packet.
//!
//! An atomic fragment is walked like a whole packet (RFC 6946); a first fragment must hold the whole chain
//! (RFC 7112), else `FragmentTiny`; in a later one the walk ends at the fragment header.

use super::error::ParseError;
use super::fragment::Fragment;

/// Most extension headers in a chain.
pub(super) const MAX_HEADERS: usize = 8;

/// Most bytes of extension headers.
pub(super) const MAX_BYTES: usize = 256;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

const FRAGMENT_BYTES: usize = 8;

const OPTION_PAD1: u8 = 0;
const OPTION_JUMBO: u8 = 0xc2;

/// Where a chain ends.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub(super) struct Chain {
    /// The header after it.
    pub(super) protocol: u8,
    /// Where that begins, from the end of the IPv6 header.
    pub(super) offset: u16,
    /// What the fragment header said, unless it was atomic.
    pub(super) fragment: Option<Fragment>,
}

/// Where the chain ends that begins with `first` at the start of `payload`. Most have no link.
#[inline]
pub(super) fn end(first: u8, payload: &[u8]) -> Result<Chain, ParseError> {
    match first {
        HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS => walk(first, payload),
        protocol => Ok(Chain { protocol, offset: 0, fragment: None }),
    }
}

#[inline(never)]
fn walk(first: u8, payload: &[u8]) -> Result<Chain, ParseError> {
    let mut protocol = first;
    let mut rest = payload;
    let mut walked = 0_usize;
    let mut fragment = None;
    let mut fragment_seen = false;

    for position in 0..=MAX_HEADERS {
        let (next, size) = match protocol {
            HOP_BY_HOP if position != 0 => return Err(ParseError::Ipv6ExtensionChain),
            HOP_BY_HOP | DESTINATION_OPTIONS | ROUTING | AUTHENTICATION => {
                let cut = || match fragment {
                    Some(_) => ParseError::FragmentTiny,
                    None => ParseError::Ipv6ExtensionChain,
                };
                let (next, header) = split(protocol, rest).ok_or_else(cut)?;
                if !is_acceptable(protocol, header) {
                    return Err(ParseError::Ipv6ExtensionChain);
                }
                (next, header.len())
            }
            FRAGMENT if fragment_seen => return Err(ParseError::Ipv6ExtensionChain),
            FRAGMENT => {
                fragment_seen = true;
                let (next, found) = fragment_header(rest, walked)?;
                fragment = found;
                (next, FRAGMENT_BYTES)
            }
            _ => return Ok(Chain { protocol, offset: walked as u16, fragment }),
        };
        walked = walked.saturating_add(size);
        if walked > MAX_BYTES {
            return Err(ParseError::Ipv6ExtensionChain);
        }
        protocol = next;
        rest = rest.get(size..).unwrap_or_default();
        if fragment.is_some_and(|fragment| !fragment.is_first()) {
            return Ok(Chain { protocol, offset: walked as u16, fragment });
        }
    }
    Err(ParseError::Ipv6ExtensionChain)
}

/// The next header and the bytes of the extension header that `rest` begins with, where they are all there.
fn split(protocol: u8, rest: &[u8]) -> Option<(u8, &[u8])> {
    let &[next, length] = rest.first_chunk()?;
    // The authentication header counts words of four bytes, less two (RFC 4302 section 2.2), the others words
    // of eight, less one. Both ways the first eight bytes are not counted.
    let unit = if protocol == AUTHENTICATION { 4 } else { 8 };
    let size = usize::from(length).checked_mul(unit)?.checked_add(8)?;
    Some((next, rest.get(..size)?))
}

fn is_acceptable(protocol: u8, header: &[u8]) -> bool {
    match protocol {
        // Its fixed part alone is three words.
        AUTHENTICATION => header.len() >= 12,
        ROUTING => matches!(header, [_, _, kind, 0, ..] if *kind != 0),
        _ => options_are_whole(header.get(2..).unwrap_or_default()),
    }
}

fn options_are_whole(mut options: &[u8]) -> bool {
    while let Some((&kind, after)) = options.split_first() {
        let rest = match (kind, after.split_first()) {
            (OPTION_PAD1, _) => Some(after),
            (OPTION_JUMBO, _) | (_, None) => None,
            (_, Some((&length, value))) => value.get(usize::from(length)..),
        };
        let Some(rest) = rest else { return false };
        options = rest;
    }
    true
}

fn fragment_header(rest: &[u8], walked: usize) -> Result<(u8, Option<Fragment>), ParseError> {
    let Some((&[next, _, high, low, i0, i1, i2, i3], data)) = rest.split_first_chunk() else {
        return Err(ParseError::Ipv6ExtensionChain);
    };
    let word = u16::from_be_bytes([high, low]);
    let (offset, more) = (word & 0xfff8, word & 1 == 1);
    if offset == 0 && !more {
        return Ok((next, None));
    }
    let id = u32::from_be_bytes([i0, i1, i2, i3]);
    Fragment::checked(id, offset, more, data.len(), walked).map(|fragment| (next, Some(fragment)))
}
