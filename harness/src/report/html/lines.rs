//! Lines over an axis: latency by percentile, received and lost by offered load.

use super::axis::Axis;
use super::bars::{WIDTH, plain};
use super::svg::{Anchor, Svg, colour};
use crate::report::{Curve, Latency, Point, quantity, scale};

const LEFT: f64 = 80.0;
const RIGHT: f64 = 870.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 290.0;

/// Latency by percentile: the axis below is logarithmic in what lies beyond a percentile, as is usual, so that the tail
/// is seen; so is the one beside it.
pub(super) fn percentiles(title: &str, latencies: &[&Latency]) -> String {
    let most_count = latencies.iter().map(|one| one.count).max().unwrap_or(1).max(10);
    let x = Axis::log(1.0, (most_count as f64).min(1e6), LEFT, RIGHT);
    let histograms: Vec<_> = latencies.iter().filter_map(|one| Some((one, one.histogram()?))).collect();
    let least = histograms.iter().map(|(_, one)| one.min()).filter(|one| *one > 0).min().unwrap_or(1);
    let most = histograms.iter().map(|(_, one)| one.max()).max().unwrap_or(10);
    let y = Axis::log(least as f64 / 1e9, most as f64 / 1e9, BOTTOM, TOP);
    let mut svg = frame(title, &y, "s");
    for tick in x.ticks().into_iter().filter(|tick| tick.log10().fract().abs() < 1e-9) {
        svg.line("grid", [x.at(tick), TOP], [x.at(tick), BOTTOM]);
        let percent = 100.0 * (1.0 - 1.0 / tick);
        let decimals = (tick.log10().round() as usize).saturating_sub(2);
        svg.text("tick", [x.at(tick), BOTTOM + 16.0], Anchor::Middle, &format!("{percent:.decimals$} %"));
    }
    svg.text("axis", [RIGHT, BOTTOM + 34.0], Anchor::End, "percentile");
    let mut legend = Vec::new();
    for (number, (latency, histogram)) in histograms.iter().enumerate() {
        let mut points = Vec::new();
        for step in histogram.iter_quantiles(8) {
            let beyond = 1.0 / (1.0 - step.quantile_iterated_to()).max(1e-9);
            let value = step.value_iterated_to() as f64 / 1e9;
            points.push([x.at(beyond.min(latency.count as f64)), y.at(value)]);
        }
        let colour = colour_of(&latency.subject, number);
        svg.path(&colour, &points);
        let lost = if latency.lost > 0 { format!(", {} lost", latency.lost) } else { String::new() };
        let text = format!("{}: {} of {}{lost}", latency.subject, latency.summary(), latency.count);
        legend.push((colour, text));
    }
    svg.finish() + &super::legend(&legend)
}

/// The kernel is grey, as in the bars; others have the colour of their number.
fn colour_of(subject: &str, number: usize) -> String {
    if subject == "kernel" { "ck".to_owned() } else { colour(number) }
}

/// What arrived by what was offered, both per second.
pub(super) fn received(title: &str, curves: &[&Curve]) -> String {
    let rate = |point: &Point| point.received as f64 / point.seconds.max(1e-9);
    draw(title, curves, "packet/s", rate, "offered load", true)
}

/// The share that was lost by what was offered.
pub(super) fn loss(title: &str, curves: &[&Curve]) -> String {
    draw(title, curves, "%", |point| point.loss_ratio * 100.0, "offered load", false)
}

fn draw(
    title: &str,
    curves: &[&Curve],
    unit: &str,
    of: impl Fn(&Point) -> f64,
    below: &str,
    ideal: bool,
) -> String {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let most = points().map(|point| point.load).fold(0.0, f64::max);
    let (factor, name) = scale(most, "packet/s");
    let x = Axis::linear(most, LEFT, RIGHT);
    let y = Axis::linear(points().map(&of).fold(0.0, f64::max), BOTTOM, TOP);
    let mut svg = frame(title, &y, unit);
    for tick in x.ticks() {
        svg.line("grid", [x.at(tick), TOP], [x.at(tick), BOTTOM]);
        svg.text("tick", [x.at(tick), BOTTOM + 16.0], Anchor::Middle, &plain(tick / factor));
    }
    svg.text("axis", [RIGHT, BOTTOM + 34.0], Anchor::End, &format!("{below}, {name}"));
    if ideal {
        let end = *x.ticks().last().unwrap_or(&0.0);
        let end = end.min(*y.ticks().last().unwrap_or(&0.0));
        svg.line("one", [x.at(0.0), y.at(0.0)], [x.at(end), y.at(end)]);
    }
    let mut legend = Vec::new();
    for (number, curve) in curves.iter().enumerate() {
        let mut sorted: Vec<&Point> = curve.points.iter().collect();
        sorted.sort_by(|a, b| a.load.total_cmp(&b.load));
        for point in &sorted {
            let hover = format!(
                "{}: {} offered in {:.1} s at {}, {} received",
                curve.subject,
                point.offered,
                point.seconds,
                quantity(point.load, "packet/s"),
                point.received
            );
            svg.dot(&colour(number), [x.at(point.load), y.at(of(point))], &hover);
        }
        found_at(&mut svg, &x, number, &curve.found);
        let name = |(name, load): &(String, f64)| format!(", {name} {}", quantity(*load, "packet/s"));
        let found = curve.found.iter().map(name).collect::<Vec<_>>().concat();
        legend.push((colour(number), format!("{}{found}", curve.subject)));
    }
    svg.finish() + &super::legend(&legend)
}

/// Upright lines where loads were found, each subject's names in a line of their own.
fn found_at(svg: &mut Svg, x: &Axis, number: usize, found: &[(String, f64)]) {
    for (_, load) in found {
        svg.line(&format!("found {}", colour(number)), [x.at(*load), TOP], [x.at(*load), BOTTOM]);
    }
    // Loads that were found lie close together: one text for all.
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    let last = found.iter().map(|(_, load)| x.at(*load)).fold(LEFT, f64::max);
    if !names.is_empty() {
        svg.text("tick", [last + 4.0, TOP + 10.0 + 13.0 * number as f64], Anchor::Start, &names.join(", "));
    }
}

fn frame(title: &str, y: &Axis, unit: &str) -> Svg {
    let mut svg = Svg::new(WIDTH, BOTTOM + 40.0, title);
    let ticks = y.ticks();
    let last = ticks.last().copied().unwrap_or(1.0);
    let is_time = unit == "s";
    let (factor, name) = if unit == "%" || is_time { (1.0, unit.to_owned()) } else { scale(last, unit) };
    for tick in ticks {
        svg.line("grid", [LEFT, y.at(tick)], [RIGHT, y.at(tick)]);
        // Times run over many decades, each with its own prefix.
        let text = if is_time { quantity(tick, unit) } else { plain(tick / factor) };
        svg.text("tick", [LEFT - 8.0, y.at(tick) + 4.0], Anchor::End, &text);
    }
    if !is_time {
        svg.text("axis", [LEFT, TOP - 10.0], Anchor::End, &name);
    }
    svg
}
