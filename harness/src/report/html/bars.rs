//! Bars with their spread: ratios around one, and figures from zero; and where packets went, as parts of a whole.

use std::collections::BTreeMap;

use super::axis::Axis;
use super::svg::{Anchor, Svg, colour};
use crate::report::{Better, Book, Ratio, Series, Spread, human, quantity, scale};

/// Width of all drawings.
pub(super) const WIDTH: f64 = 900.0;
/// Where bars begin and end; names stand before, figures behind.
const LEFT: f64 = 390.0;
const RIGHT: f64 = 770.0;
const ROW: f64 = 24.0;
const TOP: f64 = 12.0;
const BAR: f64 = 13.0;

/// Ratios, drawn from one to their median; the colour says whether that is good, the whisker is the range.
pub(super) fn ratios(title: &str, ratios: &[&Ratio]) -> String {
    let ends = |pick: fn(f64, f64) -> f64, of: fn(&Spread) -> f64| {
        ratios.iter().map(|ratio| of(&ratio.spread)).filter(|one| *one > 0.0).fold(1.0, pick)
    };
    let axis = Axis::log(
        ends(f64::min, |one| one.least).min(0.5),
        ends(f64::max, |one| one.most).max(2.0),
        LEFT,
        RIGHT,
    );
    let (mut svg, bottom) = begin(title, ratios.len(), &axis, |tick| format!("{}×", plain(tick)));
    svg.line("one", [axis.at(1.0), TOP], [axis.at(1.0), bottom]);
    for (row, ratio) in ratios.iter().enumerate() {
        let Spread { median, least, most } = ratio.spread;
        let good = (median >= 1.0) == (ratio.better == Better::More);
        // Rounds on both sides of one do not say which is better.
        let class = if least <= 1.0 && most >= 1.0 {
            "even"
        } else if good {
            "good"
        } else {
            "bad"
        };
        let y = middle(row);
        let name = if ratio.baseline == "kernel" {
            ratio.subject.clone()
        } else {
            format!("{} / {}", ratio.subject, ratio.baseline)
        };
        let range = format!("{} .. {}", human(least), human(most));
        let hover = format!("{name}: {} ({range})", human(median));
        let from = axis.at(1.0);
        svg.bar(class, [from, y - BAR / 2.0], [axis.at(median) - from, BAR], &hover);
        label(&mut svg, y, &name);
        whisker(&mut svg, &axis, y, least, most);
        svg.text("value", [RIGHT + 10.0, y + 4.0], Anchor::Start, &format!("{}×", human(median)));
        svg.text("faint", [WIDTH - 2.0, y + 4.0], Anchor::End, &range);
    }
    svg.finish()
}

/// Figures of one quantity, from zero.
pub(super) fn figures(title: &str, series: &[(&Series, Spread)]) -> String {
    let most = series.iter().map(|(_, spread)| spread.most).fold(0.0, f64::max);
    let unit = series.first().map_or("", |(one, _)| one.figure.unit.as_str());
    let axis = Axis::linear(most, LEFT, RIGHT);
    let (factor, name) = scale(most, unit);
    let (mut svg, bottom) = begin(title, series.len(), &axis, |tick| plain(tick / factor));
    svg.text("axis", [WIDTH - 2.0, bottom + 16.0], Anchor::End, &name);
    for (row, (one, spread)) in series.iter().enumerate() {
        let y = middle(row);
        let value = quantity(spread.median, unit);
        let range = format!("{} .. {}", quantity(spread.least, unit), quantity(spread.most, unit));
        let hover = format!("{}: {value} ({range})", one.subject);
        let class = if one.subject.starts_with("weir") { "weir" } else { "kernel" };
        svg.bar(class, [LEFT, y - BAR / 2.0], [axis.at(spread.median) - LEFT, BAR], &hover);
        label(&mut svg, y, &one.subject);
        whisker(&mut svg, &axis, y, spread.least, spread.most);
        svg.text("value", [RIGHT + 10.0, y + 4.0], Anchor::Start, &value);
    }
    svg.finish()
}

/// Where the packets of each subject went, all rounds together, as parts of those offered; and the legend.
pub(super) fn ends(title: &str, books: &[&Book]) -> String {
    let mut subjects: Vec<&str> = Vec::new();
    for book in books {
        if !subjects.contains(&book.subject.as_str()) {
            subjects.push(&book.subject);
        }
    }
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    for (reason, count) in books.iter().flat_map(|book| &book.dropped) {
        let sum = reasons.entry(reason).or_default();
        *sum = sum.saturating_add(*count);
    }
    // As many as there are colours; the rest is one.
    let mut named: Vec<(&str, u64)> = reasons.into_iter().collect();
    named.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let named: Vec<&str> = named.into_iter().take(5).map(|(reason, _)| reason).collect();
    let axis = Axis::linear(100.0, LEFT, RIGHT);
    let (mut svg, _) = begin(title, subjects.len(), &axis, |tick| format!("{tick:.0} %"));
    for (row, subject) in subjects.iter().enumerate() {
        let all: Vec<&&Book> = books.iter().filter(|book| book.subject == *subject).collect();
        let sum = |of: &dyn Fn(&Book) -> u64| all.iter().map(|book| of(book) as f64).sum::<f64>();
        let offered = sum(&|book| book.offered).max(1.0);
        let received = sum(&|book| book.received);
        let mut parts = vec![("ok".to_owned(), "received", received)];
        for (number, reason) in named.iter().enumerate() {
            let count = sum(&|book| book.dropped.get(*reason).copied().unwrap_or(0));
            parts.push((colour(number.saturating_add(1)), reason, count));
        }
        let other = sum(&|book| {
            let others = book.dropped.iter().filter(|(reason, _)| !named.contains(&reason.as_str()));
            others.map(|(_, count)| *count).sum()
        });
        parts.push(("other".to_owned(), "other reasons", other));
        parts.push(("lost".to_owned(), "lost without a counted drop", sum(&|book| book.lost)));
        let (y, mut x) = (middle(row), LEFT);
        for (class, name, count) in parts.iter().filter(|(_, _, count)| *count > 0.0) {
            let width = (RIGHT - LEFT) * (count / offered).min(1.0);
            let hover = format!("{subject}: {name}: {count:.0} of {offered:.0}");
            svg.bar(class, [x, y - BAR / 2.0], [width, BAR], &hover);
            x += width;
        }
        label(&mut svg, y, subject);
        let share = format!("{:.1} % received", 100.0 * received / offered);
        svg.text("value", [RIGHT + 10.0, y + 4.0], Anchor::Start, &share);
    }
    let mut legend = vec![("ok".to_owned(), "received".to_owned())];
    for (number, reason) in named.iter().enumerate() {
        legend.push((colour(number.saturating_add(1)), format!("dropped: {reason}")));
    }
    if books.iter().any(|book| book.lost > 0) {
        legend.push(("lost".to_owned(), "lost without a counted drop".to_owned()));
    }
    svg.finish() + &super::legend(&legend)
}

/// Names of more than this are cut; the whole name is in the table.
const LONGEST: usize = 62;

fn label(svg: &mut Svg, y: f64, name: &str) {
    let short = if name.chars().count() > LONGEST {
        name.chars().take(LONGEST.saturating_sub(1)).collect::<String>() + "…"
    } else {
        name.to_owned()
    };
    svg.text("name", [LEFT - 10.0, y + 4.0], Anchor::End, &short);
}

fn whisker(svg: &mut Svg, axis: &Axis, y: f64, least: f64, most: f64) {
    let (from, to) = (axis.at(least), axis.at(most));
    svg.line("whisker", [from, y], [to, y]);
    for x in [from, to] {
        svg.line("whisker", [x, y - 4.0], [x, y + 4.0]);
    }
}

fn middle(row: usize) -> f64 {
    TOP + ROW * (row as f64 + 0.5)
}

/// A drawing with grid and ticks, and where its rows end.
fn begin(title: &str, rows: usize, axis: &Axis, tick_text: impl Fn(f64) -> String) -> (Svg, f64) {
    let bottom = TOP + ROW * rows as f64;
    let mut svg = Svg::new(WIDTH, bottom + 26.0, title);
    for tick in axis.ticks() {
        svg.line("grid", [axis.at(tick), TOP], [axis.at(tick), bottom]);
        svg.text("tick", [axis.at(tick), bottom + 16.0], Anchor::Middle, &tick_text(tick));
    }
    (svg, bottom)
}

/// A round figure without zeros behind.
pub(super) fn plain(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
