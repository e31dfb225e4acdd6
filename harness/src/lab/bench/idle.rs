//! Pods that are attached and silent: what they cost those that are not, and in memory.
//!
//! They come after the lab is up, by `attach` over the control socket, each with a namespace, an interface and
//! addresses of its own: the resident memory of weir before and after says what one takes. What the kernel keeps for a
//! TAP or a veth and its namespace is not in that.

use std::fs;
use std::time::Duration;

use dataplane::control::{AttachmentState, Request};

use super::subject::Kind;
use crate::lab::cluster_state;
use crate::lab::plan::{PodPlan, Side};
use crate::lab::pods::{INTERFACE, Pod};
use crate::lab::teardown::fresh_id;
use crate::lab::{Attach, Lab, LabError, NodeKind};

/// Most idle pods of a node: the measured ones and the gateway need addresses of the subnet as well.
pub const MOST: u8 = 230;
/// The last byte of the first one's address.
const FIRST_HOST: u8 = 20;
/// MTU, as that of the measured pods.
const MTU: u32 = 1430;
/// How long one may take to be attached.
const ATTACHED: Duration = Duration::from_millis(500);

/// Idle pods of both nodes.
#[derive(Debug, Default)]
pub(super) struct Idle {
    _pods: Vec<Pod>,
    /// Bytes by which weir grew for each of them.
    pub(super) bytes_per_pod: Option<f64>,
}

impl Idle {
    /// Attaches as many as `kind` says to each of its nodes that runs weir.
    pub(super) fn attach(kind: Kind, lab: &Lab) -> Result<Self, LabError> {
        if kind.idle == 0 {
            return Ok(Self::default());
        }
        let (mut pods, mut grown) = (Vec::new(), 0.0);
        let sides = Side::ALL.into_iter().zip(kind.nodes).filter(|(_, node)| *node == NodeKind::Weir);
        let sides: Vec<Side> = sides.map(|(side, _)| side).collect();
        let plans: Vec<PodPlan> = sides.iter().flat_map(|&side| plans(side, kind.idle)).collect();
        let before: Vec<u64> = sides.iter().map(|&side| resident(lab, side)).collect();
        let manifests: String = plans.iter().map(cluster_state::pod).collect();
        lab.state().write("idle.yaml", &manifests)?;
        let id = fresh_id(false);
        for plan in plans {
            lab.check_interrupt()?;
            let pod = Pod::create(&id, plan, false)?;
            attach_one(kind, lab, &pod)?;
            pods.push(pod);
        }
        for &side in &sides {
            let wanted = usize::from(kind.idle);
            lab.wait_for(
                side,
                ATTACHED * u32::from(kind.idle) + ATTACHED,
                "all idle pods attached",
                |status| {
                    let idle = status.pods.iter().filter(|pod| pod.name.contains("/idle-"));
                    let attached = idle.filter(|pod| pod.attachment == Some(AttachmentState::Attached));
                    attached.count() >= wanted
                },
            )?;
        }
        for pod in &pods {
            pod.configure(MTU)?;
        }
        for (side, before) in sides.iter().zip(before) {
            grown += resident(lab, *side).saturating_sub(before) as f64;
        }
        let bytes_per_pod = (!pods.is_empty()).then(|| grown / pods.len() as f64);
        Ok(Self { _pods: pods, bytes_per_pod })
    }
}

fn plans(side: Side, count: u8) -> impl Iterator<Item = PodPlan> {
    (0..count.min(MOST)).map(move |number| {
        let name = format!("idle-{}-{number}", side.name());
        PodPlan::new(side, FIRST_HOST.saturating_add(number), "bench", &name, ("app", "idle"))
    })
}

fn attach_one(kind: Kind, lab: &Lab, pod: &Pod) -> Result<(), LabError> {
    let side = pod.plan.side;
    let request = match kind.attach {
        Attach::Tap => serde_json::json!({
            "request": "attach", "pod": pod.plan.full_name(), "kind": "tap", "interface": INTERFACE,
            "netns": format!("/run/netns/{}", pod.netns.name()),
        }),
        Attach::Veth => {
            pod.connect(lab.topology().node(side).netns())?;
            serde_json::json!({
                "request": "attach", "pod": pod.plan.full_name(), "kind": "af_packet", "interface": pod.host_link(),
            })
        }
    };
    let request: Request = serde_json::from_value(request).map_err(std::io::Error::from)?;
    let weir = lab.weir(side).ok_or_else(|| LabError::State(vec!["a node without weir".to_owned()]))?;
    weir.call(&request).map(drop)
}

/// Bytes that the node's forwarding processes have in memory.
pub(super) fn resident(lab: &Lab, side: Side) -> u64 {
    let of = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        resident_in(&status)
    };
    lab.forwarding(side).map(of).fold(0, u64::saturating_add)
}

/// `VmRSS:     26532 kB`.
fn resident_in(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0).saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_pods_have_names_and_addresses_of_their_own() {
        let all: Vec<PodPlan> = Side::ALL.into_iter().flat_map(|side| plans(side, MOST)).collect();
        let mut names: Vec<String> = all.iter().map(PodPlan::full_name).collect();
        let mut macs: Vec<[u8; 6]> = all.iter().map(PodPlan::mac).collect();
        for length in [names.len(), macs.len()] {
            assert_eq!(length, 2 * usize::from(MOST));
        }
        names.sort();
        names.dedup();
        macs.sort_unstable();
        macs.dedup();
        assert_eq!((names.len(), macs.len()), (all.len(), all.len()));
        assert!(all.iter().all(|pod| pod.host >= FIRST_HOST && pod.host < 255));
    }

    #[test]
    fn resident_memory_is_read_as_the_kernel_writes_it() {
        assert_eq!(resident_in("VmPeak:\t 1 kB\nVmRSS:\t   26532 kB\nRssAnon:\t 1 kB\n"), 26_532 * 1024);
        assert_eq!(resident_in(""), 0);
        assert!(resident_in(&fs::read_to_string("/proc/self/status").unwrap()) > 0);
    }
}
