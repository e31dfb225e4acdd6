//! The lines of a manifest in which a rule stands, for people. Found by indentation and brackets alone; nothing is
//! decided by them.

/// Most lines shown.
const MAX_LINES: usize = 12;
/// Most characters of a line shown: a manifest may be one line of JSON.
const MAX_WIDTH: usize = 160;

/// What stands at line and column (both from 1) of the text, its indentation removed; at most twelve lines.
/// `None` if there is no such line.
pub fn fragment(text: &str, line: u32, column: u32) -> Option<String> {
    let start = usize::try_from(line.checked_sub(1)?).ok()?;
    let column = usize::try_from(column.saturating_sub(1)).ok()?;
    let mut lines = text.lines().skip(start);
    let first = lines.next()?;
    // The dash of a list's element belongs to it.
    let head: String = first.chars().take(column).collect();
    let dash = head.trim_end().strip_suffix('-').map(|before| before.chars().count());
    let indent = dash.unwrap_or(column);
    let mut depth = brackets(&first.chars().skip(indent).collect::<String>());
    let mut shown = vec![cut(first, indent)];
    for line in lines {
        let inside = line.trim().is_empty() || line.chars().take_while(|&c| c == ' ').count() > indent;
        if depth <= 0 && !inside || shown.len() > MAX_LINES {
            break;
        }
        depth += brackets(line);
        shown.push(cut(line, indent));
    }
    if shown.len() > MAX_LINES {
        shown.truncate(MAX_LINES);
        shown.push("...".to_owned());
    }
    while shown.last().is_some_and(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        shown.pop();
    }
    Some(shown.join("\n"))
}

/// Brackets opened less brackets closed.
fn brackets(line: &str) -> i64 {
    line.chars().fold(0, |depth, c| match c {
        '{' | '[' => depth + 1,
        '}' | ']' => depth - 1,
        _ => depth,
    })
}

fn cut(line: &str, indent: usize) -> String {
    let blank = line.chars().take(indent).all(|c| c == ' ');
    let skip = if blank || line.trim_start().starts_with('-') { indent } else { 0 };
    let mut shown: String = line.chars().skip(skip).take(MAX_WIDTH).collect();
    if line.chars().count().saturating_sub(skip) > MAX_WIDTH {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::fragment;

    const TEXT: &str = "spec:\n  ingress:\n    - from:\n        - podSelector: {}\n      ports:\n        - port: 80\n    - {}\n";

    #[test]
    fn a_rule_ends_where_the_next_one_begins() {
        let shown = fragment(TEXT, 3, 7).unwrap_or_default();
        assert_eq!(shown, "- from:\n    - podSelector: {}\n  ports:\n    - port: 80");
        assert_eq!(fragment(TEXT, 7, 7).as_deref(), Some("- {}"));
    }

    #[test]
    fn a_flow_mapping_goes_to_its_last_bracket() {
        let text = "spec: {\n  ingress: [\n{from: [\n]}]}\nnext: 1\n";
        assert_eq!(fragment(text, 1, 7).as_deref().map(|shown| shown.lines().count()), Some(4));
    }

    #[test]
    fn what_is_not_there_has_no_fragment() {
        assert_eq!(fragment(TEXT, 0, 1), None);
        assert_eq!(fragment(TEXT, 99, 1), None);
        assert!(fragment(TEXT, 3, 9999).is_some());
    }

    #[test]
    fn long_lines_and_long_rules_are_cut() {
        let text = format!("- {}\n{}", "x".repeat(1000), "  y\n".repeat(100));
        let shown = fragment(&text, 1, 3).unwrap_or_default();
        assert!(shown.lines().count() <= 13 && shown.lines().all(|line| line.chars().count() < 200));
    }
}
