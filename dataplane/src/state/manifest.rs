//! One file of the directory, read once it is at rest: which objects it holds, and what is wrong with it.
//!
//! What could be read while it changes is not taken for its contents: a file with a writer, or that is not the same after
//! the reading, is [`Moving`]. A file that cannot be read is a problem in its place.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use policy_compiler::{Diagnostic, Object, ObjectKey, Origin, Severity, parse};

use super::listing::Fingerprint;
use crate::sys::lease::{Writers, writers};

/// The largest manifest that is read.
pub const MAX_FILE_BYTES: u64 = 1 << 30;

/// A file as it was last read.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) fingerprint: Fingerprint,
    pub(super) keys: Vec<(ObjectKey, Origin)>,
    /// The objects, while they are still to be handed out.
    pub(super) objects: Vec<Object>,
    /// Whether they were handed out but for those another file has precedence for.
    pub(super) handed_out: bool,
    pub(super) diagnostics: Vec<Diagnostic>,
    pub(super) skipped: BTreeMap<String, usize>,
}

impl Manifest {
    /// A part of it is so broken that nobody knows which objects it holds.
    pub(super) fn is_broken(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.is_error() && diagnostic.object.is_none())
    }
}

/// The file is not at rest.
pub(super) struct Moving;

/// Reads a file that was listed with this fingerprint, if it is at rest and still that one.
pub(super) fn read(path: &Path, fingerprint: Fingerprint) -> Result<Manifest, Moving> {
    let name = path.to_string_lossy();
    let mut manifest = Manifest {
        fingerprint,
        keys: Vec::new(),
        objects: Vec::new(),
        handed_out: false,
        diagnostics: Vec::new(),
        skipped: BTreeMap::new(),
    };
    let text = match contents(path, fingerprint)? {
        Ok(text) => text,
        Err(problem) => {
            manifest.diagnostics.push(problem);
            return Ok(manifest);
        }
    };
    let parsed = parse(&name, &text);
    manifest.keys =
        parsed.objects.iter().map(|object| (object.key().clone(), object.origin().clone())).collect();
    manifest.objects = parsed.objects;
    manifest.diagnostics = parsed.diagnostics;
    manifest.skipped = parsed.skipped;
    if manifest.keys.is_empty() && manifest.diagnostics.is_empty() && manifest.skipped.is_empty() {
        // What a file looks like just after it was opened for rewriting.
        let message = "holds no object: expected at least one; remove the file if there is to be none";
        manifest.diagnostics.push(of_file(path, message));
    }
    Ok(manifest)
}

/// The text, or what stands in the way of it.
fn contents(path: &Path, fingerprint: Fingerprint) -> Result<Result<String, Diagnostic>, Moving> {
    let failed = |message: String| Ok(Err(of_file(path, &message)));
    let unreadable = |error: io::Error| Ok(Err(of_file(path, &format!("cannot be read: {error}"))));
    let size = fingerprint.size();
    if size > MAX_FILE_BYTES {
        return failed(format!("has {size} bytes: expected at most {MAX_FILE_BYTES}; split it"));
    }
    // Should a pipe have taken the file's place since it was listed, nobody waits for its writer.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let mut file = match file {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Moving),
        Err(error) => return unreadable(error),
    };
    if writers(&file) == Writers::Some {
        return Err(Moving);
    }
    let mut bytes = Vec::new();
    // One byte more than there should be, so that growing is seen and not followed.
    let limit = size.saturating_add(1);
    if let Err(error) = bytes.try_reserve_exact(usize::try_from(limit).unwrap_or(usize::MAX)) {
        return failed(format!("cannot be read: {size} bytes: {error}"));
    }
    if let Err(error) = (&mut file).take(limit).read_to_end(&mut bytes) {
        return unreadable(error);
    }
    let unchanged = file.metadata().is_ok_and(|now| Fingerprint::of(&now) == fingerprint);
    if !unchanged || writers(&file) == Writers::Some {
        return Err(Moving);
    }
    Ok(String::from_utf8(bytes).map_err(|error| {
        let valid = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        not_utf8(path, error.as_bytes(), &String::from_utf8_lossy(valid))
    }))
}

/// `valid`: the text before what is none.
fn not_utf8(path: &Path, bytes: &[u8], valid: &str) -> Diagnostic {
    let line = valid.split('\n').count();
    let column = valid.rsplit('\n').next().map_or(0, |line| line.chars().count()).saturating_add(1);
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    // Byte order marks of UTF-16, as some editors on Windows write them.
    let utf16 = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
    let mut problem = of_file(path, "is not UTF-8 text");
    problem.origin.line = number(line);
    problem.origin.column = number(column);
    problem.expected = Some("YAML or JSON".to_owned());
    problem.help =
        Some(if utf16 { "it seems to be UTF-16: save it as UTF-8" } else { "save it as UTF-8" }.to_owned());
    problem
}

/// A problem of the file as a whole.
pub(super) fn of_file(path: &Path, message: &str) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        origin: Origin::of_file(&path.to_string_lossy()),
        object: None,
        field: String::new(),
        message: message.to_owned(),
        expected: None,
        help: None,
    }
}
