//! Where a figure was measured: without it, it says nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The machine and the program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Version of weir.
    pub weir: String,
    /// Whether the compiler was told to optimise.
    pub optimised: bool,
    /// Model of the processor.
    pub cpu: String,
    /// Processors this process may use.
    pub cores: usize,
    /// Release of the kernel.
    pub kernel: String,
    /// Load averages when the measurement began: anything near the number of cores makes the figures doubtful.
    pub load: String,
    /// What else decides about figures, such as offloads of interfaces and tools used.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
}

impl Environment {
    /// What can be found out; `unknown` where it cannot.
    pub fn now() -> Self {
        let file = |path: &str| std::fs::read_to_string(path).ok();
        let unknown = || "unknown".to_owned();
        let cpu = file("/proc/cpuinfo").and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        });
        let load =
            file("/proc/loadavg").map(|text| text.split_whitespace().take(3).collect::<Vec<_>>().join(" "));
        Self {
            cpu: cpu.unwrap_or_else(unknown),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: file("/proc/sys/kernel/osrelease").map_or_else(unknown, |text| text.trim().to_owned()),
            load: load.unwrap_or_else(unknown),
            ..Self::unknown()
        }
    }

    /// Of a machine nothing is known about.
    pub fn unknown() -> Self {
        let unknown = || "unknown".to_owned();
        Self {
            weir: env!("CARGO_PKG_VERSION").to_owned(),
            optimised: !cfg!(debug_assertions),
            cpu: unknown(),
            cores: 0,
            kernel: unknown(),
            load: unknown(),
            settings: BTreeMap::new(),
        }
    }

    /// One line for people.
    pub fn line(&self) -> String {
        let Self { weir, optimised, cpu, cores, kernel, load, .. } = self;
        let build = if *optimised { "" } else { ", not optimised: figures mean nothing" };
        format!("weir {weir}{build}; {cpu}, {cores} cores; Linux {kernel}; load {load}")
    }
}
