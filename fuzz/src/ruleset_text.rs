//! Rule sets and traces as text: no panic, problems lie within the text, and what was read means the same when it is
//! written and read again.

use policy_compiler::ruleset::text::{MAX_PROBLEMS, Problem, rules, trace, write_rule, write_tuple};

/// One input.
pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match rules("fuzzed.rules", text) {
        Ok(read) => {
            let lines: Vec<String> = read.iter().map(write_rule).collect();
            assert_eq!(rules("written.rules", &lines.join("\n")), Ok(read));
        }
        Err(problems) => within(text, &problems),
    }
    match trace("fuzzed.trace", text) {
        Ok(read) => {
            let lines: Vec<String> = read.iter().map(write_tuple).collect();
            assert_eq!(trace("written.trace", &lines.join("\n")), Ok(read));
        }
        Err(problems) => within(text, &problems),
    }
}

fn within(text: &str, problems: &[Problem]) {
    assert!((1..=MAX_PROBLEMS).contains(&problems.len()));
    for problem in problems {
        let line = text.lines().nth(problem.origin.line as usize - 1);
        let columns = line.unwrap_or_else(|| panic!("{problem}: no such line")).chars().count();
        assert!((1..=columns + 1).contains(&(problem.origin.column as usize)), "{problem}");
        assert!(!problem.message.is_empty());
    }
}
