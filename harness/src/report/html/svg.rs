//! An SVG drawing under construction: lines, boxes and words, with the page's style classes.

use std::fmt::Write as _;

use super::escaped;

/// Where a text begins, relative to its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A drawing.
#[derive(Debug)]
pub(super) struct Svg {
    body: String,
    width: f64,
    height: f64,
    title: String,
}

impl Svg {
    /// An empty drawing; `title` is read to those who cannot see it.
    pub(super) fn new(width: f64, height: f64, title: &str) -> Self {
        Self { body: String::new(), width, height, title: title.to_owned() }
    }

    pub(super) fn line(&mut self, class: &str, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2]) {
        let _ = writeln!(
            self.body,
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        );
    }

    /// A box with a text that shows when the pointer rests on it.
    pub(super) fn bar(&mut self, class: &str, [x, y]: [f64; 2], [width, height]: [f64; 2], hover: &str) {
        let (x, width) = if width < 0.0 { (x + width, -width) } else { (x, width) };
        let _ = writeln!(
            self.body,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"><title>{}</title></rect>",
            escaped(hover)
        );
    }

    pub(super) fn text(&mut self, class: &str, [x, y]: [f64; 2], anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let _ = writeln!(
            self.body,
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>",
            escaped(text)
        );
    }

    /// A line through points.
    pub(super) fn path(&mut self, class: &str, points: &[[f64; 2]]) {
        let points = points.iter().map(|[x, y]| format!("{x:.1},{y:.1} ")).collect::<Vec<_>>().concat();
        let _ = writeln!(self.body, "<polyline class=\"line {class}\" points=\"{}\"/>", points.trim_end());
    }

    pub(super) fn dot(&mut self, class: &str, [x, y]: [f64; 2], hover: &str) {
        let _ = writeln!(
            self.body,
            "<circle class=\"dot {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"><title>{}</title></circle>",
            escaped(hover)
        );
    }

    /// The drawing.
    pub(super) fn finish(self) -> String {
        let Self { body, width, height, title } = self;
        format!(
            "<svg viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" role=\"img\" aria-label=\"{}\">\n{body}</svg>\n",
            escaped(&title)
        )
    }
}

/// The style class of the `number`th of several subjects.
pub(super) fn colour(number: usize) -> String {
    const COLOURS: usize = 8;
    format!("c{}", number % COLOURS)
}
