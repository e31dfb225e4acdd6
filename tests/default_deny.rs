//! Default deny stops every pair that the policies do not allow, within a node and across; each drop is put down
//! to the policies behind it; allowed pairs work in both directions of the connection; the books balance. Over every kind
//! of underlay.

mod support;

use std::collections::BTreeSet;

use dataplane::config::UnderlayKind;
use dataplane::control::Denial;
use harness::lab::expect::Expectation;
use harness::lab::matrix::{Cell, Matrix};
use harness::lab::plan::Side;
use harness::lab::scenario::{self, Place};
use harness::lab::{Attach, Lab, LabBuilder, NodeKind};
use support::{assert_books_balance, build, lab, must, turn};

fn the_matrix_is_what_the_policies_say(peer: NodeKind, attach: Attach) {
    the_matrix_is_what_the_policies_say_in(lab().nodes([NodeKind::Weir, peer]).attach(attach));
}

fn the_matrix_is_what_the_policies_say_in(lab: LabBuilder) {
    let Some(_turn) = turn() else { return };
    let lab = build(lab);
    support::wait_for_next_hops(&lab);
    let expectation = must(Expectation::of(lab.state(), lab.enforces()));
    let probes = scenario::all_probes(lab.ends());
    let matrix = must(scenario::run(&lab, &probes, &expectation, &|_, _| {}));
    let mismatches: Vec<String> = matrix.mismatches().map(|cell| matrix.describe(cell)).collect();
    assert!(mismatches.is_empty(), "{} of {}:\n{mismatches:#?}", mismatches.len(), probes.len());
    assert_is_telling(&lab, &matrix);
    for side in Side::ALL.into_iter().filter(|side| lab.weir(*side).is_some()) {
        assert_books_balance(&lab, side);
        each_drop_has_its_policies(&lab, side, &matrix);
    }
}

/// Open and closed cells, within a node and across: a matrix without one of them shows little.
fn assert_is_telling(lab: &Lab, matrix: &Matrix) {
    let kinds: BTreeSet<(bool, bool)> = matrix
        .cells
        .iter()
        .filter_map(|cell| match (&lab.ends()[cell.src].place, &lab.ends()[cell.dst].place) {
            (Place::Pod { side: one, .. }, Place::Pod { side: other, .. }) => {
                Some((one == other, cell.expected))
            }
            _ => None,
        })
        .collect();
    assert_eq!(kinds.len(), 4, "{kinds:?}");
}

/// The node that had to deny a probe has a row for it, with the policies that the compiler names.
fn each_drop_has_its_policies(lab: &Lab, side: Side, matrix: &Matrix) {
    let status = support::status(lab, side);
    let denied: u64 = status.denials.iter().map(|denial| denial.packets).sum();
    let by_policy =
        ["policy_deny", "policy_revoked"].map(|name| status.drops.get(name).copied().unwrap_or(0));
    assert_eq!(denied, by_policy.iter().sum::<u64>(), "{}: every denied packet is in a row", side.name());
    let mut checked = 0;
    for cell in matrix.cells.iter().filter(|cell| !cell.expected) {
        let why = cell.denied_by.as_deref().unwrap_or_default();
        if denying_side(lab, why) != Some(side) {
            continue;
        }
        let row = status.denials.iter().find(|denial| is_of(lab, denial, cell, why));
        let row = row.unwrap_or_else(|| panic!("{}: no denial of {}", side.name(), matrix.describe(cell)));
        assert!(!row.policies.is_empty(), "{row:?}");
        for policy in &row.policies {
            assert!(why.contains(policy.as_str()), "{row:?} is not {why}");
        }
        checked += 1;
    }
    assert!(checked > 20, "{}: only {checked} denials", side.name());
    println!("{}: {checked} denied probes put down to their policies", side.name());
}

/// Whose pod denies, from a text like `egress of shop/frontend: default deny: …`.
fn denying_side(lab: &Lab, why: &str) -> Option<Side> {
    let (_, rest) = why.split_once(" of ")?;
    let (name, _) = rest.split_once(": ")?;
    match lab.pod(name).ok()?.place {
        Place::Pod { side, .. } => Some(side),
        _ => None,
    }
}

fn is_of(lab: &Lab, denial: &Denial, cell: &Cell, why: &str) -> bool {
    let names = |text: &str, end: usize| {
        let end = &lab.ends()[end];
        text.contains(&end.address(cell.family).to_string())
            && (!matches!(end.place, Place::Pod { .. }) || text.contains(&end.name))
    };
    why.starts_with(&denial.direction)
        && why.ends_with(&denial.rule)
        && names(&denial.src, cell.src)
        && names(&denial.dst, cell.dst)
}

#[test]
fn the_matrix_with_a_kernel_peer_is_what_the_policies_say_through_taps() {
    the_matrix_is_what_the_policies_say(NodeKind::Kernel, Attach::Tap);
}

#[test]
fn the_matrix_with_a_kernel_peer_is_what_the_policies_say_through_veths() {
    the_matrix_is_what_the_policies_say(NodeKind::Kernel, Attach::Veth);
}

#[test]
fn the_matrix_with_a_weir_peer_is_what_the_policies_say_through_taps() {
    the_matrix_is_what_the_policies_say(NodeKind::Weir, Attach::Tap);
}

#[test]
fn the_matrix_with_a_weir_peer_is_what_the_policies_say_through_veths() {
    the_matrix_is_what_the_policies_say(NodeKind::Weir, Attach::Veth);
}

#[test]
fn the_matrix_with_a_kernel_peer_is_what_the_policies_say_over_af_xdp() {
    let nodes = lab().nodes([NodeKind::Weir, NodeKind::Kernel]);
    the_matrix_is_what_the_policies_say_in(nodes.underlay(UnderlayKind::AfXdp));
}

#[test]
fn the_matrix_with_a_weir_peer_is_what_the_policies_say_over_af_xdp() {
    let nodes = lab().nodes([NodeKind::Weir, NodeKind::Weir]);
    the_matrix_is_what_the_policies_say_in(nodes.underlay(UnderlayKind::AfXdp));
}

#[test]
fn the_matrix_with_a_kernel_peer_is_what_the_policies_say_by_a_ring() {
    let nodes = lab().nodes([NodeKind::Weir, NodeKind::Kernel]);
    the_matrix_is_what_the_policies_say_in(nodes.underlay(UnderlayKind::AfPacket).ring(true));
}

#[test]
fn the_matrix_with_a_weir_peer_is_what_the_policies_say_by_a_ring() {
    let nodes = lab().nodes([NodeKind::Weir, NodeKind::Weir]);
    the_matrix_is_what_the_policies_say_in(
        nodes.underlay(UnderlayKind::AfPacket).ring(true).transmit_ring(false),
    );
}
