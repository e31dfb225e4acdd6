//! That a change is told, whichever way it comes about.

use super::Watcher;
use crossbeam::channel::{Receiver, bounded};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Longer than the look once a second takes.
const PATIENCE: Duration = Duration::from_secs(5);

fn watch(directory: &Path) -> (Watcher, Receiver<()>) {
    let (sender, receiver) = bounded(64);
    let watcher = Watcher::start(directory, move || {
        // Full says as much as one more.
        let _ = sender.try_send(());
    })
    .unwrap();
    // The watches stand a moment later.
    std::thread::sleep(Duration::from_millis(200));
    while receiver.try_recv().is_ok() {}
    (watcher, receiver)
}

#[test]
fn a_written_file_is_told_at_once() {
    let root = tempfile::tempdir().unwrap();
    let (_watcher, told) = watch(root.path());
    fs::write(root.path().join("a.yaml"), "a").unwrap();
    told.recv_timeout(Duration::from_millis(800)).unwrap();
}

#[test]
fn reading_tells_nothing() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("a.yaml"), "a").unwrap();
    let (_watcher, told) = watch(root.path());
    fs::read(root.path().join("a.yaml")).unwrap();
    assert!(told.recv_timeout(Duration::from_millis(1500)).is_err());
}

#[test]
fn a_burst_of_writes_is_told_a_few_times_only() {
    let root = tempfile::tempdir().unwrap();
    let (_watcher, told) = watch(root.path());
    for index in 0..200 {
        fs::write(root.path().join(format!("{index}.yaml")), "a").unwrap();
    }
    told.recv_timeout(PATIENCE).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert!(told.try_iter().count() < 40);
}

#[test]
fn a_directory_that_is_removed_and_made_anew_is_still_watched() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("state");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("a.yaml"), "a").unwrap();
    let (_watcher, told) = watch(&directory);
    fs::remove_dir_all(&directory).unwrap();
    told.recv_timeout(PATIENCE).unwrap();
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("a.yaml"), "b").unwrap();
    told.recv_timeout(PATIENCE).unwrap();
    // Once the watches have moved to the new directory.
    std::thread::sleep(Duration::from_millis(1500));
    while told.try_recv().is_ok() {}
    fs::write(directory.join("b.yaml"), "c").unwrap();
    told.recv_timeout(Duration::from_millis(800)).unwrap();
}

#[test]
fn a_link_that_is_turned_elsewhere_is_told() {
    let root = tempfile::tempdir().unwrap();
    for (name, text) in [("one", "1"), ("two", "22")] {
        fs::create_dir(root.path().join(name)).unwrap();
        fs::write(root.path().join(name).join("a.yaml"), text).unwrap();
    }
    let link = root.path().join("state");
    std::os::unix::fs::symlink("one", &link).unwrap();
    let (_watcher, told) = watch(&link);
    std::os::unix::fs::symlink("two", root.path().join("next")).unwrap();
    fs::rename(root.path().join("next"), &link).unwrap();
    told.recv_timeout(PATIENCE).unwrap();
}

#[test]
fn dropping_the_watcher_ends_its_thread_at_once() {
    let root = tempfile::tempdir().unwrap();
    let (watcher, _told) = watch(root.path());
    let start = std::time::Instant::now();
    drop(watcher);
    assert!(start.elapsed() < Duration::from_millis(500));
}
