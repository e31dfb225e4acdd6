//! Which manifests a directory holds, and a fingerprint of each that changes when its content does.
//!
//! Symbolic links are followed: a mounted ConfigMap is `policy.yaml -> ..data/policy.yaml` with `..data` swapped
//! as a whole. Hidden files and directories are skipped, so what lies in `..data` is found once.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How deep subdirectories may nest.
const MAX_DEPTH: usize = 16;

/// What tells one content of a path from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// Not settable from user space, unlike `modified`.
    changed: (i64, i64),
}

impl Fingerprint {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    pub(super) const fn size(&self) -> u64 {
        self.size
    }
}

/// The manifests of a directory.
pub(super) type Listing = BTreeMap<PathBuf, Fingerprint>;

/// Why a directory could not be listed.
#[derive(Debug)]
pub(super) enum ListError {
    /// It is in motion: what was listed was gone a moment later.
    Moving(PathBuf),
    /// It cannot be listed.
    Failed {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong, for people.
        message: String,
    },
}

/// Lists the manifests under `root`.
pub(super) fn list(root: &Path) -> Result<Listing, ListError> {
    let failed = |message: String| ListError::Failed { path: root.to_owned(), message };
    let metadata = match fs::metadata(root) {
        Ok(metadata) if metadata.is_dir() => metadata,
        Ok(_) => return Err(failed("is not a directory: expected the directory of manifests".to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(failed(
                "there is no such directory: expected the directory of manifests; \
                 a missing directory is not taken for an empty cluster"
                    .to_owned(),
            ));
        }
        Err(error) => return Err(failed(format!("cannot be read: {error}"))),
    };
    let mut listing = Listing::new();
    walk(root, &mut vec![(metadata.dev(), metadata.ino())], &mut listing)?;
    Ok(listing)
}

fn walk(directory: &Path, ancestors: &mut Vec<(u64, u64)>, listing: &mut Listing) -> Result<(), ListError> {
    let entries = fs::read_dir(directory).map_err(|error| sort_out(directory, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| sort_out(directory, &error))?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        let is_manifest = is_manifest(&path);
        // A file that is no manifest need not be looked at, unless it is a link, which may lead to a directory.
        if !is_manifest && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(_) if !is_manifest => continue,
            Err(error) => return Err(sort_out(&path, &error)),
        };
        if metadata.is_dir() {
            let identity = (metadata.dev(), metadata.ino());
            // A link back to a directory we are in.
            if ancestors.contains(&identity) {
                continue;
            }
            if ancestors.len() > MAX_DEPTH {
                let message = format!("is nested too deep: expected at most {MAX_DEPTH} directories");
                return Err(ListError::Failed { path, message });
            }
            ancestors.push(identity);
            walk(&path, ancestors, listing)?;
            ancestors.pop();
        } else if is_manifest && metadata.is_file() {
            listing.insert(path, Fingerprint::of(&metadata));
        } else if is_manifest {
            // A pipe or a device may never end; passed over, it might be the policy that somebody relies on.
            let message = "is no regular file: expected YAML or JSON; \
                           rename it if it is not to be read as a manifest"
                .to_owned();
            return Err(ListError::Failed { path, message });
        }
    }
    Ok(())
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml" || extension == "json")
}

fn sort_out(path: &Path, error: &io::Error) -> ListError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::StaleNetworkFileHandle => ListError::Moving(path.to_owned()),
        _ => ListError::Failed { path: path.to_owned(), message: format!("cannot be read: {error}") },
    }
}
