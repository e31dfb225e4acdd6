//! Lines of the control socket: no panic, and a request that is understood means the same when written again.

use dataplane::control::Request;

/// One input.
pub fn run(line: &[u8]) {
    let Ok(request) = serde_json::from_slice::<Request>(line) else { return };
    let written = serde_json::to_vec(&request).expect("what was read can be written");
    assert!(!written.contains(&b'\n'), "a request is one line");
    let again = serde_json::from_slice::<Request>(&written).expect("and read again");
    assert_eq!(again, request);
}
