//! The matrix as a picture: one HTML file with inline SVG that reads at ten pods and at five hundred.
//!
//! Pods that behave alike are one row and one column ([`Group`]), so nothing is averaged away. Up to [`SMALL`] of them
//! make one map. More are drawn in a map for each namespace, of who reaches its pods: there, pods of other namespaces
//! that are alike to this namespace share a row, however else they differ. Many namespaces have an overview before that,
//! with the share of pairs between which something is open. Needs no script and no network; prints in grey as well, for
//! open is darker than closed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::bail;
use harness::report::escaped;
use policy_compiler::query::{Cell, Matrix, PortVerdict};

use super::groups::{Group, named};
use super::svg::{Line, Look, grid};

/// Most classes that are drawn in one map.
const SMALL: usize = 64;
/// Fewer namespaces than this need no overview.
const FEW_NAMESPACES: usize = 6;
/// Most cells that are drawn at all: a browser has to show them.
const MOST_CELLS: usize = 1_000_000;
/// Sets of ports that have a colour of their own; all others share one.
const COLOURS: usize = 6;

const STYLE: &str = include_str!("heat_map.css");

/// The page. `state` is what it is about.
///
/// # Errors
/// There is more to show than a browser could.
pub(super) fn html(matrix: &Matrix, state: &str) -> anyhow::Result<String> {
    let groups = named(matrix, matrix.classes(SMALL));
    let mut page = String::new();
    let pods = matrix.ends.iter().filter(|end| end.owner.is_some()).count();
    let namespaces: Vec<&str> = {
        let mut names: Vec<&str> = groups.iter().filter_map(Group::namespace).collect();
        names.dedup();
        names
    };
    // Writing to a String cannot fail.
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Who reaches whom: {state}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1>Who reaches whom</h1>\n\
         <p>{state}: {pods} pods in {} namespaces, in {} groups of pods that behave alike (×: how many). Rows connect to columns. Rest the pointer on a cell for what it says.</p>\n",
        namespaces.len(),
        groups.len(),
        state = escaped(state),
    );
    if !matrix.by_source.is_empty() {
        let protocols: Vec<String> = matrix.by_source.iter().map(ToString::to_string).collect();
        let _ = writeln!(
            page,
            "<p>Some rules test the source port of {}: where it matters, cells count as partly open.</p>",
            protocols.join(" and ")
        );
    }
    let asked: Vec<Option<usize>> =
        if matrix.ports.is_empty() { vec![None] } else { (0..matrix.ports.len()).map(Some).collect() };
    for port in asked {
        let picture = Picture::new(matrix, &groups, port);
        picture.section(&mut page, &namespaces)?;
    }
    page.push_str("</body>\n</html>\n");
    Ok(page)
}

/// One question: a port, or what is open at all.
struct Picture<'m> {
    matrix: &'m Matrix,
    groups: &'m [Group],
    port: Option<usize>,
    /// What each shade says, in words.
    words: BTreeMap<u32, String>,
    /// The sets of ports with a colour of their own, the most frequent first.
    coloured: Vec<String>,
}

impl<'m> Picture<'m> {
    fn new(matrix: &'m Matrix, groups: &'m [Group], port: Option<usize>) -> Self {
        let mut picture = Self { matrix, groups, port, words: BTreeMap::new(), coloured: Vec::new() };
        let mut frequent: BTreeMap<String, usize> = BTreeMap::new();
        for src in groups {
            for dst in groups {
                let Some(shade) = matrix.class_shade(&src.class, &dst.class) else { continue };
                let words = picture.words.entry(shade).or_insert_with(|| in_words(matrix, shade, port));
                if !matches!(words.as_str(), "" | "all" | "none" | "allow" | "deny") {
                    *frequent.entry(words.clone()).or_default() += src.size() * dst.size();
                }
            }
        }
        let mut frequent: Vec<(String, usize)> = frequent.into_iter().collect();
        frequent.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        picture.coloured = frequent.into_iter().take(COLOURS).map(|(words, _)| words).collect();
        picture
    }

    /// Style class of what is said of a pair.
    fn class(&self, words: &str) -> String {
        match words {
            "" => "self".to_owned(),
            "all" | "allow" => "open".to_owned(),
            "none" | "deny" => "shut".to_owned(),
            other => match self.coloured.iter().position(|known| known == other) {
                Some(position) => format!("c{position}"),
                None => "rest".to_owned(),
            },
        }
    }

    fn says(&self, shade: Option<u32>) -> &str {
        shade.and_then(|shade| self.words.get(&shade)).map_or("", String::as_str)
    }

    fn look(&self, (from, to): (&str, &str), shade: Option<u32>) -> Look {
        let words = self.says(shade);
        let title = if words.is_empty() { String::new() } else { format!("{from} → {to}: {words}") };
        Look { class: self.class(words), text: String::new(), title }
    }

    fn section(&self, page: &mut String, namespaces: &[&str]) -> anyhow::Result<()> {
        let port = self.port.and_then(|port| self.matrix.ports.get(port));
        let heading = port.map_or_else(|| "All ports".to_owned(), ToString::to_string);
        let _ = writeln!(page, "<section>\n<h2>{}</h2>", escaped(&heading));
        self.legend(page);
        if namespaces.len() >= FEW_NAMESPACES {
            self.overview(page, namespaces, &heading);
        }
        if self.groups.len() <= SMALL {
            let lines: Vec<Line> = self.groups.iter().map(line).collect();
            let names: Vec<String> = self.groups.iter().map(Group::name).collect();
            let cell = if lines.len() <= 24 { 24 } else { 15 };
            let look = |row: usize, column: usize| {
                let (Some(src), Some(dst)) = (self.groups.get(row), self.groups.get(column)) else {
                    return Look::default();
                };
                let (Some(from), Some(to)) = (names.get(row), names.get(column)) else {
                    return Look::default();
                };
                self.look((from, to), self.shade(src, dst))
            };
            let map = grid(&format!("who reaches whom, {heading}"), (&lines, &lines), cell, look);
            let _ = writeln!(page, "<h3>Pods</h3>\n<div class=\"map\">{map}</div>\n</section>");
            return Ok(());
        }
        let mut cells = 0_usize;
        let mut unreached = Vec::new();
        page.push_str("<div class=\"maps\">\n");
        let mut bands: Vec<Option<&str>> = namespaces.iter().copied().map(Some).collect();
        if self.groups.iter().any(|group| group.namespace().is_none()) {
            bands.push(None);
        }
        for namespace in bands {
            match (self.destinations(page, namespace, &heading), namespace) {
                (0, Some(namespace)) => unreached.push(namespace),
                (drawn, _) => cells = cells.saturating_add(drawn),
            }
            if cells > MOST_CELLS {
                bail!(
                    "the heat map would have more than {MOST_CELLS} cells, for the pods of this state hardly behave alike: \
                     expected a smaller state, or --format csv"
                );
            }
        }
        page.push_str("</div>\n");
        if !unreached.is_empty() {
            let _ = writeln!(page, "<p>Nobody reaches the pods of: {}.</p>", escaped(&unreached.join(", ")));
        }
        page.push_str("</section>\n");
        Ok(())
    }

    fn legend(&self, page: &mut String) {
        page.push_str("<ul class=\"legend\">\n");
        let mut item = |class: &str, words: &str| {
            let _ = writeln!(
                page,
                "<li><svg width=\"14\" height=\"14\" aria-hidden=\"true\"><rect class=\"{class}\" width=\"14\" \
                 height=\"14\"/></svg> {}</li>",
                escaped(words)
            );
        };
        let asked = self.port.is_some();
        let used: BTreeSet<String> = self.words.values().map(|words| self.class(words)).collect();
        if used.contains("open") {
            item("open", if asked { "allowed" } else { "everything open" });
        }
        for (position, words) in self.coloured.iter().enumerate() {
            item(&format!("c{position}"), words);
        }
        if used.contains("rest") {
            item("rest", if asked { "allowed in part, otherwise" } else { "other ports" });
        }
        item("shut", if asked { "denied" } else { "nothing open" });
        item("self", "the pod itself, or no address in common");
        page.push_str("</ul>\n");
    }

    /// Namespaces by namespaces: the share of pairs of pods between which anything is open.
    fn overview(&self, page: &mut String, namespaces: &[&str], heading: &str) {
        let of = |group: &Group| namespaces.iter().position(|name| Some(*name) == group.namespace());
        let mut pairs = vec![(0_usize, 0_usize); namespaces.len().saturating_mul(namespaces.len())];
        for src in self.groups {
            for dst in self.groups {
                let (Some(row), Some(column)) = (of(src), of(dst)) else { continue };
                let words = self.says(self.shade(src, dst));
                let Some((open, all)) = pairs.get_mut(row * namespaces.len() + column) else { continue };
                let same = src.class.members == dst.class.members;
                let count = src.size() * (dst.size() - usize::from(same));
                if words.is_empty() {
                    continue;
                }
                *all += count;
                if !matches!(words, "none" | "deny") {
                    *open += count;
                }
            }
        }
        let lines: Vec<Line> =
            namespaces.iter().map(|name| Line { label: (*name).to_owned(), band: String::new() }).collect();
        let look = |row: usize, column: usize| {
            let (open, all) = pairs.get(row * namespaces.len() + column).copied().unwrap_or_default();
            let (Some(from), Some(to)) = (namespaces.get(row), namespaces.get(column)) else {
                return Look::default();
            };
            if all == 0 {
                return Look { class: "self".to_owned(), ..Look::default() };
            }
            // Rounded up, so that 0 is none; 100 only where it is all.
            let percent = if open == all { 100 } else { (open * 100).div_ceil(all).min(99) };
            let step = percent.div_ceil(20);
            Look {
                class: format!("s{step}"),
                text: percent.to_string(),
                title: format!("{from} → {to}: {open} of {all} pairs of pods"),
            }
        };
        let _ = writeln!(
            page,
            "<h3>Namespaces</h3>\n<p>Of every 100 pairs of pods, between how many {}.</p>\n<div class=\"map\">{}</div>",
            if self.port.is_some() { "the port is allowed" } else { "anything is open" },
            grid(&format!("namespaces, {heading}"), (&lines, &lines), 30, look)
        );
    }

    /// Who reaches the pods of a namespace; how many cells that is, none where nobody does.
    fn destinations(&self, page: &mut String, namespace: Option<&str>, heading: &str) -> usize {
        let columns: Vec<&Group> =
            self.groups.iter().filter(|group| group.namespace() == namespace).collect();
        // Sources of other namespaces that are alike to these columns, in order of the first of each.
        let mut rows: Vec<(Vec<&Group>, Vec<Option<u32>>)> = Vec::new();
        let mut known: BTreeMap<Vec<Option<u32>>, usize> = BTreeMap::new();
        let own = |group: &&Group| group.namespace() == namespace;
        for src in self.groups.iter().filter(own).chain(self.groups.iter().filter(|group| !own(group))) {
            let shades: Vec<Option<u32>> = columns.iter().map(|dst| self.shade(src, dst)).collect();
            if own(&src) {
                rows.push((vec![src], shades));
                continue;
            }
            let row = *known.entry(shades.clone()).or_insert_with(|| {
                rows.push((Vec::new(), shades));
                rows.len() - 1
            });
            if let Some((groups, _)) = rows.get_mut(row) {
                groups.push(src);
            }
        }
        let shut = |shade: &Option<u32>| matches!(self.class(self.says(*shade)).as_str(), "shut" | "self");
        if namespace.is_some() && rows.iter().all(|(_, shades)| shades.iter().all(shut)) {
            return 0;
        }
        let title = namespace.unwrap_or("Outside and nodes");
        // The largest of the other rows goes without saying who is in it.
        let size = |(groups, _): &(Vec<&Group>, Vec<Option<u32>>)| -> usize {
            if groups.iter().all(own) { 0 } else { groups.iter().map(|group| group.size()).sum() }
        };
        rows.sort_by_key(size);
        let last = rows.len().saturating_sub(1);
        let names: Vec<String> = rows
            .iter()
            .enumerate()
            .map(|(position, row)| match size(row) {
                many if position == last && many > 1 => format!("everybody else ({many})"),
                _ => self.sources(&row.0, own),
            })
            .collect();
        let row_lines: Vec<Line> = rows
            .iter()
            .zip(&names)
            .map(|((groups, _), name)| {
                let band = if groups.iter().all(own) { title } else { "others" };
                Line { label: name.clone(), band: band.to_owned() }
            })
            .collect();
        let column_lines: Vec<Line> =
            columns.iter().map(|group| Line { label: group.label.clone(), band: String::new() }).collect();
        let look = |row: usize, column: usize| {
            let (Some((_, shades)), Some(from), Some(dst)) =
                (rows.get(row), names.get(row), columns.get(column))
            else {
                return Look::default();
            };
            self.look((from, &dst.name()), shades.get(column).copied().flatten())
        };
        let map = grid(&format!("to {title}, {heading}"), (&row_lines, &column_lines), 16, look);
        let _ = writeln!(page, "<div class=\"map\">\n<h3>To {}</h3>\n{map}</div>", escaped(title));
        rows.len().saturating_mul(columns.len())
    }

    /// Some groups in few words.
    fn sources(&self, groups: &[&Group], own: impl Fn(&&Group) -> bool) -> String {
        if let [only] = groups {
            return if own(only) { only.label.clone() } else { only.name() };
        }
        let members: Vec<usize> = groups.iter().flat_map(|group| &group.class.members).copied().collect();
        self.matrix.name(&members)
    }

    fn shade(&self, src: &Group, dst: &Group) -> Option<u32> {
        self.matrix.class_shade(&src.class, &dst.class)
    }
}

fn line(group: &Group) -> Line {
    Line { label: group.label.clone(), band: group.class.namespace.clone().unwrap_or_default() }
}

/// What a shade says of the port, or of all ports; nothing where the pair has no family in common.
fn in_words(matrix: &Matrix, shade: u32, port: Option<usize>) -> String {
    let says = |cell: &Cell| match (cell, port) {
        (Cell::Open(open), _) => open.to_string(),
        (Cell::Ports(verdicts), Some(port)) => {
            verdicts.get(port).map(PortVerdict::to_string).unwrap_or_default()
        }
        (Cell::Ports(_), None) => String::new(),
    };
    match matrix.cells(shade).map(|cell| cell.map(says)) {
        [None, None] => String::new(),
        [Some(one), None] | [None, Some(one)] => one,
        [Some(four), Some(six)] if four == six => four,
        [Some(four), Some(six)] => format!("IPv4: {four} / IPv6: {six}"),
    }
}
