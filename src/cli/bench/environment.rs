//! Where a figure was measured: without it, it says nothing.

use serde::Serialize;

/// The machine and the program.
#[derive(Debug, Serialize)]
pub(super) struct Environment {
    weir: &'static str,
    /// Whether the compiler was told to optimise.
    optimised: bool,
    cpu: String,
    cores: usize,
    kernel: String,
    /// Load averages when the measurement began: anything near the number of cores makes the figures doubtful.
    load: String,
}

impl Environment {
    /// What can be found out; `unknown` where it cannot.
    pub(super) fn now() -> Self {
        let file = |path: &str| std::fs::read_to_string(path).ok();
        let cpu = file("/proc/cpuinfo").and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        });
        let unknown = || "unknown".to_owned();
        Self {
            weir: env!("CARGO_PKG_VERSION"),
            optimised: !cfg!(debug_assertions),
            cpu: cpu.unwrap_or_else(unknown),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: file("/proc/sys/kernel/osrelease").map_or_else(unknown, |text| text.trim().to_owned()),
            load: file("/proc/loadavg")
                .map_or_else(unknown, |text| text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")),
        }
    }

    /// One line for people.
    pub(super) fn line(&self) -> String {
        let Self { weir, optimised, cpu, cores, kernel, load } = self;
        let build = if *optimised { "" } else { ", not optimised: figures mean nothing" };
        format!("weir {weir}{build}; {cpu}, {cores} cores; Linux {kernel}; load {load}")
    }
}
