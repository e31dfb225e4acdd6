//! A directory of manifests as a source of objects: what came, what changed and what went since the last scan.
//!
//! A scan must not mistake a moment in the middle of a change for the change. So what differs from the last
//! scan has to be at rest: no writer has it open, two looks 20 ms apart find the same, and it is the
//! same after the reading. Until then the scan answers [`ScanError::Unsettled`]: look again soon. A directory
//! that does not come to rest for two seconds is an error.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use policy_compiler::{Diagnostic, Object, ObjectKey, OnInvalid, Origin, Severity};

use super::listing::{Fingerprint, ListError, Listing, list};
use super::manifest::{Manifest, Moving, of_file, read};

/// How long what changed has to be at rest.
const SETTLE: Duration = Duration::from_millis(20);
/// How long the directory may be in motion before that is an error.
const PATIENCE: Duration = Duration::from_secs(2);

/// What became different since the last scan that succeeded.
#[derive(Debug, Default)]
pub struct Changes {
    /// Objects that are new or in a file that changed.
    pub upserts: Vec<Object>,
    /// Objects that are gone.
    pub deletes: Vec<ObjectKey>,
    /// What is wrong in the directory all the same: with [`OnInvalid::Isolate`] only. Of the whole directory,
    /// not only of what changed, as are the next two.
    pub problems: Vec<Diagnostic>,
    /// What is valid but deserves a look.
    pub warnings: Vec<Diagnostic>,
    /// Objects of kinds that weir does not use, by kind.
    pub skipped: BTreeMap<String, usize>,
}

impl Changes {
    /// Whether the objects are those of the scan before.
    pub fn is_empty(&self) -> bool {
        self.upserts.is_empty() && self.deletes.is_empty()
    }
}

/// Why a scan changed nothing.
#[derive(Debug)]
#[non_exhaustive]
pub enum ScanError {
    /// The directory is not valid; everything that is wrong with it.
    Invalid(Vec<Diagnostic>),
    /// Somebody is writing. Scan again soon (some 20 ms); after two seconds it becomes an error.
    Unsettled {
        /// What is in motion.
        path: PathBuf,
    },
}

/// A directory of manifests.
#[derive(Debug)]
pub struct DirectorySource {
    root: PathBuf,
    files: BTreeMap<PathBuf, Manifest>,
    /// What was handed out, and the file it came from.
    applied: BTreeMap<ObjectKey, PathBuf>,
    /// Since when the directory has been in motion.
    moving_since: Option<Instant>,
    /// The mode of the last scan, if that succeeded.
    settled: Option<OnInvalid>,
}

impl DirectorySource {
    /// A source that has handed out nothing yet. The directory is first looked at by [`Self::scan`].
    pub fn open(directory: &Path) -> Self {
        Self {
            root: directory.to_owned(),
            files: BTreeMap::new(),
            applied: BTreeMap::new(),
            moving_since: None,
            settled: None,
        }
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.root
    }

    /// Looks at the directory and hands out what is different. May sleep 20 ms, and takes as long as
    /// the reading of changed files takes.
    ///
    /// With [`OnInvalid::Isolate`] errors within an object are left to the compiler, a file that can no longer be
    /// read keeps the objects it had, and of two objects of one name the one handed out earlier stays. A
    /// file that cannot be read and of which nothing is known fails the scan even so: it may hold the policy that
    /// the others rely on.
    ///
    /// # Errors
    /// Everything that is wrong with the directory, or that it is in motion. Nothing has changed then.
    pub fn scan(&mut self, on_invalid: OnInvalid) -> Result<Changes, ScanError> {
        let outcome = self.look().and_then(|read| {
            self.moving_since = None;
            if !read && self.settled == Some(on_invalid) {
                Ok(self.report())
            } else {
                self.evaluate(on_invalid)
            }
        });
        self.settled = outcome.is_ok().then_some(on_invalid);
        outcome
    }

    /// Reads what changed; whether anything did.
    fn look(&mut self) -> Result<bool, ScanError> {
        let listing = self.list()?;
        let (touched, vanished) = self.differences(&listing);
        if touched.is_empty() && vanished.is_empty() {
            return Ok(false);
        }
        thread::sleep(SETTLE);
        let again = self.list()?;
        if let Some(path) = touched.iter().find(|path| listing.get(*path) != again.get(*path)) {
            return Err(self.unsettled(path));
        }
        // A file on its way from one name to another must not be missed under both.
        if self.differences(&again).1 != vanished || again.len() != listing.len() {
            let root = self.root.clone();
            return Err(self.unsettled(&root));
        }
        for path in touched {
            if let Some(fingerprint) = again.get(&path) {
                match read(&path, *fingerprint) {
                    Ok(manifest) => drop(self.files.insert(path, manifest)),
                    Err(Moving) => return Err(self.unsettled(&path)),
                }
            }
        }
        for path in vanished {
            self.files.remove(&path);
        }
        Ok(true)
    }

    fn list(&mut self) -> Result<Listing, ScanError> {
        match list(&self.root) {
            Ok(listing) if listing.is_empty() => Err(invalid(
                &self.root,
                "the state directory holds no manifest (*.yaml, *.yml, *.json): expected at least one; \
                 an empty directory is not taken for an empty cluster",
            )),
            Ok(listing) => Ok(listing),
            Err(ListError::Moving(path)) => Err(self.unsettled(&path)),
            Err(ListError::Failed { path, message }) => Err(invalid(&path, &message)),
        }
    }

    /// New or changed files, and those that are gone.
    fn differences(&self, listing: &Listing) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let same = |path: &PathBuf, fingerprint: &Fingerprint| {
            self.files.get(path).is_some_and(|known| known.fingerprint == *fingerprint)
        };
        let touched =
            listing.iter().filter(|(path, at)| !same(path, at)).map(|(path, _)| path.clone()).collect();
        let vanished = self.files.keys().filter(|path| !listing.contains_key(*path)).cloned().collect();
        (touched, vanished)
    }

    fn unsettled(&mut self, path: &Path) -> ScanError {
        let since = *self.moving_since.get_or_insert_with(Instant::now);
        if since.elapsed() < PATIENCE {
            return ScanError::Unsettled { path: path.to_owned() };
        }
        invalid(
            path,
            &format!(
                "has been in motion for {} seconds: expected it to be written and closed, \
                 or written under a hidden name and renamed",
                PATIENCE.as_secs()
            ),
        )
    }

    /// The changes where there are none.
    fn report(&self) -> Changes {
        let mut changes = Changes::default();
        for manifest in self.files.values() {
            for diagnostic in &manifest.diagnostics {
                if diagnostic.is_error() {
                    changes.problems.push(diagnostic.clone());
                } else {
                    changes.warnings.push(diagnostic.clone());
                }
            }
            for (kind, count) in &manifest.skipped {
                *changes.skipped.entry(kind.clone()).or_default() += count;
            }
        }
        changes.problems.extend(self.duplicates());
        changes
    }

    /// Compares what the files hold with what was handed out.
    fn evaluate(&mut self, on_invalid: OnInvalid) -> Result<Changes, ScanError> {
        let mut changes = self.report();
        let refused = match on_invalid {
            OnInvalid::Refuse => !changes.problems.is_empty(),
            OnInvalid::Isolate => {
                self.files.iter().any(|(path, file)| file.is_broken() && !self.owns_any(path))
            }
        };
        if refused {
            return Err(ScanError::Invalid(changes.problems));
        }

        let mut next: BTreeMap<ObjectKey, PathBuf> = BTreeMap::new();
        for (path, file) in &self.files {
            for (key, _) in &file.keys {
                // The first file has precedence, but for one whose object is in force.
                if !next.contains_key(key) || self.applied.get(key) == Some(path) {
                    next.insert(key.clone(), path.clone());
                }
            }
        }
        for (key, path) in &self.applied {
            if self.files.get(path).is_some_and(Manifest::is_broken) {
                next.entry(key.clone()).or_insert_with(|| path.clone());
            }
        }
        if next.is_empty() {
            return Err(invalid(
                &self.root,
                "the manifests hold no Namespace, Node, Pod or NetworkPolicy: expected at least one; \
                 an empty directory is not taken for an empty cluster",
            ));
        }

        changes.deletes = self.applied.keys().filter(|key| !next.contains_key(*key)).cloned().collect();
        for (path, file) in &mut self.files {
            let mut seen = BTreeSet::new();
            let mut kept = Vec::new();
            for object in std::mem::take(&mut file.objects) {
                let key = object.key();
                let wins = next.get(key) == Some(path) && seen.insert(key.clone());
                if !wins {
                    kept.push(object);
                } else if !file.handed_out || self.applied.get(key) != Some(path) {
                    changes.upserts.push(object);
                }
            }
            file.handed_out = true;
            file.objects = kept;
        }
        self.applied = next;
        Ok(changes)
    }

    fn owns_any(&self, path: &Path) -> bool {
        self.applied.values().any(|owner| owner == path)
    }

    /// One problem for each object that is there a second time.
    fn duplicates(&self) -> Vec<Diagnostic> {
        let mut first: BTreeMap<&ObjectKey, &Origin> = BTreeMap::new();
        let mut problems = Vec::new();
        for (key, origin) in self.files.values().flat_map(|file| &file.keys) {
            match first.get(key) {
                None => drop(first.insert(key, origin)),
                Some(other) => problems.push(Diagnostic {
                    severity: Severity::Error,
                    origin: origin.clone(),
                    object: Some(key.clone()),
                    field: String::new(),
                    message: format!("is also defined at {other}"),
                    expected: Some("each object once".to_owned()),
                    help: Some("remove one of them".to_owned()),
                }),
            }
        }
        problems
    }
}

fn invalid(path: &Path, message: &str) -> ScanError {
    ScanError::Invalid(vec![of_file(path, message)])
}
