//! What a capture says of the interfaces it was taken at.

/// Most interfaces of a capture.
pub const MAX_INTERFACES: usize = 65_536;

/// Longest name that is kept, in bytes.
pub const MAX_NAME: usize = 256;

/// How the frames of an interface begin (the registry of `draft-ietf-opsawg-pcaplinktype`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkType {
    /// An Ethernet header.
    Ethernet,
    /// An IP header, version by its first four bits (`RAW`, `IPV4`, `IPV6`).
    RawIp,
    /// What `tcpdump -i any` wrote for long (`LINUX_SLL`, 16 bytes).
    LinuxCooked,
    /// What it writes now (`LINUX_SLL2`, 20 bytes).
    LinuxCooked2,
    /// Anything else, by number.
    Other(u16),
}

impl From<u16> for LinkType {
    fn from(number: u16) -> Self {
        match number {
            1 => Self::Ethernet,
            // 12 and 14 are what BSDs call RAW.
            12 | 14 | 101 | 228 | 229 => Self::RawIp,
            113 => Self::LinuxCooked,
            276 => Self::LinuxCooked2,
            other => Self::Other(other),
        }
    }
}

impl LinkType {
    /// Its number.
    pub const fn number(self) -> u16 {
        match self {
            Self::Ethernet => 1,
            Self::RawIp => 101,
            Self::LinuxCooked => 113,
            Self::LinuxCooked2 => 276,
            Self::Other(number) => number,
        }
    }
}

/// An interface of a capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// How its frames begin.
    pub link: LinkType,
    /// Its name, where the capture gives one (`if_name`), at most [`MAX_NAME`] bytes of it.
    pub name: Option<String>,
    /// Most bytes kept of a frame; 0 is no limit.
    pub snap_len: u32,
    /// How its stamps count.
    pub(super) resolution: Resolution,
}

/// Stamps: ticks of a fraction of a second, from an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Resolution {
    /// Ticks per second, not 0.
    pub(super) per_second: u64,
    /// Seconds to add (`if_tsoffset`).
    pub(super) offset_s: i64,
}

impl Resolution {
    pub(super) const MICRO: Self = Self { per_second: 1_000_000, offset_s: 0 };
    pub(super) const NANO: Self = Self { per_second: 1_000_000_000, offset_s: 0 };

    /// By `if_tsresol`: a negative power of ten, or with the high bit of two. `None` where a tick is too short for
    /// 64 bits to count a second of them.
    pub(super) fn from_option(byte: u8) -> Option<Self> {
        let exponent = u32::from(byte & 0x7f);
        let base: u64 = if byte & 0x80 == 0 { 10 } else { 2 };
        Some(Self { per_second: base.checked_pow(exponent)?, offset_s: 0 })
    }

    /// Nanoseconds since 1970; what lies before or after what 64 bits hold becomes their end.
    pub(super) fn nanos(self, ticks: u64) -> u64 {
        let ns = u128::from(ticks) * 1_000_000_000 / u128::from(self.per_second.max(1));
        let ns = i128::try_from(ns).unwrap_or(i128::MAX);
        let offset = i128::from(self.offset_s) * 1_000_000_000;
        let ns = ns.saturating_add(offset).max(0);
        u64::try_from(ns).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_of_every_resolution_become_nanoseconds() {
        assert_eq!(Resolution::MICRO.nanos(1_500_000), 1_500_000_000);
        assert_eq!(Resolution::NANO.nanos(7), 7);
        let binary = Resolution::from_option(0x80 | 0x0a).unwrap();
        assert_eq!(binary.nanos(1024 + 512), 1_500_000_000);
        let pico = Resolution::from_option(12).unwrap();
        assert_eq!(pico.nanos(2_500), 2);
        assert_eq!(Resolution::from_option(0).unwrap().nanos(3), 3_000_000_000);
        assert_eq!(Resolution::from_option(0x7f), None);
        assert_eq!(Resolution::from_option(0xff), None);
    }

    #[test]
    fn stamps_out_of_range_stop_at_the_ends() {
        let shifted = Resolution { per_second: 1, offset_s: i64::MIN };
        assert_eq!(shifted.nanos(5), 0);
        let shifted = Resolution { per_second: 1, offset_s: i64::MAX };
        assert_eq!(shifted.nanos(u64::MAX), u64::MAX);
    }
}
