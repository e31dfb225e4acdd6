//! cilium.io/v2: CiliumNetworkPolicy, CiliumClusterwideNetworkPolicy and CiliumCIDRGroup, as written and validated.
//!
//! ```text
//!  document ─► policy_reader (spec, specs, sections) ─► rule_reader (whom) ─┐
//!                                                       ports, icmp, l7      ├─► CiliumPolicy, with holes
//!                                                       selector, entity, cidr ┘
//! ```
//! Facts: cilium/cilium `pkg/policy/api` (`rule_validation.go` for what may stand together) and
//! `Documentation/security/policy`. What could not be read is a hole (`None`) where it stood. What another layer would
//! have to enforce (names, HTTP, DNS) is read, kept, and warned of: it is allowed nothing. What has no place in the model at
//! all is refused by name. Cost: linear in the text.

mod cidr;
mod entity;
mod icmp;
mod l7;
mod policy;
mod policy_reader;
mod ports;
mod rule_reader;
mod selector;

pub use cidr::CiliumCidrGroup;
pub use entity::CiliumEntity;
pub use l7::{CiliumDnsMatch, CiliumHttpRule, CiliumL7Rules};
pub use policy::{
    CiliumCidrGroups, CiliumPeer, CiliumPolicy, CiliumRule, CiliumRuleBody, CiliumSpec, CiliumSubject,
};
pub use ports::{CiliumPort, CiliumPortRule};
pub use selector::{CiliumKey, CiliumRequirement, CiliumSelector};

pub(super) use cidr::read_cidr_group;
pub(super) use policy_reader::read_policy;
