//! Passes every seed, and every input that once made a target fail, through its target: no fuzzer needed.
//!
//! `cargo test --no-default-features` in `fuzz/`; `weir`'s own toolchain does.

use std::path::{Path, PathBuf};

use weir_fuzz::TARGETS;

fn inputs(kind: &str, target: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(kind).join(target);
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable directory").path()).collect();
    files.sort();
    files
}

fn replay(kind: &str, target: &str, run: fn(&[u8])) -> usize {
    let files = inputs(kind, target);
    for file in &files {
        println!("{}", file.display());
        run(&std::fs::read(file).expect("a readable file"));
    }
    files.len()
}

#[test]
fn every_target_has_seeds_and_passes_them() {
    for (target, run) in TARGETS {
        assert!(replay("seeds", target, run) > 0, "no seeds/{target}");
    }
}

#[test]
fn what_once_failed_passes() {
    for (target, run) in TARGETS {
        replay("regressions", target, run);
    }
}

#[test]
fn inputs_belong_to_a_target() {
    for kind in ["seeds", "regressions"] {
        let Ok(entries) = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(kind)) else {
            continue;
        };
        for entry in entries {
            let name = entry.expect("a readable directory").file_name();
            assert!(TARGETS.iter().any(|(target, _)| name.to_str() == Some(target)), "{kind}/{name:?}");
        }
    }
}

#[test]
fn short_inputs_pass_every_target() {
    for (_, run) in TARGETS {
        run(&[]);
        for byte in (0..=u8::MAX).step_by(5) {
            run(&[byte]);
            run(&[byte; 40]);
        }
    }
}
