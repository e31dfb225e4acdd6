//! Lookups per second against rules, both scales logarithmic, as SVG: no scripts, no fonts, nothing loaded from elsewhere.
//!
//! A kind of set has a colour and a mark, from a palette that those who do not see all colours can tell apart (Okabe and
//! Ito 2008); an engine has a kind of line. Bars reach from the least run to the most; points of one size stand a little
//! beside each other, so that no bar hides another. Every point has a title, shown when the pointer rests on it.

use std::fmt::Write as _;

use super::record::{Point, Record, Series};
use harness::report::escaped;

const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 640.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 770.0;
const TOP: f64 = 72.0;
const BOTTOM: f64 = 540.0;
/// Between the points of one size, of one kind of set and the next.
const ASIDE: f64 = 7.0;

/// Kinds of sets with their colours, in the order of the legend. What is not here is grey.
const SETS: [(&str, &str); 5] =
    [("acl", "#0072b2"), ("fw", "#d55e00"), ("ipc", "#009e73"), ("k8s-rules", "#cc79a7"), ("k8s", "#000000")];
const OTHER: &str = "#666666";

const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#222}\
 .title{font-size:18px;font-weight:600}.small{font-size:11px;fill:#555}\
 .grid{stroke:#e2e2e2}.fine{stroke:#f3f3f3}.axis{stroke:#555}\
 .line{fill:none;stroke-width:2}.bar{stroke-width:1.2}.middle{text-anchor:middle}.end{text-anchor:end}";

/// Both scales: powers of ten at their ends.
struct Scales {
    x: (i32, i32),
    y: (i32, i32),
}

impl Scales {
    fn of(record: &Record) -> Self {
        let points = || record.series.iter().flat_map(|series| &series.points);
        // Counts of rules are far below 2^52.
        #[allow(clippy::cast_precision_loss)]
        let x = ends(points().map(|point| point.rules as f64));
        let y =
            ends(points().flat_map(|point| [point.uniform.least, point.uniform.most]).map(|rate| rate * 1e6));
        Self { x, y }
    }

    fn x(&self, rules: f64) -> f64 {
        let (first, last) = (f64::from(self.x.0), f64::from(self.x.1));
        // Points at the ends stand a little inside.
        let (left, right) = (LEFT + 30.0, RIGHT - 30.0);
        left + (rules.max(1.0).log10() - first) / (last - first) * (right - left)
    }

    fn y(&self, rate: f64) -> f64 {
        let (first, last) = (f64::from(self.y.0), f64::from(self.y.1));
        BOTTOM - (rate.max(1.0).log10() - first) / (last - first) * (BOTTOM - TOP)
    }
}

/// The powers of ten around all numbers, at least one apart.
fn ends(numbers: impl Iterator<Item = f64>) -> (i32, i32) {
    let (mut least, mut most) = (f64::MAX, 1.0_f64);
    for number in numbers.filter(|number| number.is_finite() && *number >= 1.0) {
        (least, most) = (least.min(number), most.max(number));
    }
    // Logarithms of numbers are small.
    #[allow(clippy::cast_possible_truncation)]
    let (first, last) = (least.min(most).log10().floor() as i32, most.log10().ceil() as i32);
    (first, last.max(first + 1))
}

/// The chart.
pub(super) fn svg(record: &Record) -> String {
    let scales = Scales::of(record);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         role=\"img\">\n<title>Lookups per second against rules</title>\n<style>{STYLE}</style>\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
         <text class=\"title\" x=\"{LEFT}\" y=\"32\">Classifier: lookups per second on one core</text>\n\
         <text class=\"small\" x=\"{LEFT}\" y=\"52\">Bursts of {}; medians of {} runs of {} ms, bars from the least to the \
         most; packets choose rules evenly</text>\n",
        record.burst, record.runs, record.run_milliseconds
    );
    axes(&mut out, &scales);
    for series in &record.series {
        draw(&mut out, series, &scales);
    }
    legend(&mut out, record);
    let notes = [
        format!("{}, seed {}: {}", record.date, record.seed, record.environment_line()),
        "k8s: a cluster, each packet judged at both ends, at the number of rules its policies would be about when \
         written out for every pod"
            .to_owned(),
    ];
    for (note, y) in notes.iter().zip([HEIGHT - 28.0, HEIGHT - 12.0]) {
        let _ = writeln!(out, "<text class=\"small\" x=\"{LEFT}\" y=\"{y}\">{}</text>", escaped(note));
    }
    out + "</svg>\n"
}

fn axes(out: &mut String, scales: &Scales) {
    // Writing to a String cannot fail, here and below.
    for power in scales.y.0..=scales.y.1 {
        let value = 10_f64.powi(power);
        let y = scales.y(value);
        if power < scales.y.1 {
            for part in 2..10 {
                let y = scales.y(value * f64::from(part));
                let _ = writeln!(out, "<path class=\"fine\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>");
            }
        }
        let _ = writeln!(
            out,
            "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/><text class=\"end\" x=\"{}\" y=\"{:.1}\">{}</text>",
            LEFT - 8.0,
            y + 4.5,
            amount(power)
        );
    }
    for power in scales.x.0..=scales.x.1 {
        let x = scales.x(10_f64.powi(power));
        let rules = 10_u64.checked_pow(power.unsigned_abs()).unwrap_or(0);
        let _ = writeln!(
            out,
            "<path class=\"grid\" d=\"M{x:.1} {TOP}V{BOTTOM}\"/>\
             <text class=\"middle\" x=\"{x:.1}\" y=\"{}\">{}</text>",
            BOTTOM + 20.0,
            thousands(rules)
        );
    }
    let (middle, across) = (f64::midpoint(LEFT, RIGHT), f64::midpoint(TOP, BOTTOM));
    let _ = writeln!(
        out,
        "<path class=\"axis\" fill=\"none\" d=\"M{LEFT} {TOP}V{BOTTOM}H{RIGHT}\"/>\n\
         <text class=\"middle\" x=\"{middle}\" y=\"{}\">rules</text>\n\
         <text class=\"middle\" transform=\"translate(22 {across}) rotate(-90)\">lookups per second</text>",
        BOTTOM + 42.0
    );
}

/// A power of ten as people say it.
fn amount(power: i32) -> String {
    let (unit, of) = match power {
        ..3 => ("", 0),
        3..6 => (" k", 3),
        6..9 => (" M", 6),
        _ => (" G", 9),
    };
    format!("{}{unit}", 10_u64.checked_pow((power - of).unsigned_abs()).unwrap_or(0))
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn place_of(set: &str) -> usize {
    SETS.iter().position(|(name, _)| *name == set).unwrap_or(SETS.len())
}

fn colour(set: &str) -> &'static str {
    SETS.get(place_of(set)).map_or(OTHER, |(_, colour)| colour)
}

/// Short dashes for the oracle.
fn dashes(engine: &str) -> &'static str {
    if engine == "linear" { " stroke-dasharray=\"5 4\"" } else { "" }
}

fn draw(out: &mut String, series: &Series, scales: &Scales) {
    let colour = colour(&series.set);
    // Few kinds of sets: a small number.
    #[allow(clippy::cast_precision_loss)]
    let aside = (place_of(&series.set) as f64 - 2.0) * ASIDE;
    // As above.
    #[allow(clippy::cast_precision_loss)]
    let at = |point: &Point| (scales.x(point.rules as f64) + aside, scales.y(point.uniform.median * 1e6));
    let mut line = String::new();
    for point in &series.points {
        let (x, y) = at(point);
        let _ = write!(line, "{}{x:.1} {y:.1}", if line.is_empty() { "M" } else { "L" });
    }
    let _ =
        writeln!(out, "<path class=\"line\" stroke=\"{colour}\"{} d=\"{line}\"/>", dashes(&series.engine));
    for point in &series.points {
        let (x, y) = at(point);
        let (least, most) = (scales.y(point.uniform.least * 1e6), scales.y(point.uniform.most * 1e6));
        let _ = writeln!(
            out,
            "<g><title>{}, {}, {} rules: {:.3} M/s ({:.3} to {:.3}); by Zipf's law {:.3}</title>\
             <path class=\"bar\" stroke=\"{colour}\" d=\"M{x:.1} {most:.1}V{least:.1}M{:.1} {most:.1}h8M{:.1} {least:.1}h8\"/>{}</g>",
            escaped(&series.engine),
            escaped(&series.set),
            thousands(point.rules as u64),
            point.uniform.median,
            point.uniform.least,
            point.uniform.most,
            point.zipf.median,
            x - 4.0,
            x - 4.0,
            mark(series, x, y)
        );
    }
}

/// The mark of a kind of set, filled but for the oracle.
fn mark(series: &Series, x: f64, y: f64) -> String {
    let colour = colour(&series.set);
    let fill = if series.engine == "linear" { "#fff" } else { colour };
    let look = format!("fill=\"{fill}\" stroke=\"{colour}\" stroke-width=\"1.5\"");
    match place_of(&series.set) {
        0 => format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\" {look}/>"),
        1 => format!("<rect x=\"{:.1}\" y=\"{:.1}\" width=\"8\" height=\"8\" {look}/>", x - 4.0, y - 4.0),
        2 => format!("<path d=\"M{x:.1} {:.1}l5 9h-10z\" {look}/>", y - 5.5),
        3 => format!("<path d=\"M{x:.1} {:.1}l5.5 5.5l-5.5 5.5l-5.5 -5.5z\" {look}/>", y - 5.5),
        _ => format!("<path d=\"M{x:.1} {:.1}l-5 -9h10z\" {look}/>", y + 5.5),
    }
}

/// Engines and sets, those that are fastest at their last size first: as their lines stand.
fn legend(out: &mut String, record: &Record) {
    let mut series: Vec<&Series> = record.series.iter().collect();
    let last = |series: &Series| series.points.last().map_or(0.0, |point| point.uniform.median);
    series.sort_by(|a, b| {
        (a.engine == "linear").cmp(&(b.engine == "linear")).then(last(b).total_cmp(&last(a)))
    });
    let x = RIGHT + 24.0;
    let mut y = TOP + 12.0;
    for series in series {
        let _ = writeln!(
            out,
            "<path class=\"line\" stroke=\"{}\"{} d=\"M{x} {y}h34\"/>{}<text x=\"{}\" y=\"{}\">{}, {}</text>",
            colour(&series.set),
            dashes(&series.engine),
            mark(series, x + 17.0, y),
            x + 44.0,
            y + 4.5,
            escaped(&series.engine),
            escaped(&series.set)
        );
        y += 24.0;
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::rate::Rate;
    use super::super::record::{Point, Record, Series};
    use super::svg;

    #[test]
    fn every_point_is_drawn_inside_of_the_axes() {
        let point = |rules: usize, median: f64| Point {
            rules,
            parameters: String::new(),
            build_ms: 1.0,
            memory_bytes: 1,
            uniform: Rate { median, least: median / 2.0, most: median * 2.0 },
            zipf: Rate { median, least: median, most: median },
        };
        let series = |engine: &str, set: &str| Series {
            engine: engine.to_owned(),
            set: set.to_owned(),
            points: vec![point(10, 100.0), point(100_000, 0.004)],
        };
        let record = Record {
            date: "2026-01-01".to_owned(),
            environment: serde_json::json!({"cpu": "a <fast> one"}),
            seed: 1,
            run_milliseconds: 1,
            runs: 5,
            burst: 32,
            packets: 1,
            series: vec![series("general", "acl"), series("linear", "k8s"), series("other", "unheard of")],
        };
        let drawn = svg(&record);
        assert_eq!(drawn.matches("<g><title>").count(), 6);
        assert!(drawn.contains("a &lt;fast&gt; one") && !drawn.contains("NaN"));
        let heights = drawn.match_indices("class=\"bar\"").filter_map(|(at, _)| {
            let path = drawn.get(at..)?.split_once(" d=\"M")?.1;
            path.split_once(' ')?.1.split_once('V')?.0.parse::<f64>().ok()
        });
        assert!(heights.inspect(|y| assert!((super::TOP..=super::BOTTOM).contains(y))).count() == 6);
        assert!(svg(&Record { series: Vec::new(), ..record }).ends_with("</svg>\n"));
    }
}
