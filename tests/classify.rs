//! `weir classify` and `weir bench classifier` as people and scripts meet them.

use std::path::Path;
use std::process::{Command, Output};

fn weir(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(args)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .env("NO_COLOR", "1")
        .output()
        .expect("weir runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

const SAMPLE: [&str; 4] = ["--rules", "configs/rules/office.rules", "--trace", "configs/rules/office.trace"];

#[test]
fn each_packet_is_answered_by_its_first_rule_or_minus_one() {
    for engine in ["general", "linear"] {
        let output = weir(&[&["classify", "--engine", engine], &SAMPLE[..]].concat());
        assert_eq!(text(&output.stdout), "0\n1\n2\n3\n-1\n4\n", "{engine}");
        assert_eq!(output.status.code(), Some(0));
    }
}

#[test]
fn what_cannot_be_read_is_named_with_its_place_and_nothing_is_matched() {
    let directory = tempfile::tempdir().expect("a directory");
    let (rules, trace) = (directory.path().join("bad.rules"), directory.path().join("bad.trace"));
    std::fs::write(&rules, "@10.0.0.0/8 0.0.0.0/0 0 : 65535 90 : 80 0x06/0xFF\n").expect("written");
    std::fs::write(&trace, "1 2 3 4 5\n1 2 3\n").expect("written");
    let (rules, trace) = (rules.display().to_string(), trace.display().to_string());
    for command in [&["classify"][..], &["bench", "classifier"]] {
        let output = weir(&[command, &["--rules", &rules, "--trace", &trace]].concat());
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(text(&output.stdout), "");
        let errors = text(&output.stderr);
        assert!(
            errors.contains(&format!("{rules}:1:33: destination ports: 90 : 80 is reversed")),
            "{errors}"
        );
        assert!(errors.contains(&format!("{trace}:2:6: destination port: expected a number")), "{errors}");
    }
    let output = weir(&["classify", "--rules", "nowhere.rules", "--trace", &trace]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).starts_with("weir: cannot read the rules in nowhere.rules"));
}

#[test]
fn a_bench_says_where_it_was_measured_and_that_its_answers_are_right() {
    for (kind, size) in [("fw", "200"), ("k8s", "20")] {
        let bench =
            ["bench", "classifier", "--generate", kind, "--size", size, "--packets", "300", "-o", "json"];
        let output = weir(&[&bench[..], &["--updates", "40", "--milliseconds", "1"]].concat());
        assert_eq!(output.status.code(), Some(0), "{kind}: {}", text(&output.stderr));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(report["checked"], 300, "{kind}");
        assert!(report["environment"]["cpu"].is_string());
        assert_eq!(report["engines"][0]["lookups"].as_array().map(Vec::len), Some(3), "{kind}");
        let updates = &report["engines"][0]["updates"]["p99_us"];
        assert_eq!(updates.is_number(), kind != "k8s", "{kind}");
    }
}

#[test]
fn the_chart_of_a_sweep_is_drawn_again_from_its_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("classifier-2026-01-01.json");
    let rate = serde_json::json!({"median": 20.0, "least": 18.5, "most": 21.0});
    let point = serde_json::json!({
        "rules": 100, "parameters": "", "build_ms": 1.5, "memory_bytes": 4096, "uniform": rate, "zipf": rate,
    });
    let record = serde_json::json!({
        "date": "2026-01-01", "environment": {"cpu": "some"}, "seed": 1, "run_milliseconds": 200, "runs": 5,
        "burst": 32, "packets": 16384,
        "series": [{"engine": "general", "set": "acl", "points": [point]}],
    });
    std::fs::write(&file, record.to_string()).expect("written");
    let redraw = |file: &Path| weir(&["bench", "classifier", "--redraw", &file.to_string_lossy()]);
    let output = redraw(&file);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let chart = std::fs::read_to_string(file.with_extension("svg")).expect("a chart");
    assert!(chart.contains("general, acl, 100 rules: 20.000 M/s (18.500 to 21.000)"), "{chart}");

    std::fs::write(&file, "{}").expect("written");
    let output = redraw(&file);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("is not a file of a sweep"), "{}", text(&output.stderr));
}
