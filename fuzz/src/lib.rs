//! What the fuzzers ask of weir, one module per target; `fuzz_targets/` only ties them to libFuzzer.
//!
//! A target is a function of bytes that panics when weir does something it must never do. Being plain functions they
//! also run without a fuzzer: `tests/replay.rs` passes every seed and every input that once failed through them.
//!
//! | bytes from | targets |
//! | --- | --- |
//! | a pod, the underlay | `inner_frame`, `inner_headers`, `outer_decap`, `vxlan_header`, `neighbour`, `icmp_embedded`, `vnet_header` |
//! | the same, over time | `fragments`, `conntrack` |
//! | who may write policies or Pods | `manifest`, `cluster_policy`, `calico`, `calico_selector`, `cilium`, `policy_equivalence` |
//! | the administrator | `config`, `control_request`, `probe`, `ruleset_text`, `general_rules` |
//! | whoever made a capture | `pcap`, `pcapng` |

pub mod calico;
pub mod calico_selector;
pub mod cilium;
pub mod cluster_policy;
pub mod config;
pub mod conntrack;
pub mod control_request;
pub mod fragments;
pub mod general_rules;
pub mod icmp_embedded;
pub mod inner_frame;
pub mod inner_headers;
pub mod manifest;
pub mod neighbour;
pub mod outer_decap;
pub mod pcap;
pub mod pcapng;
pub mod policy_equivalence;
pub mod probe;
pub mod ruleset_text;
pub mod vnet_header;
pub mod vxlan_header;

mod mend;
mod script;

/// A target: its name and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 22] = [
    ("calico", calico::run),
    ("calico_selector", calico_selector::run),
    ("cilium", cilium::run),
    ("cluster_policy", cluster_policy::run),
    ("config", config::run),
    ("conntrack", conntrack::run),
    ("control_request", control_request::run),
    ("fragments", fragments::run),
    ("general_rules", general_rules::run),
    ("icmp_embedded", icmp_embedded::run),
    ("inner_frame", inner_frame::run),
    ("inner_headers", inner_headers::run),
    ("manifest", manifest::run),
    ("neighbour", neighbour::run),
    ("outer_decap", outer_decap::run),
    ("pcap", pcap::run),
    ("pcapng", pcapng::run),
    ("policy_equivalence", policy_equivalence::run),
    ("probe", probe::run),
    ("ruleset_text", ruleset_text::run),
    ("vnet_header", vnet_header::run),
    ("vxlan_header", vxlan_header::run),
];
