//! `weir doctor` on the host that runs the tests.

mod support;

use support::{text, weir};

#[test]
fn the_doctor_says_of_this_host_whether_weir_can_run_and_why_not() {
    let output = weir(&["doctor", "-o", "json"]);
    let report: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output)));
    let can_run = report["can_run"].as_bool().unwrap();
    assert_eq!(output.status.code(), Some(i32::from(!can_run)));
    let findings = report["findings"].as_array().unwrap();
    let blocks = findings.iter().filter(|finding| finding["standing"] == "blocks").count();
    assert_eq!(blocks == 0, can_run);
    for finding in findings.iter().filter(|finding| finding["standing"] != "found") {
        assert!(finding["remedy"].is_string(), "{finding}");
    }
    println!("{}", text(&weir(&["doctor"])));
}
