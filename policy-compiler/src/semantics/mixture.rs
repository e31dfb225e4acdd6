//! Which policy languages do not mix in one state.
//!
//! Calico's and Cilium's kinds each decide alone what a pod without an allowing rule may do, and no document says how
//! they would rank. A state with both is refused, naming one object of each. Where the rest is to be published all the
//! same, Calico's policies stay in force and each of Cilium's counts as unreadable: it denies its subject.

use super::Context;
use crate::api::{Diagnostic, Kind, Meta, Severity};

/// Whether the state mixes what cannot be mixed, so that Cilium's policies count as unreadable.
pub(super) fn refuses(context: &Context<'_>) -> bool {
    context.calico.is_some() && context.cilium.is_some()
}

/// What is wrong with a policy of Calico's or Cilium's beside the other language. Each of Cilium's has it, and of
/// Calico's the one that these name.
pub(super) fn problem(policy: &Meta, context: &Context<'_>) -> Option<Diagnostic> {
    if !refuses(context) {
        return None;
    }
    let (calico, cilium) = (context.calico?, context.cilium?);
    let is_cilium =
        matches!(policy.key.kind, Kind::CiliumNetworkPolicy | Kind::CiliumClusterwideNetworkPolicy);
    if !is_cilium && policy.key != *calico {
        return None;
    }
    let other = if is_cilium { calico } else { cilium };
    Some(Diagnostic {
        severity: Severity::Error,
        origin: policy.origin.clone(),
        object: Some(policy.key.clone()),
        field: String::new(),
        message: format!("policies of Calico and Cilium in one state: there is also {other}"),
        expected: Some("those of one of them".to_owned()),
        help: Some(
            "both mix with NetworkPolicy and ClusterNetworkPolicy, but not with each other".to_owned(),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::{problem, refuses};
    use crate::api::{Kind, Labels, Meta, ObjectKey, Origin};
    use crate::semantics::Context;

    fn meta(kind: Kind, name: &str) -> Meta {
        Meta {
            key: ObjectKey { kind, namespace: "shop".to_owned(), name: name.to_owned() },
            uid: String::new(),
            resource_version: String::new(),
            labels: Labels::new(),
            origin: Origin::of_file("state.yaml"),
            diagnostics: Vec::new(),
        }
    }

    #[test]
    fn each_policy_of_ciliums_and_one_of_calicos_name_the_other() {
        let calico = [meta(Kind::CalicoNetworkPolicy, "a"), meta(Kind::CalicoNetworkPolicy, "b")];
        let cilium = [meta(Kind::CiliumNetworkPolicy, "c"), meta(Kind::CiliumNetworkPolicy, "d")];
        let [(calico_key, _), (cilium_key, _)] =
            [&calico, &cilium].map(|[first, second]| (&first.key, &second.key));
        let alone = Context { calico: Some(calico_key), ..Context::default() };
        assert!(!refuses(&alone) && problem(&calico[0], &alone).is_none());
        let both = Context { cilium: Some(cilium_key), ..alone };
        assert!(refuses(&both));
        let said = |policy: &Meta| problem(policy, &both).map(|problem| problem.to_string());
        assert!(said(&calico[0]).is_some_and(|text| text.contains("CiliumNetworkPolicy shop/c")));
        assert_eq!(said(&calico[1]), None);
        for policy in &cilium {
            assert!(said(policy).is_some_and(|text| text.contains("Calico NetworkPolicy shop/a")));
        }
    }
}
