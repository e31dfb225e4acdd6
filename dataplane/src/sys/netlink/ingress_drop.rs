//! The drop behind the tap: what AF_PACKET reads from a link, the kernel must not handle as well.
//!
//! ```text
//!  veth ─► AF_PACKET tap (weir reads the frame) ─► tc ingress: drop ─✗ ─► bridge, ARP, IP
//! ```
//!
//! A `clsact` qdisc with one filter of the highest priority whose only act is to drop. The first choice is
//! classic bytecode in `cls_bpf` with direct action (Linux 4.4), which needs neither an action module nor
//! the bpf system call; the second `cls_matchall` with `act_gact`. Either is read back before it is
//! believed. It belongs to the link, not to the process: it outlives weir, however weir ends.
//!
//! # Known weakness
//! A `tcx` program (Linux 6.6, bpf links) runs before the qdisc and may pass frames on; rtnetlink does
//! not show those.

use std::io;

use netlink_packet_core::{DefaultNla, Nla};
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::tc::{
    TcAction, TcActionAttribute, TcActionOption, TcAttribute, TcBpfFlags, TcFilterBpfOption,
    TcFilterMatchAllOption, TcHandle, TcMessage, TcOption,
};

use super::{CREATE, Netlink, os_error};

const TCA_BPF_OPS_LEN: u16 = 4;
const TCA_BPF_OPS: u16 = 5;
const TCA_GACT_PARMS: u16 = 2;
/// `TC_ACT_SHOT` of `linux/pkt_cls.h`.
const DROP: u32 = 2;
/// `tcm_info` of a filter: priority 1 in the upper half, `ETH_P_ALL` in network order in the lower.
const FIRST_PRIORITY_ALL_PROTOCOLS: u32 = (1 << 16) | (0x0003_u16.to_be() as u32);
const HANDLE: TcHandle = TcHandle { major: 0, minor: 1 };
const INGRESS: TcHandle = TcHandle { major: TcHandle::CLSACT.major, minor: TcHandle::MIN_INGRESS };

/// `struct sock_filter` of the whole program: return the constant [`DROP`].
fn program() -> Vec<u8> {
    const RETURN_CONSTANT: u16 = 0x06;
    let mut bytes = Vec::with_capacity(8);
    bytes.extend_from_slice(&RETURN_CONSTANT.to_ne_bytes());
    bytes.extend_from_slice(&[0, 0]);
    bytes.extend_from_slice(&DROP.to_ne_bytes());
    bytes
}

impl Netlink {
    /// Makes sure that the kernel itself drops everything that arrives on the link. Changes nothing where
    /// that is so already.
    ///
    /// # Errors
    /// The kernel has neither classifier, or something stands before the drop and would let frames pass.
    pub fn ensure_ingress_drop(&self, index: u32) -> io::Result<()> {
        if self.has_ingress_drop(index)? {
            return Ok(());
        }
        self.ensure_clsact(index)?;
        if let Err(bpf) = self.add_filter(index, "bpf", bpf_options()) {
            self.add_filter(index, "matchall", matchall_options()).map_err(|matchall| {
                io::Error::new(bpf.kind(), format!("no way to drop on ingress: {bpf}; {matchall}"))
            })?;
        }
        if self.has_ingress_drop(index)? {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "link {index} has another tc ingress filter before weir's drop, which lets frames pass to the kernel: \
             remove it (`tc filter show dev … ingress` lists it)"
        )))
    }

    /// Makes sure that filters can be put on ingress of the link.
    pub(super) fn ensure_clsact(&self, index: u32) -> io::Result<()> {
        let mut qdisc = tc(index, TcHandle { major: TcHandle::CLSACT.major, minor: 0 }, TcHandle::CLSACT);
        qdisc.attributes = vec![TcAttribute::Kind("clsact".to_owned())];
        match self.request(
            || format!("add clsact to link {index}"),
            Message::NewQueueDiscipline(qdisc),
            CREATE,
        ) {
            // An `ingress` or `clsact` qdisc of somebody else takes the filter as well.
            Err(error) if os_error(&error) != Some(libc::EEXIST) => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether the first thing that tc does on ingress of the link is to drop everything.
    pub fn has_ingress_drop(&self, index: u32) -> io::Result<bool> {
        Ok(self.first_filter(index)?.is_some_and(|filter| drops_everything(&filter)))
    }

    /// Takes weir's filter away again; one that is not there is no error. The qdisc stays.
    pub fn remove_ingress_drop(&self, index: u32) -> io::Result<()> {
        let Some(found) = self.first_filter(index)?.filter(drops_everything) else { return Ok(()) };
        let mut filter = tc(index, found.header.handle, INGRESS);
        filter.header.info = found.header.info;
        filter.attributes =
            found.attributes.into_iter().filter(|a| matches!(a, TcAttribute::Kind(_))).collect();
        self.request(
            || format!("remove the ingress drop of link {index}"),
            Message::DelTrafficFilter(filter),
            0,
        )
        .map(drop)
    }

    /// Adds the filter of the highest priority for all protocols on ingress of the link.
    pub(super) fn add_filter(&self, index: u32, kind: &str, options: Vec<TcOption>) -> io::Result<()> {
        let mut filter = tc(index, HANDLE, INGRESS);
        filter.header.info = FIRST_PRIORITY_ALL_PROTOCOLS;
        filter.attributes = vec![TcAttribute::Kind(kind.to_owned()), TcAttribute::Options(options)];
        self.request(
            || format!("add a {kind} filter to link {index}"),
            Message::NewTrafficFilter(filter),
            CREATE,
        )
        .map(drop)
    }

    /// The filter that sees a frame first. The kernel lists them in the order of their evaluation, each
    /// priority led by an entry without options; chains but the first are only jumped to.
    fn first_filter(&self, index: u32) -> io::Result<Option<TcMessage>> {
        let request = Message::GetTrafficFilter(tc(index, TcHandle::UNSPEC, INGRESS));
        let messages = match self.dump(&format!("list ingress filters of link {index}"), request) {
            Ok(messages) => messages,
            // Without an ingress qdisc there is nothing to list.
            Err(error) if matches!(os_error(&error), Some(libc::ENOENT | libc::EINVAL)) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(messages.into_iter().find_map(|message| match message {
            Message::NewTrafficFilter(filter)
                if filter.header.handle != TcHandle::UNSPEC
                    && !filter.attributes.iter().any(|a| matches!(a, TcAttribute::Chain(1..))) =>
            {
                Some(filter)
            }
            _ => None,
        }))
    }
}

fn tc(index: u32, handle: TcHandle, parent: TcHandle) -> TcMessage {
    let mut message = TcMessage::with_index(index.cast_signed());
    message.header.handle = handle;
    message.header.parent = parent;
    message
}

fn bpf_options() -> Vec<TcOption> {
    [
        TcFilterBpfOption::Other(DefaultNla::new(TCA_BPF_OPS_LEN, 1_u16.to_ne_bytes().to_vec())),
        TcFilterBpfOption::Other(DefaultNla::new(TCA_BPF_OPS, program())),
        TcFilterBpfOption::Flags(TcBpfFlags::DirectAction),
    ]
    .into_iter()
    .map(TcOption::Bpf)
    .collect()
}

fn matchall_options() -> Vec<TcOption> {
    // `struct tc_gact`: index, capab, action, refcnt, bindcnt.
    let parameters = [0, 0, DROP, 0, 0].iter().flat_map(|word: &u32| word.to_ne_bytes()).collect();
    let mut action = TcAction::default();
    action.attributes = vec![
        TcActionAttribute::Kind("gact".to_owned()),
        TcActionAttribute::Options(vec![TcActionOption::Other(DefaultNla::new(TCA_GACT_PARMS, parameters))]),
    ];
    vec![TcOption::MatchAll(TcFilterMatchAllOption::Action(vec![action]))]
}

/// Whether the filter takes every protocol and does nothing but drop.
fn drops_everything(filter: &TcMessage) -> bool {
    if filter.header.info & 0xffff != FIRST_PRIORITY_ALL_PROTOCOLS & 0xffff {
        return false;
    }
    filter.attributes.iter().any(|attribute| match attribute {
        TcAttribute::Options(options) => bpf_drops(options) || matchall_drops(options),
        _ => false,
    })
}

fn bpf_drops(options: &[TcOption]) -> bool {
    let has = |wanted: &dyn Fn(&TcFilterBpfOption) -> bool| {
        options.iter().any(|option| matches!(option, TcOption::Bpf(bpf) if wanted(bpf)))
    };
    has(
        &|option| matches!(option, TcFilterBpfOption::Flags(flags) if flags.contains(TcBpfFlags::DirectAction)),
    ) && has(
        &|option| matches!(option, TcFilterBpfOption::Other(nla) if value(nla, TCA_BPF_OPS) == Some(program())),
    )
}

fn matchall_drops(options: &[TcOption]) -> bool {
    options.iter().any(|option| {
        let TcOption::MatchAll(TcFilterMatchAllOption::Action(actions)) = option else { return false };
        // Only the first action is sure to run.
        actions.first().is_some_and(|action| {
            let gact = action
                .attributes
                .iter()
                .any(|a| matches!(a, TcActionAttribute::Kind(kind) if kind == "gact"));
            gact && action.attributes.iter().any(|attribute| match attribute {
                TcActionAttribute::Options(options) => options.iter().any(gact_drops),
                _ => false,
            })
        })
    })
}

fn gact_drops(option: &TcActionOption) -> bool {
    let TcActionOption::Other(nla) = option else { return false };
    value(nla, TCA_GACT_PARMS).is_some_and(|bytes| bytes.get(8..12) == Some(DROP.to_ne_bytes().as_slice()))
}

/// The bytes of an attribute, if it is the one wanted.
fn value(nla: &DefaultNla, kind: u16) -> Option<Vec<u8>> {
    if nla.kind() != kind {
        return None;
    }
    let mut bytes = vec![0; nla.value_len()];
    nla.emit_value(&mut bytes);
    Some(bytes)
}
