//! A grid of coloured cells with labels on two sides, as SVG: no scripts, no fonts, nothing loaded from elsewhere.
//!
//! Labels of a band (a namespace) stand once beside all of its rows or columns, and bands are set apart by a gap. Cells
//! have a title, which browsers show when the pointer rests on them. Size: one element per cell.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use harness::report::escaped;

/// A row or a column.
#[derive(Debug, Clone, Default)]
pub(super) struct Line {
    /// What stands beside it, as long as it fits.
    pub(super) label: String,
    /// What it belongs to; equal ones follow each other.
    pub(super) band: String,
}

/// A cell.
#[derive(Debug, Clone, Default)]
pub(super) struct Look {
    /// Style class of the page.
    pub(super) class: String,
    /// What stands in it.
    pub(super) text: String,
    /// What it means, at length.
    pub(super) title: String,
}

/// Longest label, in characters.
const LONGEST: usize = 60;
/// Between two bands.
const GAP: usize = 4;
/// Width of a character in tenths of the height of its font, on average, with some room.
const WIDTH: usize = 6;
/// The same of a band's name, which is bold.
const BOLD: usize = 8;
/// Height of that.
const BAND_FONT: usize = 12;

/// How large things are drawn.
#[derive(Debug, Clone, Copy)]
struct Layout {
    cell: usize,
    font: usize,
    /// Where cells begin.
    left: usize,
    top: usize,
    /// Width of the row labels; the rest of `left` is the bands'.
    label: usize,
    /// Whether the columns' bands are written along their columns.
    upright: bool,
}

/// Cut in the middle, for names differ at their ends.
fn cut(label: &str) -> String {
    let length = label.chars().count();
    if length <= LONGEST {
        return label.to_owned();
    }
    let tail = length - LONGEST / 3;
    let head: String = label.chars().take(LONGEST - LONGEST / 3 - 1).collect();
    head + "…" + &label.chars().skip(tail).collect::<String>()
}

/// What stands beside lines: a label that would be cut to the same as another one is left whole.
fn shown(lines: &[Line]) -> Vec<String> {
    let mut of_short: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for line in lines {
        of_short.entry(cut(&line.label)).or_default().insert(&line.label);
    }
    let alone = |short: &String| of_short.get(short).is_none_or(|labels| labels.len() == 1);
    let short = |line: &Line| Some(cut(&line.label)).filter(alone).unwrap_or_else(|| line.label.clone());
    lines.iter().map(short).collect()
}

fn width(text: &str, font: usize) -> usize {
    (text.chars().count() * font * WIDTH).div_ceil(10)
}

fn band_width(text: &str) -> usize {
    (cut(text).chars().count() * BAND_FONT * BOLD).div_ceil(10)
}

fn widest(texts: &[String], font: usize) -> usize {
    texts.iter().map(|text| width(text, font)).max().unwrap_or(0)
}

/// Where each line begins, and the first and last line of each band.
fn places(lines: &[Line], begin: usize, cell: usize) -> (Vec<usize>, Vec<(usize, usize)>) {
    let (mut at, mut places, mut bands) = (begin, Vec::new(), Vec::<(usize, usize)>::new());
    for (position, line) in lines.iter().enumerate() {
        let same = position.checked_sub(1).and_then(|before| lines.get(before));
        match (same, bands.last_mut()) {
            (Some(before), Some(band)) if before.band == line.band => band.1 = position,
            (before, _) => {
                at += if before.is_some() { GAP } else { 0 };
                bands.push((position, position));
            }
        }
        places.push(at);
        at += cell;
    }
    (places, bands)
}

/// The grid. `cell`: its side in pixels; `look`: what is at a row and a column.
// Writing to a String cannot fail.
pub(super) fn grid(
    name: &str,
    (rows, columns): (&[Line], &[Line]),
    cell: usize,
    look: impl Fn(usize, usize) -> Look,
) -> String {
    let font = if cell >= 14 { 11 } else { cell.saturating_sub(1).max(7) };
    let (beside, above) = (shown(rows), shown(columns));
    let label = widest(&beside, font) + 8;
    let bands = |lines: &[Line]| lines.iter().map(|line| band_width(&line.band)).max().unwrap_or(0);
    let (_, column_bands) = places(columns, 0, cell);
    let upright = column_bands.iter().any(|&(first, last)| {
        let band = columns.get(first).map(|column| column.band.as_str()).unwrap_or_default();
        band_width(band) > (last - first + 1) * cell + GAP
    });
    let band_height = match (bands(columns), upright) {
        (0, _) => 0,
        (_, false) => 20,
        (width, true) => width + 8,
    };
    let left = label + if bands(rows) == 0 { 0 } else { bands(rows) + 14 };
    let top = band_height + widest(&above, font) + 8;
    let layout = Layout { cell, font, left, top, label, upright };
    let (ys, row_bands) = places(rows, top, cell);
    let (xs, column_bands) = places(columns, left, cell);
    let end = |places: &[usize], begin: usize| places.last().map_or(begin, |last| last + cell);
    let (right, bottom) = (end(&xs, left) + 8, end(&ys, top) + 8);
    let mut svg = String::new();
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {right} {bottom}\" width=\"{right}\" \
         height=\"{bottom}\" role=\"img\" aria-label=\"{}\">",
        escaped(name)
    );
    for ((&y, row), shown) in ys.iter().zip(rows).zip(&beside) {
        label_beside(&mut svg, layout, y, (shown, &row.label));
    }
    for ((&x, column), shown) in xs.iter().zip(columns).zip(&above) {
        label_above(&mut svg, layout, x, (shown, &column.label));
    }
    for (first, last) in row_bands {
        let (Some(from), Some(to), Some(row)) = (ys.get(first), ys.get(last), rows.get(first)) else {
            continue;
        };
        band_beside(&mut svg, layout, (*from, *to + cell), &row.band);
    }
    for (first, last) in column_bands {
        let (Some(from), Some(to), Some(column)) = (xs.get(first), xs.get(last), columns.get(first)) else {
            continue;
        };
        band_above(&mut svg, layout, (*from, *to + cell), &column.band);
    }
    let side = cell - usize::from(cell >= 10);
    for (row, &y) in ys.iter().enumerate() {
        for (column, &x) in xs.iter().enumerate() {
            let Look { class, text, title } = look(row, column);
            let _ = write!(
                svg,
                "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{side}\" height=\"{side}\">"
            );
            if !title.is_empty() {
                let _ = write!(svg, "<title>{}</title>", escaped(&title));
            }
            svg.push_str("</rect>");
            if !text.is_empty() {
                let (x, y) = (x + cell / 2, y + cell / 2 + 4);
                let _ =
                    write!(svg, "<text class=\"in {class}\" x=\"{x}\" y=\"{y}\">{}</text>", escaped(&text));
            }
        }
        svg.push('\n');
    }
    svg.push_str("</svg>\n");
    svg
}

/// What is shown of a label, and the whole of one that is cut short, for the pointer.
fn text_of((shown, label): (&str, &str)) -> String {
    let whole = if shown == label { String::new() } else { format!("<title>{}</title>", escaped(label)) };
    escaped(shown) + &whole
}

fn label_beside(svg: &mut String, layout: Layout, y: usize, label: (&str, &str)) {
    let Layout { cell, font, left, .. } = layout;
    let (x, y) = (left - 6, y + cell / 2 + font * 2 / 5);
    let text = text_of(label);
    let _ = write!(svg, "<text class=\"end\" x=\"{x}\" y=\"{y}\" font-size=\"{font}\">{text}</text>");
}

fn label_above(svg: &mut String, layout: Layout, x: usize, label: (&str, &str)) {
    let Layout { cell, font, top, .. } = layout;
    let (x, y) = (x + cell / 2 + font * 2 / 5, top - 6);
    let text = text_of(label);
    let _ = write!(
        svg,
        "<text x=\"{x}\" y=\"{y}\" font-size=\"{font}\" transform=\"rotate(-90 {x} {y})\">{text}</text>"
    );
}

fn band_beside(svg: &mut String, layout: Layout, (from, to): (usize, usize), band: &str) {
    if band.is_empty() {
        return;
    }
    let x = layout.left - layout.label - 4;
    let font = (to - from).clamp(7, BAND_FONT);
    let (middle, text) = (usize::midpoint(from, to) + font * 2 / 5, x - 6);
    let _ = write!(
        svg,
        "<path class=\"rule\" d=\"M{x} {from}V{to}\"/>\
         <text class=\"end band\" x=\"{text}\" y=\"{middle}\" font-size=\"{font}\">{}</text>",
        escaped(&cut(band))
    );
}

fn band_above(svg: &mut String, layout: Layout, (from, to): (usize, usize), band: &str) {
    if band.is_empty() {
        return;
    }
    let font = if layout.upright { (to - from).clamp(7, BAND_FONT) } else { BAND_FONT };
    let shown = escaped(&cut(band));
    let middle = usize::midpoint(from, to);
    if layout.upright {
        let (x, y) = (middle + font * 2 / 5, band_width(band) + 4);
        let _ = write!(
            svg,
            "<text class=\"band\" x=\"{x}\" y=\"{y}\" font-size=\"{font}\" transform=\"rotate(-90 {x} {y})\">{shown}</text>"
        );
    } else {
        let _ = write!(
            svg,
            "<path class=\"rule\" d=\"M{from} 17H{to}\"/>\
             <text class=\"mid band\" x=\"{middle}\" y=\"12\" font-size=\"{font}\">{shown}</text>"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, Line, Look, cut, escaped, grid, shown};

    #[test]
    fn names_cannot_become_markup() {
        assert_eq!(escaped("<a href=\"x\">&\u{1b}"), "&lt;a href=&quot;x&quot;&gt;&amp;\u{fffd}");
    }

    #[test]
    fn every_cell_is_drawn_once_and_bands_are_named_once() {
        let line = |label: &str, band: &str| Line { label: label.to_owned(), band: band.to_owned() };
        let lines = [line("a", "x"), line("b", "x"), line("c", "y")];
        let look =
            |row, column| Look { class: "o".into(), title: format!("{row}>{column}"), ..Look::default() };
        let svg = grid("name", (&lines, &lines[..2]), 20, look);
        assert_eq!(svg.matches("<rect").count(), 6);
        assert_eq!(svg.matches(">x</text>").count(), 2);
        assert!(svg.contains("2&gt;1") && svg.ends_with("</svg>\n"));
    }

    #[test]
    fn long_names_that_differ_look_different() {
        let line = |label: String| Line { label, band: String::new() };
        let end = |number: u32| line(format!("{}-{number}", "worker".repeat(20)));
        let cut_short = shown(&[end(1), end(2)]);
        assert!(cut_short.iter().all(|label| label.chars().count() == LONGEST), "{cut_short:?}");
        assert!(cut_short[0].ends_with("-1") && cut_short[1].ends_with("-2"), "{cut_short:?}");
        let middle = |number: u32| line(format!("{}-{number}-{0}", "worker".repeat(20)));
        let whole = shown(&[middle(1), middle(2), end(3)]);
        assert_eq!(whole, [middle(1).label, middle(2).label, cut(&end(3).label)]);
    }
}
