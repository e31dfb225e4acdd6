//! What the packet path relies on, attack by attack (RFC 1858, 3128, 5722).

use std::net::IpAddr;
use std::time::Duration;

use super::*;
use crate::buffer::Frame;
use crate::drop_reason::DropReason;
use crate::time::Timestamp;

const NOW: Timestamp = Timestamp::ZERO;

fn at(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

fn key(id: u32) -> FragKey {
    FragKey {
        src: IpAddr::from([10, 42, 0, 1]),
        dst: IpAddr::from([10, 42, 1, 1]),
        protocol: 17,
        id,
        port: 1,
    }
}

fn table() -> FragTable<u16> {
    FragTable::new(FragConfig::default())
}

fn frame(mark: u8) -> Frame {
    Frame::from_bytes(&[mark])
}

fn first(table: &mut FragTable<u16>, key: FragKey, end: u32, l4: u16) -> Result<Vec<u8>, DropReason> {
    let mut released = Vec::new();
    table.first(key, end, l4, NOW, &mut released)?;
    Ok(released.iter().map(|frame| frame.bytes()[0]).collect())
}

fn later(
    table: &mut FragTable<u16>,
    key: FragKey,
    offset: u32,
    len: u32,
    more: bool,
) -> Result<u16, DropReason> {
    match table.later(key, offset, len, more, frame(9), NOW) {
        Later::Known(l4, _) => Ok(l4),
        Later::Drop(_, reason) => Err(reason),
        Later::Held => panic!("held"),
    }
}

fn dropped(table: &mut FragTable<u16>, now: Timestamp) -> Vec<DropReason> {
    let mut dropped = Vec::new();
    table.expire(now, &mut dropped);
    dropped.into_iter().map(|(_, reason)| reason).collect()
}

#[test]
fn later_fragments_are_treated_as_the_first_and_a_complete_datagram_leaves_no_trace() {
    let mut table = table();
    assert_eq!(first(&mut table, key(1), 1424, 8080), Ok(vec![]));
    assert_eq!(later(&mut table, key(1), 1424, 1424, true), Ok(8080));
    assert_eq!(later(&mut table, key(1), 2848, 100, false), Ok(8080));
    assert!(table.is_empty());
}

#[test]
fn fragments_that_overtook_the_first_are_released_in_the_order_they_came() {
    let mut table = table();
    for (mark, offset, more) in [(3, 24, false), (1, 8, true), (2, 16, true)] {
        assert!(matches!(table.later(key(1), offset, 8, more, frame(mark), NOW), Later::Held));
    }
    assert_eq!(table.held_frames(), 3);
    assert_eq!(first(&mut table, key(1), 8, 53), Ok(vec![3, 1, 2]));
    assert!(table.is_empty() && table.held_frames() == 0, "complete");
}

#[test]
fn another_source_protocol_id_or_port_is_another_datagram() {
    let mut table = table();
    first(&mut table, key(1), 8, 53).unwrap();
    let src = IpAddr::from([10, 42, 0, 2]);
    let foreign = [
        FragKey { src, ..key(1) },
        FragKey { dst: src, ..key(1) },
        FragKey { protocol: 6, ..key(1) },
        FragKey { port: 2, ..key(1) },
        key(2),
    ];
    for key in foreign {
        assert!(matches!(table.later(key, 8, 8, false, frame(1), NOW), Later::Held));
    }
}

#[test]
fn rfc5722_an_overlap_kills_the_datagram_and_all_that_follows() {
    let mut table = table();
    first(&mut table, key(1), 24, 80).unwrap();
    // Offset 1: would rewrite the ports' neighbours (RFC 3128).
    assert_eq!(later(&mut table, key(1), 8, 24, true), Err(DropReason::FragmentOverlap));
    assert_eq!(later(&mut table, key(1), 24, 8, false), Err(DropReason::FragmentOverlap));
    assert_eq!(first(&mut table, key(1), 24, 22), Err(DropReason::FragmentOverlap));
    assert_eq!(dropped(&mut table, at(30)), []);
    assert_eq!(first(&mut table, key(1), 24, 80), Ok(vec![]), "the identification is free again");
}

#[test]
fn frames_held_for_a_killed_datagram_come_back_with_the_reason() {
    let mut table = table();
    assert!(matches!(table.later(key(1), 16, 16, true, frame(1), NOW), Later::Held));
    assert_eq!(later(&mut table, key(1), 24, 16, true), Err(DropReason::FragmentOverlap));
    assert_eq!(dropped(&mut table, NOW), [DropReason::FragmentOverlap]);
    assert_eq!(table.held_frames(), 0);
}

#[test]
fn an_exact_duplicate_is_dropped_alone_and_never_changes_what_was_judged() {
    let mut table = table();
    first(&mut table, key(1), 24, 80).unwrap();
    assert_eq!(first(&mut table, key(1), 24, 22), Err(DropReason::FragmentOverlap));
    assert_eq!(later(&mut table, key(1), 24, 8, true), Ok(80));
    assert_eq!(later(&mut table, key(1), 24, 8, true), Err(DropReason::FragmentOverlap));
    assert_eq!(later(&mut table, key(1), 32, 8, false), Ok(80));
    assert!(table.is_empty());
}

#[test]
fn two_ends_kill_the_datagram() {
    for (offset, more) in [(40, false), (40, true), (16, false)] {
        let mut table = table();
        first(&mut table, key(1), 8, 80).unwrap();
        assert_eq!(later(&mut table, key(1), 24, 8, false), Ok(80));
        assert_eq!(
            later(&mut table, key(1), offset, 8, more),
            Err(DropReason::FragmentOverlap),
            "{offset} {more}"
        );
        assert_eq!(later(&mut table, key(1), 8, 8, true), Err(DropReason::FragmentOverlap));
    }
}

#[test]
fn a_last_fragment_before_bytes_already_seen_kills_the_datagram() {
    let mut table = table();
    first(&mut table, key(1), 8, 80).unwrap();
    assert_eq!(later(&mut table, key(1), 24, 8, true), Ok(80));
    assert_eq!(later(&mut table, key(1), 8, 8, false), Err(DropReason::FragmentOverlap));
}

#[test]
fn a_datagram_beyond_65535_bytes_is_killed() {
    let mut table = table();
    first(&mut table, key(1), 8, 80).unwrap();
    assert_eq!(later(&mut table, key(1), 65_528, 16, false), Err(DropReason::LengthMismatch));
    assert_eq!(later(&mut table, key(1), 8, 8, false), Err(DropReason::LengthMismatch));
    assert_eq!(later(&mut table, key(2), u32::MAX, u32::MAX, false), Err(DropReason::LengthMismatch));
    assert_eq!(table.len(), 1, "malformed fragments make no entry");
}

#[test]
fn malformed_fragments_are_refused_without_an_entry() {
    let mut table = table();
    assert_eq!(first(&mut table, key(1), 12, 80), Err(DropReason::LengthMismatch), "not a multiple of 8");
    assert_eq!(first(&mut table, key(1), 0, 80), Err(DropReason::LengthMismatch));
    assert_eq!(later(&mut table, key(1), 8, 9, true), Err(DropReason::LengthMismatch));
    assert_eq!(later(&mut table, key(1), 8, 0, false), Err(DropReason::LengthMismatch));
    assert_eq!(later(&mut table, key(1), 0, 8, true), Err(DropReason::BadHeader));
    assert!(table.is_empty());
}

#[test]
fn a_later_fragment_without_first_waits_its_time_and_no_longer() {
    let mut table = table();
    assert!(matches!(table.later(key(1), 8, 8, false, frame(1), NOW), Later::Held));
    assert_eq!(dropped(&mut table, at(29)), []);
    assert_eq!(dropped(&mut table, at(30)), [DropReason::FragmentNoFirst]);
    assert!(table.is_empty());
}

#[test]
fn a_datagram_whose_time_is_up_is_not_used_even_where_the_sweep_did_not_come() {
    let mut table = table();
    first(&mut table, key(1), 8, 80).unwrap();
    assert!(matches!(table.later(key(1), 8, 8, false, frame(1), at(30)), Later::Held));
}

#[test]
fn a_datagram_that_cannot_be_held_whole_lets_go_of_its_frames() {
    let mut table = table();
    for number in 1..=16 {
        assert!(matches!(table.later(key(1), number * 8, 8, true, frame(1), NOW), Later::Held));
    }
    assert_eq!(later(&mut table, key(1), 17 * 8, 8, true), Err(DropReason::FragmentTableFull));
    assert_eq!(dropped(&mut table, NOW), [DropReason::FragmentTableFull; 16]);
    assert_eq!(first(&mut table, key(1), 8, 80), Err(DropReason::FragmentTableFull));
}

#[test]
fn a_source_that_fills_its_share_costs_others_nothing() {
    let mut table = table();
    let full = (0..2_000).filter(|id| first(&mut table, key(*id), 8, 80).is_err()).count();
    assert_eq!(full, 2_000 - 128);
    let neighbour = FragKey { src: IpAddr::from([10, 42, 0, 2]), ..key(1) };
    assert!(first(&mut table, neighbour, 8, 80).is_ok());

    for last in 3..=255 {
        let src = IpAddr::from([10, 42, 0, last]);
        for id in 0..128 {
            let _ = first(&mut table, FragKey { src, ..key(id) }, 8, 80);
        }
    }
    assert_eq!(table.len(), 512, "a port has half");
    assert!(first(&mut table, FragKey { port: 2, ..key(1) }, 8, 80).is_ok());
}

#[test]
fn held_frames_are_bounded_for_each_source_and_port() {
    let mut table = table();
    let mut held = 0;
    for last in 0..=255 {
        let src = IpAddr::from([10, 42, 0, last]);
        for id in 0..20 {
            let later = table.later(FragKey { src, ..key(id) }, 8, 8, true, frame(1), NOW);
            held += usize::from(matches!(later, Later::Held));
        }
    }
    assert_eq!((held, table.held_frames()), (32, 32));
    let other_port = FragKey { port: 2, ..key(1) };
    assert!(matches!(table.later(other_port, 8, 8, true, frame(1), NOW), Later::Held));
}

#[test]
fn more_fragments_than_are_followed_kill_the_datagram() {
    let mut table = table();
    first(&mut table, key(1), 8, 80).unwrap();
    for number in 1..64 {
        assert_eq!(later(&mut table, key(1), number * 8, 8, true), Ok(80));
    }
    assert_eq!(later(&mut table, key(1), 64 * 8, 8, false), Err(DropReason::FragmentTableFull));
}
