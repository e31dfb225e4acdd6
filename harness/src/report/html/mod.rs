//! `report.html`: one file, plots as SVG, styles within, no scripts, nothing loaded from elsewhere.
//!
//! In order: what was measured and where; ratios; figures by case with all of them in a table; latency by percentile;
//! what arrived and what was lost by offered load; where packets went. A part without figures is left out. Text is
//! escaped wherever it comes from.

mod axis;
mod bars;
mod lines;
mod svg;

use std::fmt::Write as _;

use super::{Book, Run, Series, Spread, human, quantity};

/// The page of a run.
pub(super) fn page(run: &Run) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width\">\n<title>{}</title>\n<style>\n{}</style>\n</head>\n<body>\n",
        escaped(&run.title),
        include_str!("style.css")
    );
    head(&mut page, run);
    ratios(&mut page, run);
    figures(&mut page, run);
    latency(&mut page, run);
    curves(&mut page, run);
    books(&mut page, run);
    page.push_str("</body>\n</html>\n");
    page
}

fn head(page: &mut String, run: &Run) {
    let environment = &run.environment;
    let _ = writeln!(page, "<h1>{}</h1>", escaped(&run.title));
    let _ =
        writeln!(page, "<p class=\"faint\">{} UTC, {:.0} s</p>", utc(run.started_unix_seconds), run.seconds);
    if run.interrupted {
        page.push_str("<p class=\"warning\">Interrupted: this is what was measured until then.</p>\n");
    }
    if !environment.optimised {
        page.push_str(
            "<p class=\"warning\">weir was built without optimisation: the figures mean nothing.</p>\n",
        );
    }
    if !run.adds_up() {
        page.push_str("<p class=\"warning\">The books of some trials do not add up.</p>\n");
    }
    let _ = writeln!(page, "<pre>{}</pre>\n<table class=\"facts\">", escaped(&run.command.join(" ")));
    let mut fact = |name: &str, value: &str| {
        let _ = writeln!(page, "<tr><th>{}</th><td>{}</td></tr>", escaped(name), escaped(value));
    };
    fact("weir", &environment.weir);
    fact("processor", &format!("{}, {} cores", environment.cpu, environment.cores));
    fact("kernel", &environment.kernel);
    fact("load at the start", &environment.load);
    fact("seed", &run.seed.to_string());
    for (name, value) in &environment.settings {
        fact(name, value);
    }
    page.push_str("</table>\n");
    for note in &run.notes {
        let _ = writeln!(page, "<p class=\"caption\">{}</p>", escaped(note));
    }
}

fn ratios(page: &mut String, run: &Run) {
    if run.ratios.is_empty() {
        return;
    }
    page.push_str("<h2>Ratios</h2>\n<p class=\"caption\">Median of the rounds; the whisker is their range. Blue is better \
                   than what it is compared with, orange is worse, grey is on both sides of it. Where no other is named, that is the kernel \
                   without rules.</p>\n");
    let mut done: Vec<(&str, &str)> = Vec::new();
    for ratio in &run.ratios {
        let key = (ratio.group.as_str(), ratio.quantity.as_str());
        if done.contains(&key) {
            continue;
        }
        done.push(key);
        let together: Vec<_> =
            run.ratios.iter().filter(|one| (one.group.as_str(), one.quantity.as_str()) == key).collect();
        let title = format!("{}: {}", ratio.group, ratio.quantity);
        figure(page, &title, &bars::ratios(&title, &together));
    }
}

fn figures(page: &mut String, run: &Run) {
    if run.series.is_empty() {
        return;
    }
    page.push_str("<h2>Figures</h2>\n");
    let mut groups: Vec<&str> = Vec::new();
    for series in &run.series {
        if !groups.contains(&series.group.as_str()) {
            groups.push(&series.group);
        }
    }
    for group in groups {
        let all: Vec<(&Series, Spread)> = run
            .series
            .iter()
            .filter(|series| series.group == group)
            .filter_map(|series| Some((series, series.spread?)))
            .collect();
        let Some((first, _)) = all.first() else { continue };
        let main: Vec<(&Series, Spread)> =
            all.iter().copied().filter(|(one, _)| one.figure == first.figure).collect();
        let title = format!("{group}: {}", first.figure.quantity);
        figure(page, &title, &bars::figures(&title, &main));
        page.push_str(
            "<table><tr><th></th><th>figure</th><th class=\"n\">median</th><th class=\"n\">least</th><th \
                       class=\"n\">most</th><th class=\"n\">rounds</th></tr>\n",
        );
        let mut last = "";
        for (series, spread) in &all {
            let name = if series.subject == last { "" } else { series.subject.as_str() };
            let unit = &series.figure.unit;
            let _ = writeln!(
                page,
                "<tr><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td \
                 class=\"n\">{}</td></tr>",
                escaped(name),
                escaped(&series.figure.quantity),
                escaped(&quantity(spread.median, unit)),
                escaped(&quantity(spread.least, unit)),
                escaped(&quantity(spread.most, unit)),
                series.rounds.len()
            );
            last = &series.subject;
        }
        page.push_str("</table>\n");
    }
}

fn latency(page: &mut String, run: &Run) {
    if run.latencies.is_empty() {
        return;
    }
    page.push_str("<h2>Latency by percentile</h2>\n<p class=\"caption\">All rounds together. Requests without an answer \
                   are in no percentile and counted apart.</p>\n");
    for group in groups(run.latencies.iter().map(|one| one.group.as_str())) {
        let together: Vec<_> = run.latencies.iter().filter(|one| one.group == group).collect();
        figure(page, group, &lines::percentiles(group, &together));
    }
}

fn curves(page: &mut String, run: &Run) {
    if run.curves.is_empty() {
        return;
    }
    page.push_str(
        "<h2>Offered load</h2>\n<p class=\"caption\">One dot a trial. The dashed line is where all that is \
                   offered arrives; upright lines are the loads found.</p>\n",
    );
    for group in groups(run.curves.iter().map(|one| one.group.as_str())) {
        let together: Vec<_> = run.curves.iter().filter(|one| one.group == group).collect();
        let title = format!("{group}: received");
        figure(page, &title, &lines::received(&title, &together));
        let title = format!("{group}: lost");
        figure(page, &title, &lines::loss(&title, &together));
    }
}

fn books(page: &mut String, run: &Run) {
    if run.books.is_empty() {
        return;
    }
    page.push_str("<h2>Where packets went</h2>\n<p class=\"caption\">All trials together: offered = received + dropped, by \
                   reason + lost, to the packet. What a sender's own kernel refused was not offered.</p>\n");
    for group in groups(run.books.iter().map(|one| one.group.as_str())) {
        let together: Vec<&Book> = run.books.iter().filter(|one| one.group == group).collect();
        figure(page, group, &bars::ends(group, &together));
        page.push_str(
            "<table><tr><th></th><th>end</th><th class=\"n\">packets</th><th class=\"n\">share</th></tr>\n",
        );
        for subject in groups(together.iter().map(|one| one.subject.as_str())) {
            ends(page, subject, &together);
        }
        page.push_str("</table>\n");
    }
}

/// The rows of one subject's sums.
fn ends(page: &mut String, subject: &str, books: &[&Book]) {
    let mine: Vec<&&Book> = books.iter().filter(|book| book.subject == subject).collect();
    let sum = |of: &dyn Fn(&Book) -> u64| mine.iter().fold(0_u64, |sum, book| sum.saturating_add(of(book)));
    let offered = sum(&|book| book.offered);
    let mut row = |name: &str, end: &str, packets: u64| {
        let share = 100.0 * packets as f64 / (offered as f64).max(1.0);
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td>{}</td><td class=\"n\">{packets}</td><td class=\"n\">{} %</td></tr>",
            escaped(name),
            escaped(end),
            human(share)
        );
    };
    row(subject, "offered", offered);
    row("", "received", sum(&|book| book.received));
    for reason in groups(mine.iter().flat_map(|book| book.dropped.keys()).map(String::as_str)) {
        row("", &format!("dropped: {reason}"), sum(&|book| book.dropped.get(reason).copied().unwrap_or(0)));
    }
    row("", "lost", sum(&|book| book.lost));
    let refused = sum(&|book| book.refused);
    if refused > 0 {
        row("", "refused by the sender's kernel, not offered", refused);
    }
}

fn figure(page: &mut String, title: &str, drawing: &str) {
    let _ = writeln!(page, "<figure><h3>{}</h3>\n{drawing}</figure>", escaped(title));
}

/// Colours and what they stand for.
fn legend(entries: &[(String, String)]) -> String {
    let mut text = String::from("<ul class=\"legend\">");
    for (class, name) in entries {
        let _ = write!(text, "<li><i class=\"{class}\"></i>{}</li>", escaped(name));
    }
    text.push_str("</ul>\n");
    text
}

/// Each once, in the order of their first appearance.
fn groups<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut found = Vec::new();
    for name in names {
        if !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

/// `2026-07-01 12:34`, by the days of the Gregorian calendar.
fn utc(seconds: u64) -> String {
    let (mut days, rest) = (seconds / 86_400, seconds % 86_400);
    let mut year = 1970_u64;
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    while days >= 365 + u64::from(leap(year)) && year < 9999 {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02} {:02}:{:02}", days + 1, rest / 3600, rest / 60 % 60)
}

/// Text that may stand in HTML and XML.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::{Curve, Environment, Figure, Latency, Point};
    use super::*;
    use hdrhistogram::Histogram;

    #[test]
    fn a_page_stands_alone_and_escapes_what_it_is_given() {
        let mut run = Run::begin("a <b> & c", 1, Environment::unknown());
        for value in [1.0, 2.0, 3.0] {
            run.add("g <script>", "weir", Figure::more("rate", "packet/s"), value);
            run.add("g <script>", "kernel", Figure::more("rate", "packet/s"), 2.0);
        }
        run.relate("g <script>", "rate", "weir", "kernel");
        let mut histogram = Histogram::new_with_bounds(1, 1_000_000_000, 3).unwrap();
        histogram.record(50_000).unwrap();
        run.latencies.push(Latency::of("g", "weir", &histogram, 1));
        let point = Point { load: 1e3, offered: 1000, received: 900, seconds: 1.0, loss_ratio: 0.1 };
        let found = vec![("NDR".to_owned(), 500.0)];
        run.curves.push(Curve { group: "g".into(), subject: "weir".into(), points: vec![point], found });
        run.books.push(Book { group: "g".into(), ..Book::close(10, 5, 0, &[("why".to_owned(), 2)]) });
        let page = page(&run);
        for part in ["Ratios", "Figures", "Latency by percentile", "Offered load", "Where packets went"] {
            assert!(page.contains(&format!("<h2>{part}</h2>")), "{part}");
        }
        assert!(!page.contains("<script") && !page.contains("http") && !page.contains("NaN"), "{page}");
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    }

    #[test]
    fn dates_follow_the_calendar() {
        assert_eq!(utc(0), "1970-01-01 00:00");
        assert_eq!(utc(951_782_400), "2000-02-29 00:00");
        assert_eq!(utc(1_767_225_599), "2025-12-31 23:59");
    }
}
