//! `weir config`: the configuration without running it.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use dataplane::config::{Config, schema};

use super::{Outcome, output};

/// Check a configuration, or print what one may say
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir config check /etc/weir/node.yaml\n  weir config schema > weir.schema.json"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Check a configuration file; every problem is printed as file:line:column: key: message
    #[command(after_help = "Example:\n  weir config check /etc/weir/node.yaml")]
    Check {
        /// The file
        file: PathBuf,
    },
    /// Print the JSON Schema of the configuration: every key with its meaning, default and range
    #[command(after_help = "Example:\n  weir config schema > weir.schema.json")]
    Schema,
}

pub(super) fn run(args: Args) -> Outcome {
    match args.command {
        Command::Check { file } => output::print(&summary(&Config::load(&file)?))?,
        Command::Schema => output::print(&(serde_json::to_string_pretty(&schema())? + "\n"))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn summary(config: &Config) -> String {
    let mut text = format!("{}: ok\n", config.file.display());
    let from_node = || "from the Node object".to_owned();
    let underlay = [
        config.underlay.address.map(|at| at.to_string()),
        config.underlay.address_v6.map(|at| at.to_string()),
    ];
    let underlay: Vec<String> = underlay.into_iter().flatten().collect();
    let gateway: Vec<String> = config.gateway.addresses.iter().map(ToString::to_string).collect();
    let or_node = |list: Vec<String>| if list.is_empty() { from_node() } else { list.join(", ") };
    let lines = [
        ("node", config.node.clone()),
        ("state", config.state.directory.display().to_string()),
        (
            "underlay",
            format!("{}, UDP port {}, VNI {}", or_node(underlay), config.underlay.port, config.underlay.vni),
        ),
        ("gateway", format!("{}, {}, {}", config.gateway.interface, config.gateway.mac, or_node(gateway))),
        ("attachments", config.attachments.len().to_string()),
        ("control", config.control.socket.display().to_string()),
    ];
    for (name, value) in lines {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {name:<12} {}", output::visible(&value));
    }
    text
}
