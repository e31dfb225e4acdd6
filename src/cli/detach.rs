//! `weir detach`: take a pod's interface from a running daemon.

use std::process::ExitCode;

use dataplane::config::PodRef;
use dataplane::control::{DetachTarget, Request};

use super::socket::Socket;
use super::{Outcome, output};

/// Detach a pod's interface from the running daemon
///
/// The pod's traffic ends; that of others is not touched. A TAP that weir made goes with it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  weir detach shop/frontend\n  weir detach --interface veth1234")]
pub(super) struct Args {
    /// The pod, as NAMESPACE/NAME
    #[arg(required_unless_present = "interface", conflicts_with = "interface")]
    pod: Option<PodRef>,
    /// The interface, instead of the pod
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    #[command(flatten)]
    socket: Socket,
}

pub(super) fn run(args: Args) -> Outcome {
    let (target, name) = match (args.pod, args.interface) {
        (Some(pod), _) => {
            let name = pod.to_string();
            (DetachTarget::Pod(pod), name)
        }
        (None, Some(interface)) => (DetachTarget::Interface(interface.clone()), interface),
        (None, None) => anyhow::bail!("expected a pod or --interface"),
    };
    args.socket.ask(&Request::Detach(target))?;
    output::print(&format!("{} detached\n", output::visible(&name)))?;
    Ok(ExitCode::SUCCESS)
}
