//! `docs/drop-reasons.md` says what the enum says: it is generated from [`DropReason`], and this test is the
//! generator. `UPDATE=1 cargo test -p dataplane --test docs` writes the page anew.

use std::fmt::Write as _;
use std::path::PathBuf;

use dataplane::drop_reason::{DropReason, Group};

const HEAD: &str = "\
<!-- Generated from dataplane/src/drop_reason.rs: UPDATE=1 cargo test -p dataplane --test docs -->

# Drop reasons

A packet that weir does not forward and does not answer itself ends under exactly one of these reasons. The names are
stable: they stand in `weir status`, in logs and in metrics. For all packets together

    received = forwarded + answered + dropped + held

where *held* are fragments that wait for the first of their datagram. `weir status` shows the reasons that are not 0.
";

fn page() -> String {
    let mut page = HEAD.to_owned();
    for group in Group::ALL {
        let _ = write!(page, "\n## {}\n\n{}\n\n", group.title(), group.introduction());
        page.push_str("| name | meaning | what to look at |\n| --- | --- | --- |\n");
        for reason in DropReason::ALL.iter().filter(|reason| reason.group() == group) {
            let cells = [reason.description(), reason.advice()].map(|cell| cell.replace('|', "\\|"));
            let _ = writeln!(page, "| `{}` | {} | {} |", reason.name(), cells[0], cells[1]);
        }
    }
    page
}

#[test]
fn the_page_of_drop_reasons_is_what_the_enum_says() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/drop-reasons.md");
    let page = page();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, page).unwrap();
        return;
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/drop-reasons.md is out of date; run: UPDATE=1 cargo test -p dataplane --test docs"
    );
}

#[test]
fn every_reason_is_in_a_group_that_is_shown() {
    for reason in DropReason::ALL {
        assert!(Group::ALL.contains(&reason.group()), "{reason}");
        assert!(reason.advice().ends_with('.'), "{reason}: a sentence");
    }
}
