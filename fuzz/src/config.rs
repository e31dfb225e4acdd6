//! Node configurations: no panic, whatever the text, and each problem can be shown.

use std::path::Path;

use dataplane::config::Config;

/// One input.
pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match Config::parse(text, Path::new("/etc/weir/node.yaml")) {
        Ok(config) => assert!(!format!("{config:?}").is_empty()),
        Err(error) => assert!(!error.to_string().is_empty(), "a problem that says nothing"),
    }
}
