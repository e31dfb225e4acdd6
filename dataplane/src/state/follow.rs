//! Keeps the compiled policies in step with the state directory.
//!
//! One of two modes, as configured. `refuse`: a directory with an error changes nothing. `isolate`: what
//! cannot be read is denied, the rest comes into force. At start there is nothing that could stay as it is, so
//! even `refuse` begins by isolating: as long as there has not been a directory without errors, what is known of it
//! is put in force, and the status says `degraded`.
//!
//! What is sound and does not fit is isolated in either mode: nobody could have told its author, and it must not hold back
//! what others change.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use policy_compiler::{Compiled, Compiler, Diagnostic, OnInvalid, OnTooLarge, Options, Scope};

use super::source::{Changes, DirectorySource, ScanError};
use crate::config::Config;
use crate::control::StateStatus;

/// What a refresh led to.
#[derive(Debug)]
pub enum Refresh {
    /// What is in force is still what the directory says, or the directory is still as it was refused.
    Unchanged,
    /// The next generation. Its `degraded` and `warnings` include what the directory itself gave rise to.
    Compiled(Compiled),
    /// The directory was refused, and why; what is in force stays.
    Rejected(Vec<Diagnostic>),
    /// Somebody is writing: refresh again in some 20 ms.
    Waiting,
}

/// Scans, compiles, and remembers what is wrong.
#[derive(Debug)]
pub struct StateFollower {
    source: DirectorySource,
    compiler: Compiler,
    scope: Scope,
    on_invalid: OnInvalid,
    /// Whether there has been a directory without errors.
    established: bool,
    /// Whether the objects differ from those last compiled.
    stale: bool,
    /// Whether anything is in force.
    in_force: bool,
    /// Why the directory, or the compilation of what it says, was last refused.
    rejection: Option<Rejection>,
    /// What the last scan and the last compile left out, and what they remarked.
    scan: Remarks,
    compile: Remarks,
    /// Both together.
    both: Remarks,
    skipped: BTreeMap<String, usize>,
    compile_time: Duration,
}

#[derive(Debug, Default)]
struct Remarks {
    problems: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
}

#[derive(Debug)]
enum Rejection {
    /// Ends when the directory is valid again.
    Scan(Vec<Diagnostic>),
    /// Ends when other objects compile.
    Compile(Vec<Diagnostic>),
}

impl Rejection {
    fn diagnostics(&self) -> &[Diagnostic] {
        match self {
            Self::Scan(diagnostics) | Self::Compile(diagnostics) => diagnostics,
        }
    }
}

impl StateFollower {
    /// A follower of the configured directory for the configured node, which has `node_addresses` besides those of
    /// its Node object (gateway, underlay).
    pub fn new(config: &Config, node_addresses: Vec<IpAddr>) -> Self {
        let options = Options {
            on_invalid: OnInvalid::Isolate,
            on_too_large: OnTooLarge::Isolate,
            node_addresses,
            memory_ceiling: config.limits.compile_memory,
            ..Options::default()
        };
        Self {
            source: DirectorySource::open(&config.state.directory),
            compiler: Compiler::new(options),
            scope: Scope::Node(config.node.clone()),
            on_invalid: config.state.on_invalid.into(),
            established: false,
            stale: true,
            in_force: false,
            rejection: None,
            scan: Remarks::default(),
            compile: Remarks::default(),
            both: Remarks::default(),
            skipped: BTreeMap::new(),
            compile_time: Duration::ZERO,
        }
    }

    /// Looks at the directory and compiles if it says something new.
    pub fn refresh(&mut self) -> Refresh {
        let changes = match self.source.scan(self.compiler.options().on_invalid) {
            Ok(changes) => changes,
            Err(ScanError::Unsettled { .. }) => return Refresh::Waiting,
            Err(ScanError::Invalid(diagnostics)) => return self.reject(Rejection::Scan(diagnostics)),
        };
        self.take(changes);
        if matches!(self.rejection, Some(Rejection::Scan(_))) {
            self.rejection = None;
        }
        if !self.stale {
            self.conclude();
            return Refresh::Unchanged;
        }
        self.stale = false;
        let start = Instant::now();
        let outcome = self.compiler.compile(&self.scope);
        self.compile_time = start.elapsed();
        match outcome {
            Ok(compiled) => {
                self.rejection = None;
                self.in_force = true;
                self.compile =
                    Remarks { problems: compiled.degraded.clone(), warnings: compiled.warnings.clone() };
                self.conclude();
                Refresh::Compiled(Compiled {
                    degraded: self.both.problems.clone(),
                    warnings: self.both.warnings.clone(),
                    ..compiled
                })
            }
            Err(diagnostics) => self.reject(Rejection::Compile(diagnostics)),
        }
    }

    fn take(&mut self, changes: Changes) {
        self.stale |= !changes.is_empty();
        for key in &changes.deletes {
            self.compiler.delete(key);
        }
        for object in changes.upserts {
            self.compiler.upsert(object);
        }
        self.skipped = changes.skipped;
        self.scan = Remarks { problems: changes.problems, warnings: changes.warnings };
    }

    /// Draws the sum of what is wrong. If that is nothing, the configured mode begins.
    fn conclude(&mut self) {
        self.both = Remarks {
            problems: joined(&self.scan.problems, &self.compile.problems),
            warnings: joined(&self.scan.warnings, &self.compile.warnings),
        };
        if !self.established && self.in_force && self.rejection.is_none() && self.both.problems.is_empty() {
            self.established = true;
            let on_invalid = self.on_invalid;
            self.rebuild(|options| options.on_invalid = on_invalid);
        }
    }

    fn reject(&mut self, rejection: Rejection) -> Refresh {
        let news = self.rejection.as_ref().is_none_or(|last| last.diagnostics() != rejection.diagnostics());
        let diagnostics = rejection.diagnostics().to_vec();
        self.rejection = Some(rejection);
        if news { Refresh::Rejected(diagnostics) } else { Refresh::Unchanged }
    }

    /// Changes the own node's further addresses (gateway and the like); the next refresh compiles with them.
    pub fn set_node_addresses(&mut self, addresses: impl IntoIterator<Item = IpAddr>) {
        let addresses: Vec<IpAddr> = addresses.into_iter().collect();
        if self.compiler.options().node_addresses != addresses {
            self.rebuild(|options| options.node_addresses = addresses);
            self.stale = true;
        }
    }

    /// The same objects under other options.
    fn rebuild(&mut self, change: impl FnOnce(&mut Options)) {
        let mut options = self.compiler.options().clone();
        change(&mut options);
        let mut compiler = Compiler::new(options);
        for object in self.compiler.objects() {
            compiler.upsert(object.clone());
        }
        self.compiler = compiler;
    }

    /// How what is in force relates to the directory.
    pub fn status(&self) -> StateStatus {
        match (&self.rejection, self.in_force) {
            (Some(_), _) => StateStatus::Rejected,
            (None, false) => StateStatus::Starting,
            (None, true) if self.both.problems.is_empty() => StateStatus::Ok,
            (None, true) => StateStatus::Degraded,
        }
    }

    /// What is wrong: why the directory was refused, or else what had to be isolated.
    pub fn problems(&self) -> &[Diagnostic] {
        self.rejection.as_ref().map_or(&self.both.problems, Rejection::diagnostics)
    }

    /// What is valid but deserves a look.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.both.warnings
    }

    /// Objects of kinds that weir does not use, by kind.
    pub fn skipped(&self) -> BTreeMap<String, usize> {
        self.skipped.clone()
    }

    /// How long the last compilation took.
    pub fn compile_time(&self) -> Duration {
        self.compile_time
    }

    /// The objects as last scanned.
    pub fn compiler(&self) -> &Compiler {
        &self.compiler
    }
}

/// `more` after `first`, without those that are in `first`.
fn joined(first: &[Diagnostic], more: &[Diagnostic]) -> Vec<Diagnostic> {
    let mut all = first.to_vec();
    all.extend(more.iter().filter(|diagnostic| !first.contains(diagnostic)).cloned());
    all
}

#[cfg(test)]
mod tests;
