//! `report.html`: one file, plots as SVG, styles within, no scripts, nothing loaded from elsewhere.

use super::Run;

/// The page of a run.
pub(super) fn page(run: &Run) -> String {
    format!("<!doctype html>\n<title>{}</title>\n", escaped(&run.title))
}

/// Text that may stand in HTML and XML.
fn escaped(text: &str) -> String {
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
