//! Rule sets and traces as text, in the format of ClassBench (D. Taylor and J. Turner, INFOCOM 2005).
//!
//! A rule is a line; the first that matches wins, and its index is counted over rules, from 0:
//!
//! ```text
//! @SRC/LEN  DST/LEN  LOW : HIGH  LOW : HIGH  PROTOCOL/MASK  …
//! @10.0.0.0/8  192.0.2.0/24  0 : 65535  80 : 80  0x06/0xFF  0x0000/0x0000
//! ```
//! Fields are parted by blanks; ports are source, then destination; numbers are decimal, or hexadecimal behind `0x`.
//! IPv6 prefixes may stand where IPv4 ones do. Columns behind the protocol (ClassBench's flags) are ignored, as are
//! host bits of prefixes, bits of the protocol outside its mask, empty lines, and lines that begin with `#`.
//!
//! A packet of a trace is a line as well: source, destination, source port, destination port, protocol. Addresses are
//! decimal numbers (IPv4, as ClassBench writes them) or in the usual notation; further columns are ignored.
//!
//! What cannot be read is never skipped: all problems of a text are reported (the first [`MAX_PROBLEMS`] of them),
//! and then there are no rules at all. Cost: one pass; 68 bytes a rule, 40 a tuple.

use super::{Ports, ProtocolMask, Rule, RuleSet, Tuple};
use crate::api::Origin;
use ipnet::IpNet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// Problems reported at most.
pub const MAX_PROBLEMS: usize = 20;

/// What is wrong with a line: `file:line:column: field: message`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where the field stands.
    pub origin: Origin,
    /// Which field.
    pub field: &'static str,
    /// What was found, what was expected, how to mend it.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.origin, self.field, self.message)
    }
}

impl std::error::Error for Problem {}

/// Reads a rule set; `name` is what problems call the text.
///
/// ```
/// use policy_compiler::ruleset::text;
/// let rules = text::rules("example", "@10.0.0.0/8\t0.0.0.0/0\t0 : 65535\t80 : 80\t0x06/0xFF\t0x0000/0x0000")?;
/// assert_eq!(rules.len(), 1);
/// let problems = text::rules("example", "@10.0.0.0/8 0.0.0.0/0 0 : 65535 90 : 80 0x06/0xFF").unwrap_err();
/// assert!(problems[0].to_string().starts_with("example:1:33: destination ports: "));
/// # Ok::<(), Vec<text::Problem>>(())
/// ```
pub fn rules(name: &str, text: &str) -> Result<RuleSet, Vec<Problem>> {
    lines(name, text, rule)
}

/// Reads a trace; `name` is what problems call the text.
///
/// ```
/// use policy_compiler::ruleset::text;
/// let packets = text::trace("example", "167772161 3221225985 4711 80 6 1330\nfd00::1 fd00::2 4711 80 6")?;
/// assert_eq!(packets[0].src.to_string(), "10.0.0.1");
/// # Ok::<(), Vec<text::Problem>>(())
/// ```
pub fn trace(name: &str, text: &str) -> Result<Vec<Tuple>, Vec<Problem>> {
    lines(name, text, tuple)
}

/// A rule as [`rules`] reads it.
pub fn write_rule(rule: &Rule) -> String {
    let (src, dst, protocol) = (rule.src_ports(), rule.dst_ports(), rule.protocol());
    format!(
        "@{}\t{}\t{} : {}\t{} : {}\t0x{:02x}/0x{:02x}",
        rule.src(),
        rule.dst(),
        src.first(),
        src.last(),
        dst.first(),
        dst.last(),
        protocol.value(),
        protocol.mask(),
    )
}

/// A packet as [`trace`] reads it.
pub fn write_tuple(tuple: &Tuple) -> String {
    let address = |address: IpAddr| match address {
        IpAddr::V4(address) => address.to_bits().to_string(),
        IpAddr::V6(address) => address.to_string(),
    };
    let Tuple { src, dst, src_port, dst_port, protocol } = *tuple;
    format!("{}\t{}\t{src_port}\t{dst_port}\t{protocol}", address(src), address(dst))
}

fn lines<T>(
    name: &str,
    text: &str,
    read: fn(&mut Line<'_>) -> Result<T, Fault>,
) -> Result<Vec<T>, Vec<Problem>> {
    let file: Arc<str> = Arc::from(name);
    let (mut items, mut problems) = (Vec::new(), Vec::new());
    for (number, text) in (1..).zip(text.lines()) {
        let mut line = Line { text, at: 0 };
        line.blanks();
        if line.is_over() || line.rest().starts_with('#') {
            continue;
        }
        match read(&mut line) {
            Ok(item) => items.push(item),
            Err(Fault { at, field, message }) => {
                let before = text.get(..at).unwrap_or(text).chars().count();
                let column = u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1);
                let origin = Origin { file: Arc::clone(&file), line: number, column };
                problems.push(Problem { origin, field, message });
                if problems.len() == MAX_PROBLEMS {
                    break;
                }
            }
        }
    }
    if problems.is_empty() { Ok(items) } else { Err(problems) }
}

/// A problem within its line: `at` counts bytes.
struct Fault {
    at: usize,
    field: &'static str,
    message: String,
}

/// A line and how far it has been read. `at` is always at a character's start.
struct Line<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Line<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn is_over(&self) -> bool {
        self.rest().is_empty()
    }

    fn blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    /// The next characters up to one that `ends` says does not belong to them, blanks before it skipped.
    fn word(&mut self, ends: impl Fn(char) -> bool) -> (usize, &'a str) {
        self.blanks();
        let (start, rest) = (self.at, self.rest());
        let end = rest.find(|c: char| c.is_whitespace() || ends(c)).unwrap_or(rest.len());
        self.at += end;
        (start, rest.get(..end).unwrap_or(""))
    }

    fn take(&mut self, expected: char, field: &'static str, form: &str) -> Result<(), Fault> {
        self.blanks();
        let Some(rest) = self.rest().strip_prefix(expected) else {
            return Err(self.fault(field, format!("expected `{expected}`: {form}")));
        };
        self.at = self.text.len() - rest.len();
        Ok(())
    }

    fn fault(&self, field: &'static str, message: String) -> Fault {
        Fault { at: self.at, field, message }
    }
}

/// What was found, in quotes, or that the line has ended; long words are cut.
fn found(word: &str) -> String {
    if word.is_empty() {
        return "nothing is here".to_owned();
    }
    let short: String = word.chars().take(40).flat_map(char::escape_default).collect();
    format!("`{short}` is not one")
}

fn rule(line: &mut Line<'_>) -> Result<Rule, Fault> {
    let start = line.at;
    line.take('@', "source prefix", "a rule begins with `@`, as in `@10.0.0.0/8`")?;
    let src = prefix(line, "source prefix")?;
    let dst = prefix(line, "destination prefix")?;
    let src_ports = ports(line, "source ports")?;
    let dst_ports = ports(line, "destination ports")?;
    let protocol = protocol_mask(line)?;
    Rule::new(src, dst, src_ports, dst_ports, protocol).map_err(|problem| Fault {
        at: start,
        field: "prefixes",
        message: problem.to_string(),
    })
}

fn prefix(line: &mut Line<'_>, field: &'static str) -> Result<IpNet, Fault> {
    let (at, word) = line.word(|_| false);
    word.parse().map_err(|_| {
        let message = format!("expected a prefix like `192.0.2.0/24` or `2001:db8::/32`; {}", found(word));
        Fault { at, field, message }
    })
}

fn ports(line: &mut Line<'_>, field: &'static str) -> Result<Ports, Fault> {
    const FORM: &str = "a range of ports is written `80 : 90`";
    let at = {
        line.blanks();
        line.at
    };
    let first = number(line, field, u16::MAX.into())?;
    line.take(':', field, FORM)?;
    let last = number(line, field, u16::MAX.into())?;
    // Both fit: `number` was told the limit.
    Ports::new(first as u16, last as u16).ok_or_else(|| Fault {
        at,
        field,
        message: format!("{first} : {last} is reversed; {FORM}, the lower one first"),
    })
}

fn protocol_mask(line: &mut Line<'_>) -> Result<ProtocolMask, Fault> {
    const FIELD: &str = "protocol";
    let value = number(line, FIELD, u8::MAX.into())?;
    line.take('/', FIELD, "a protocol is written `0x06/0xFF`, and any protocol `0x00/0x00`")?;
    let mask = number(line, FIELD, u8::MAX.into())?;
    Ok(ProtocolMask::new(value as u8, mask as u8))
}

/// A number up to `limit`, decimal or hexadecimal.
fn number(line: &mut Line<'_>, field: &'static str, limit: u32) -> Result<u32, Fault> {
    let (at, word) = line.word(|c| matches!(c, ':' | '/'));
    let digits = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"));
    let number = match digits {
        Some(digits) if !digits.starts_with('+') => u32::from_str_radix(digits, 16).ok(),
        None if !word.starts_with('+') => word.parse().ok(),
        _ => None,
    };
    number.filter(|&number| number <= limit).ok_or_else(|| {
        let message = format!("expected a number from 0 to {limit}; {}", found(word));
        Fault { at, field, message }
    })
}

fn tuple(line: &mut Line<'_>) -> Result<Tuple, Fault> {
    let start = line.at;
    let src = address(line, "source address")?;
    let dst = address(line, "destination address")?;
    let src_port = number(line, "source port", u16::MAX.into())? as u16;
    let dst_port = number(line, "destination port", u16::MAX.into())? as u16;
    let protocol = number(line, "protocol", u8::MAX.into())? as u8;
    if src.is_ipv4() != dst.is_ipv4() {
        let message = format!("source {src} and destination {dst} are of different families");
        return Err(Fault { at: start, field: "addresses", message });
    }
    Ok(Tuple { src, dst, src_port, dst_port, protocol })
}

fn address(line: &mut Line<'_>, field: &'static str) -> Result<IpAddr, Fault> {
    let (at, word) = line.word(|_| false);
    let decimal = || word.parse().ok().filter(|_| !word.starts_with('+')).map(Ipv4Addr::from_bits);
    decimal().map(IpAddr::V4).or_else(|| word.parse().ok()).ok_or_else(|| {
        let message = format!(
            "expected an address like `3221225985` (decimal, IPv4), `192.0.2.1` or `2001:db8::1`; {}",
            found(word)
        );
        Fault { at, field, message }
    })
}

#[cfg(test)]
mod tests {
    use super::{MAX_PROBLEMS, rules, trace, write_rule, write_tuple};

    fn problem(text: &str) -> String {
        rules("set", text).unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn classbench_lines_are_read_as_classbench_writes_them() {
        let text = "@186.11.101.36/32\t20.69.109.43/32\t0 : 65535\t1521 : 1521\t0x06/0xFF\t0x1000/0x1000\t\r\n\
                    # a comment\n\n@0.0.0.0/0 10.0.0.0/8 53:53 0 :7 17/255";
        let rules = rules("set", text).unwrap();
        let written: Vec<_> = rules.iter().map(write_rule).collect();
        assert_eq!(
            written,
            [
                "@186.11.101.36/32\t20.69.109.43/32\t0 : 65535\t1521 : 1521\t0x06/0xff",
                "@0.0.0.0/0\t10.0.0.0/8\t53 : 53\t0 : 7\t0x11/0xff",
            ]
        );
        assert_eq!(super::rules("again", &written.join("\n")).unwrap(), rules);
    }

    #[test]
    fn ipv6_prefixes_stand_where_ipv4_ones_do() {
        let rules = rules("set", "@2001:db8::/32 ::/0 0 : 65535 443 : 443 0x06/0xFF").unwrap();
        assert_eq!(rules[0].src().to_string(), "2001:db8::/32");
    }

    #[test]
    fn problems_say_where_what_and_how() {
        let rest = "0 : 65535 80 : 80 0x06/0xFF";
        for (text, expected) in [
            (format!("10.0.0.0/8 0.0.0.0/0 {rest}"), "set:1:1: source prefix: expected `@`"),
            (format!("\n  @10.0.0.0 0.0.0.0/0 {rest}"), "set:2:4: source prefix: expected a prefix"),
            ("@10.0.0.0/8 0.0.0.0/33 0 : 1 1 : 1 6/255".to_owned(), "set:1:13: destination prefix: expected"),
            (
                format!("@::/0 0.0.0.0/0 {rest}"),
                "set:1:1: prefixes: source ::/0 and destination 0.0.0.0/0 are",
            ),
            ("@::/0 ::/0 0 : 65536 0 : 0 6/255".to_owned(), "set:1:16: source ports: expected a number"),
            ("@::/0 ::/0 9 : 8 0 : 0 6/255".to_owned(), "set:1:12: source ports: 9 : 8 is reversed"),
            ("@::/0 ::/0 0 - 8 0 : 0 6/255".to_owned(), "set:1:14: source ports: expected `:`"),
            (
                "@::/0 ::/0 0 : 8 0 : 0 256/255".to_owned(),
                "set:1:24: protocol: expected a number from 0 to 255",
            ),
            ("@::/0 ::/0 0 : 8 0 : 0 6".to_owned(), "set:1:25: protocol: expected `/`"),
            (
                "@::/0 ::/0 0 : 8".to_owned(),
                "set:1:17: destination ports: expected a number from 0 to 65535; nothing",
            ),
            ("@::/0 ::/0 +1 : 8 0 : 0 6/255".to_owned(), "set:1:12: source ports: expected a number"),
        ] {
            assert!(problem(&text).starts_with(expected), "{}", problem(&text));
        }
    }

    #[test]
    fn all_problems_are_reported_up_to_a_bound() {
        assert_eq!(problem("x\ny").lines().count(), 2);
        assert_eq!(rules("set", &"x\n".repeat(100)).unwrap_err().len(), MAX_PROBLEMS);
    }

    #[test]
    fn traces_hold_decimals_or_addresses_and_ignore_what_follows() {
        let text = "123186764 1609205559 53528 80 6 1330\nfd00::1\tfd00::2\t1\t2\t17";
        let tuples = trace("trace", text).unwrap();
        assert_eq!(tuples[0].dst.to_string(), "95.234.135.55");
        assert_eq!(write_tuple(&tuples[0]), "123186764\t1609205559\t53528\t80\t6");
        assert_eq!(write_tuple(&tuples[1]), "fd00::1\tfd00::2\t1\t2\t17");
        for (text, expected) in [
            ("4294967296 1 1 1 1", "trace:1:1: source address: expected an address"),
            ("1 ::1 1 1 1", "trace:1:1: addresses: source 0.0.0.1 and destination ::1 are of different"),
            ("1 1 1 1", "trace:1:8: protocol: expected a number from 0 to 255; nothing is here"),
        ] {
            let problem = trace("trace", text).unwrap_err()[0].to_string();
            assert!(problem.starts_with(expected), "{problem}");
        }
    }
}
