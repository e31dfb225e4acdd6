//! `weir attach`: give a running daemon a pod's interface.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::ValueEnum;
use dataplane::config::{Attachment, AttachmentKind, AttachmentRequest};
use dataplane::control::Request;

use super::socket::Socket;
use super::{Outcome, output};

/// Attach a pod's interface to the running daemon
///
/// Neither pod nor interface need be there yet; until both are, the pod's traffic is dropped. The attachment
/// lasts until `weir detach` or the end of the daemon.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    A TAP that weir makes as the pod's eth0:\n    \
    weir attach shop/frontend --kind tap --interface eth0 --netns /run/netns/frontend\n  \
    The host end of a veth:\n    \
    weir attach shop/backend --kind af_packet --interface veth1234")]
pub(super) struct Args {
    /// The pod, as NAMESPACE/NAME
    pod: String,
    /// How the interface is reached
    #[arg(long)]
    kind: Kind,
    /// Name of the interface
    #[arg(long, value_name = "NAME")]
    interface: String,
    /// Network namespace of the interface (tap only) [default: the daemon's own]
    #[arg(long, value_name = "PATH")]
    netns: Option<PathBuf>,
    /// Whether weir makes the TAP [default: true if --netns is given]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    create: Option<bool>,
    /// MAC of the pod's end [default: the interface's, or that of the veth's other end]
    #[arg(long)]
    mac: Option<String>,
    #[command(flatten)]
    socket: Socket,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// A TAP, existing or made by weir
    Tap,
    /// The host end of a veth
    #[value(name = "af_packet")]
    AfPacket,
}

pub(super) fn run(args: Args) -> Outcome {
    let request = AttachmentRequest {
        pod: args.pod,
        kind: match args.kind {
            Kind::Tap => AttachmentKind::Tap,
            Kind::AfPacket => AttachmentKind::AfPacket,
        },
        interface: args.interface,
        // The daemon's working directory is not ours.
        netns: args.netns.map(std::path::absolute).transpose().context("--netns")?,
        create: args.create,
        mac: args.mac,
    };
    let attachment = Attachment::try_from(request).map_err(anyhow::Error::msg)?;
    let said = format!("{} attached to {} {}\n", attachment.pod, attachment.kind, attachment.interface);
    args.socket.ask(&Request::Attach(attachment))?;
    output::print(&said)?;
    Ok(ExitCode::SUCCESS)
}
