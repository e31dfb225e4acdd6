//! Figures for people: three digits and a prefix.

/// `11.8 Gbit/s`, `437 k packet/s`, `84.2 µs`.
pub fn quantity(value: f64, unit: &str) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("0 {unit}");
    }
    let (factor, name) = scale(value, unit);
    format!("{} {name}", human(value / factor))
}

/// The factor that makes a figure of this size easy to read, and the unit with its prefix.
pub(super) fn scale(value: f64, unit: &str) -> (f64, String) {
    const PREFIXES: [(f64, &str); 7] =
        [(1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n")];
    // Seconds go down, counts go up.
    let is_time = unit == "s" || unit.starts_with("s/");
    let fitting = PREFIXES.iter().find(|(factor, _)| {
        value.abs() >= *factor * 0.9995 && (if is_time { *factor <= 1.0 } else { *factor >= 1.0 })
    });
    let (factor, prefix) = fitting.copied().unwrap_or((1.0, ""));
    if unit == "byte" && !prefix.is_empty() {
        return (factor, format!("{prefix}B"));
    }
    let gap = if prefix.is_empty() || unit.starts_with("bit") || is_time { "" } else { " " };
    (factor, format!("{prefix}{gap}{unit}"))
}

/// Three significant digits, without a prefix.
pub fn human(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 || size == 0.0 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_as_people_write_them() {
        for (value, unit, text) in [
            (11.8e9, "bit/s", "11.8 Gbit/s"),
            (437_123.0, "packet/s", "437 k packet/s"),
            (84.2e-6, "s", "84.2 µs"),
            (0.5, "s/GB", "500 ms/GB"),
            (3.5e-6, "s/packet", "3.50 µs/packet"),
            (1.25, "core", "1.25 core"),
            (23_400.0, "byte", "23.4 kB"),
            (12.0, "byte", "12.0 byte"),
            (0.0, "s", "0 s"),
            (f64::NAN, "s", "0 s"),
        ] {
            assert_eq!(quantity(value, unit), text);
        }
    }
}
