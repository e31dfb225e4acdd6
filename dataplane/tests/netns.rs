//! Names of namespaces are made and removed by many at once, also where none was ever made.

use std::path::Path;
use std::process::Command;

use dataplane::sys::netns::{NETNS_DIRECTORY, Netns};

/// Set for the process in a mount namespace of its own.
const INSIDE: &str = "WEIR_TEST_INSIDE";

/// The first names after a boot: who makes one also makes their directory a mount point, and there must be one only,
/// or names that were made between two mounts can never be removed.
#[test]
fn the_first_names_may_be_made_at_the_same_time() {
    // It hides /run, so never but in a mount namespace of its own.
    if std::env::var_os(INSIDE).is_some() {
        return make_the_first_names();
    }
    let own = ["--mount", "--propagation", "private", "--"];
    let may = Command::new("unshare").args(own).arg("true").output().unwrap();
    if !may.status.success() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "under CI this may not be skipped: {may:?}");
        println!(
            "skipped: no right to a mount namespace of its own: {}",
            String::from_utf8_lossy(&may.stderr)
        );
        return;
    }
    let output = Command::new("unshare")
        .args(own)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "the_first_names_may_be_made_at_the_same_time"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

fn make_the_first_names() {
    for round in 0..50 {
        let fresh = Command::new("mount").args(["-t", "tmpfs", "none", "/run"]).status().unwrap();
        assert!(fresh.success());
        // Hidden ones are listed too.
        let hidden = mounts();
        let makers: Vec<_> = (0..8)
            .map(|number| {
                std::thread::spawn(move || {
                    let name = format!("weir-test-{round}-{number}");
                    Netns::create(&name)?;
                    Netns::delete(&name)
                })
            })
            .collect();
        let made: Result<Vec<()>, _> = makers.into_iter().map(|maker| maker.join().unwrap()).collect();
        assert!(made.is_ok(), "round {round}: {made:?}");
        assert_eq!(mounts(), hidden + 1, "round {round}: the directory is mounted over itself once");
        assert_eq!(std::fs::read_dir(Path::new(NETNS_DIRECTORY)).unwrap().count(), 0);
    }
}

/// How many mounts this mount namespace has where names of namespaces are.
fn mounts() -> usize {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().filter(|line| line.split(' ').nth(4) == Some(NETNS_DIRECTORY)).count()
}
