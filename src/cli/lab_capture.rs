//! `weir lab capture`: a capture made from a seed, to be replayed.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use anyhow::Context;
use harness::generate::CaptureShape;
use harness::replay::NodeState;

use super::Outcome;
use super::interrupt::{INTERRUPTED, interruptible};
use super::output::{Output, table};
use super::replay::bar;

/// Make a capture of a node's traffic from a seed: plain and VXLAN, allowed and denied, of any size
///
/// As if taken on a network without policies: conversations are whole, whatever the state says of them. The same
/// state, seed and size give the same capture.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  weir lab capture --state configs/state --node node-a --out traffic.pcapng --size 100MB
  weir replay traffic.pcapng --state configs/state --node node-a")]
pub(super) struct Args {
    /// Directory of manifests whose pods speak
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// Name of the Node whose traffic it is
    #[arg(long, value_name = "NAME")]
    node: String,
    /// The file to write, pcapng
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Size of the file, about: bytes, or with kB, MB or GB
    #[arg(long, value_name = "SIZE", default_value = "10MB", value_parser = size)]
    size: u64,
    /// Share of the flows that the state denies, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 30, value_parser = clap::value_parser!(u8).range(..=100))]
    denied: u8,
    /// What chooses everything else
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    output: Output,
}

pub(super) fn run(args: &Args) -> Outcome {
    let interrupt = interruptible()?;
    let state = NodeState::load(&args.state, &args.node, None)?;
    let name = args.out.display();
    let file = File::create(&args.out).with_context(|| format!("cannot write {name}"))?;
    let mut to = BufWriter::with_capacity(1 << 18, file);
    let shape = CaptureShape { bytes: args.size, denied: f64::from(args.denied) / 100.0, seed: args.seed };
    let bar = bar();
    bar.set_length(args.size);
    let made = shape.write(&state, &mut to, &mut |bytes| {
        bar.set_position(bytes);
        !interrupt.load(Ordering::Relaxed)
    });
    bar.finish_and_clear();
    let made = made?;
    to.flush().with_context(|| format!("cannot write {name}"))?;
    args.output.print(&made, |made| {
        let row = [made.packets, made.tunnelled, made.flows, made.bytes].map(|number| number.to_string());
        table(["PACKETS", "IN VXLAN", "FLOWS", "BYTES"], [row])
    })?;
    Ok(if interrupt.load(Ordering::Relaxed) { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
}

fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size: expected bytes, or a number with kB, MB or GB");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let times = match text.get(digits.len()..).unwrap_or_default().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" | "k" => 1_000,
        "mb" | "m" => 1_000_000,
        "gb" | "g" => 1_000_000_000,
        _ => return Err(wrong()),
    };
    digits.parse::<u64>().ok().and_then(|number| number.checked_mul(times)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_read_with_units() {
        assert_eq!(size("512"), Ok(512));
        assert_eq!(size("100MB"), Ok(100_000_000));
        assert_eq!(size("1gb"), Ok(1_000_000_000));
        for text in ["", "MB", "1.5GB", "1TB", "-1", "99999999999999GB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
