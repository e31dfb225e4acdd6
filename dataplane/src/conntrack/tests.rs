//! What the packet path relies on: whole connections, port reuse, and the behaviour of a full table.

use std::net::IpAddr;
use std::time::Duration;

use ahash::RandomState;

use super::*;
use crate::drop_reason::DropReason;
use crate::time::Timestamp;

const SYN: Signal = Signal::Tcp { flags: 0x02 };
const SYN_ACK: Signal = Signal::Tcp { flags: 0x12 };
const ACK: Signal = Signal::Tcp { flags: 0x10 };
const FIN_ACK: Signal = Signal::Tcp { flags: 0x11 };
const RST: Signal = Signal::Tcp { flags: 0x04 };
const SENT: Dir = Dir::Original;
const BACK: Dir = Dir::Reply;

fn table(max_entries: usize, owner_quota: usize) -> ConnTable {
    let config = ConntrackConfig { max_entries, owner_quota, timeouts: Timeouts::default() };
    ConnTable::new(config, RandomState::with_seeds(1, 2, 3, 4))
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::ZERO.plus(Duration::from_secs(seconds))
}

fn pod(last: u8) -> IpAddr {
    IpAddr::from([10, 42, 0, last])
}

fn tcp(from: u8, src_port: u16) -> Tuple {
    Tuple::new(pod(from), pod(200), protocol::TCP, src_port, 80).unwrap()
}

fn udp(from: u8, src_port: u16) -> Tuple {
    Tuple::new(pod(from), pod(200), protocol::UDP, src_port, 53).unwrap()
}

fn insert(table: &ConnTable, tuple: Tuple, owner: u32, signal: Signal) -> Result<ConnId, InsertError> {
    table.insert(tuple, Owner(owner), Owner::NONE, 1, signal, 60, at(0))
}

/// Opens a connection and completes its handshake at `at(0)`.
fn establish(table: &ConnTable, from: u8, src_port: u16) -> ConnId {
    let id = insert(table, tcp(from, src_port), u32::from(from), SYN).unwrap();
    table.update(id, BACK, SYN_ACK, 60, at(0)).unwrap();
    table.update(id, SENT, ACK, 52, at(0)).unwrap();
    id
}

fn state(table: &ConnTable, id: ConnId) -> &'static str {
    table.get(id).map_or("none", |conn| conn.state_name())
}

#[test]
fn both_directions_of_a_connection_are_found_and_counted() {
    let table = table(10, 10);
    let id = establish(&table, 1, 1000);
    assert_eq!(table.lookup(&tcp(1, 1000)), Some((id, SENT)));
    assert_eq!(table.lookup(&tcp(1, 1000).reversed()), Some((id, BACK)));
    assert_eq!(state(&table, id), "ESTABLISHED");
    let conn = table.get(id).unwrap();
    assert_eq!((conn.packets(SENT), conn.bytes(SENT)), (2, 112));
    assert_eq!((conn.packets(BACK), conn.bytes(BACK)), (1, 60));
    assert!(conn.assured() && conn.replied());
}

#[test]
fn another_port_host_protocol_or_family_is_another_connection() {
    let table = table(10, 10);
    establish(&table, 1, 1000);
    let six = |last: u8| IpAddr::from([0, 0, 0, 0, 0, 0xffff, 0x0a2a, u16::from(last)]);
    let foreign = [
        tcp(1, 1001),
        tcp(2, 1000),
        Tuple::new(pod(1), pod(200), protocol::UDP, 1000, 80).unwrap(),
        Tuple::new(pod(1), pod(200), protocol::TCP, 1000, 81).unwrap(),
        Tuple::new(six(1), six(200), protocol::TCP, 1000, 80).unwrap(),
    ];
    for tuple in foreign {
        assert_eq!(table.lookup(&tuple), None, "{tuple:?}");
    }
}

#[test]
fn only_openers_open() {
    let table = table(10, 10);
    for flags in [0x10, 0x12, 0x04, 0x11, 0x01, 0x00, 0x29, 0x03, 0x06] {
        let signal = Signal::Tcp { flags };
        assert!(!ConnTable::may_open(signal));
        assert_eq!(insert(&table, tcp(1, 1), 1, signal), Err(InsertError::Invalid), "{flags:#x}");
    }
    let reply = Tuple::icmp_echo(pod(1), pod(2), 1, 7, false).unwrap();
    for signal in [Signal::IcmpEcho { request: false }, Signal::IcmpEcho { request: true }, Signal::Other] {
        assert_eq!(insert(&table, reply, 1, signal), Err(InsertError::Invalid));
    }
    assert_eq!(insert(&table, udp(1, 1), 1, Signal::Continuation), Err(InsertError::Invalid));
    assert_eq!(insert(&table, udp(1, 1), 1, SYN), Err(InsertError::Invalid), "another protocol's signal");
    let land = Tuple::new(pod(1), pod(1), protocol::TCP, 9, 9).unwrap();
    assert_eq!(insert(&table, land, 1, SYN), Err(InsertError::Invalid), "its own reply");
    assert_eq!(table.stats().invalid, 15);
    assert!(table.is_empty());
}

#[test]
fn a_connection_in_the_way_of_its_own_replies_is_refused() {
    let table = table(10, 10);
    insert(&table, udp(1, 1000), 1, Signal::Udp).unwrap();
    assert_eq!(insert(&table, udp(1, 1000), 1, Signal::Udp), Err(InsertError::Invalid));
    assert_eq!(insert(&table, udp(1, 1000).reversed(), 1, Signal::Udp), Err(InsertError::Invalid));
}

#[test]
fn packets_that_fit_no_state_are_invalid_and_change_nothing() {
    let table = table(10, 10);
    let id = establish(&table, 1, 1000);
    for flags in [0x00, 0x29, 0x03, 0x01, 0x3f] {
        for dir in [SENT, BACK] {
            let signal = Signal::Tcp { flags };
            assert_eq!(table.update(id, dir, signal, 60, at(5)), Err(Invalid), "{flags:#x}");
        }
    }
    assert_eq!(table.update(id, BACK, SYN, 60, at(5)), Err(Invalid), "SYN on a reply tuple");
    assert_eq!(table.update(id, SENT, Signal::Udp, 60, at(5)), Err(Invalid));
    let conn = table.get(id).unwrap();
    assert_eq!(conn.packets(SENT), 2);
    assert_eq!(conn.deadline(), at(432_000));
    assert_eq!(DropReason::from(Invalid), DropReason::ConntrackInvalid);
}

#[test]
fn a_ping_takes_its_replies_and_no_requests_back() {
    let table = table(10, 10);
    let request = Tuple::icmp_echo(pod(1), pod(2), protocol::ICMP, 7, true).unwrap();
    let id = insert(&table, request, 1, Signal::IcmpEcho { request: true }).unwrap();
    assert_eq!(state(&table, id), "UNREPLIED");
    let back = Tuple::icmp_echo(pod(2), pod(1), protocol::ICMP, 7, false).unwrap();
    assert_eq!(table.lookup(&back), Some((id, BACK)));
    table.update(id, BACK, Signal::IcmpEcho { request: false }, 84, at(1)).unwrap();
    assert_eq!(state(&table, id), "ASSURED");
    assert_eq!(table.lookup(&Tuple::icmp_echo(pod(2), pod(1), protocol::ICMP, 7, true).unwrap()), None);
}

#[test]
fn a_fresh_syn_reopens_what_is_over_and_says_so() {
    let table = table(10, 10);
    let id = establish(&table, 1, 1000);
    for (dir, signal) in [(SENT, FIN_ACK), (BACK, FIN_ACK), (SENT, ACK)] {
        assert!(!table.update(id, dir, signal, 52, at(1)).unwrap().reopened);
    }
    assert_eq!(state(&table, id), "TIME_WAIT");
    assert!(table.update(id, SENT, SYN, 60, at(2)).unwrap().reopened);
    let conn = table.get(id).unwrap();
    assert_eq!((conn.state_name(), conn.replied(), conn.assured()), ("SYN_SENT", false, false));
    assert_eq!((conn.created(), conn.packets(SENT), conn.packets(BACK)), (at(2), 1, 0));

    table.update(id, BACK, RST, 40, at(3)).unwrap();
    assert_eq!(state(&table, id), "CLOSE");
    assert!(
        table.update(id, SENT, SYN, 60, at(4)).unwrap().reopened,
        "the port was refused, and is tried again"
    );
}

#[test]
fn a_reset_connection_ends_in_ten_seconds_though_it_was_good_for_five_days() {
    let table = table(10, 10);
    let id = establish(&table, 1, 1000);
    table.update(id, BACK, RST, 40, at(100)).unwrap();
    assert_eq!(table.expire(at(109), 100), 0);
    assert_eq!(table.expire(at(110), 100), 1);
    assert!(table.is_empty());
    assert_eq!(table.stats().expired, 1);
}

#[test]
fn an_idle_established_connection_lasts_five_days_and_traffic_prolongs_it() {
    let table = table(10, 10);
    let id = establish(&table, 1, 1000);
    let days = |count: u64| at(count * 86_400);
    for day in 1..=4 {
        table.expire(days(day), 100);
    }
    table.update(id, BACK, ACK, 52, days(4)).unwrap();
    table.expire(Timestamp::from_nanos(days(9).as_nanos() - 1), 100);
    assert!(table.lookup(&tcp(1, 1000)).is_some());
    table.expire(days(9), 100);
    assert!(table.lookup(&tcp(1, 1000)).is_none());
}

#[test]
fn udp_becomes_a_stream_after_two_seconds_of_both_ends() {
    let table = table(10, 10);
    let id = insert(&table, udp(1, 1000), 1, Signal::Udp).unwrap();
    table.update(id, BACK, Signal::Udp, 90, at(1)).unwrap();
    assert_eq!(table.get(id).unwrap().deadline(), at(31));
    table.update(id, SENT, Signal::Udp, 90, at(2)).unwrap();
    assert_eq!(table.get(id).unwrap().deadline(), at(122));
}

#[test]
fn a_later_fragment_counts_and_refreshes_nothing() {
    let table = table(10, 10);
    let id = insert(&table, udp(1, 1000), 1, Signal::Udp).unwrap();
    table.update(id, BACK, Signal::Continuation, 90, at(1)).unwrap();
    let conn = table.get(id).unwrap();
    assert_eq!((conn.packets(BACK), conn.replied(), conn.deadline()), (1, false, at(30)));
}

#[test]
fn what_has_ended_is_not_found_even_where_the_sweep_did_not_reach_it() {
    let table = table(10, 10);
    let old = insert(&table, udp(1, 1000), 1, Signal::Udp).unwrap();
    assert_eq!(table.expire(at(30), 0), 0);
    assert_eq!(table.lookup(&udp(1, 1000)), None);
    assert_eq!(table.len(), 1);
    let opened = table.insert(udp(1, 1000), Owner(1), Owner::NONE, 2, Signal::Udp, 60, at(30)).unwrap();
    assert_ne!(opened, old);
    assert_eq!(table.len(), 1);
}

#[test]
fn a_name_never_leads_to_the_next_tenant_of_its_place() {
    let table = table(1, 1);
    let first = insert(&table, udp(1, 1000), 1, Signal::Udp).unwrap();
    let second = insert(&table, udp(1, 1001), 1, Signal::Udp).unwrap();
    assert!(table.get(first).is_none());
    assert_eq!(table.update(first, SENT, Signal::Udp, 60, at(0)), Err(Invalid));
    table.remove(first);
    assert!(table.get(second).is_some());
}

#[test]
fn a_syn_flood_costs_the_flooder_its_own_half_open_connections_only() {
    let table = table(100, 25);
    let established: Vec<_> = (0..20).map(|port| establish(&table, 1, port)).collect();
    let pending = insert(&table, tcp(2, 5), 2, SYN).unwrap();
    let own = establish(&table, 9, 1);
    for port in 2..5_000 {
        let opened = insert(&table, tcp(9, port), 9, SYN);
        assert!(opened.is_ok(), "a new flow may replace an older half-open one");
    }
    assert_eq!(table.held_by(Owner(9)), 25);
    assert!(established.iter().chain([&pending, &own]).all(|id| table.get(*id).is_some()));
    assert_eq!(table.stats().evicted_unreplied, 4_998 + 1 - 25);
}

#[test]
fn answered_but_unfinished_handshakes_are_evicted_too() {
    let table = table(4, 4);
    for port in 0..4 {
        let id = insert(&table, tcp(1, port), 1, SYN).unwrap();
        table.update(id, BACK, SYN_ACK, 60, at(0)).unwrap();
    }
    assert!(insert(&table, tcp(1, 9), 1, SYN).is_ok());
    assert!(table.lookup(&tcp(1, 0)).is_none(), "the oldest made way");
}

#[test]
fn a_quota_full_of_established_connections_refuses() {
    let table = table(100, 3);
    for port in 0..3 {
        establish(&table, 1, port);
    }
    let refused = insert(&table, tcp(1, 9), 1, SYN);
    assert_eq!(refused, Err(InsertError::Quota));
    assert_eq!(DropReason::from(InsertError::Quota), DropReason::ConntrackQuota);
    assert!(insert(&table, tcp(2, 9), 2, SYN).is_ok());
}

#[test]
fn a_full_table_takes_from_the_owner_with_most_to_spare_and_never_the_established() {
    let table = table(6, 6);
    for port in 0..2 {
        establish(&table, 1, port);
    }
    insert(&table, tcp(2, 0), 2, SYN).unwrap();
    for port in 0..3 {
        insert(&table, tcp(3, port), 3, SYN).unwrap();
    }
    establish(&table, 4, 0);
    assert!(table.lookup(&tcp(3, 0)).is_none(), "the oldest of the richest");
    assert!(table.lookup(&tcp(2, 0)).is_some());
    for port in 1..4 {
        establish(&table, 4, port);
    }
    assert_eq!(insert(&table, tcp(5, 0), 5, SYN), Err(InsertError::Full));
    assert_eq!(table.stats().refused_full, 1);
    assert_eq!(table.iter().filter(|(_, conn)| conn.assured()).count(), 6);
}

#[test]
fn closed_connections_go_before_pending_ones() {
    let table = table(3, 3);
    let pending = insert(&table, tcp(1, 0), 1, SYN).unwrap();
    let closed = establish(&table, 1, 1);
    establish(&table, 1, 2);
    table.update(closed, BACK, RST, 40, at(0)).unwrap();
    insert(&table, tcp(1, 3), 1, SYN).unwrap();
    assert!(table.get(closed).is_none() && table.get(pending).is_some());
    assert_eq!(table.stats().evicted_closed, 1);
}

#[test]
fn a_connection_from_elsewhere_is_charged_to_the_pod_it_leads_to() {
    let table = table(10, 2);
    for port in 0..5 {
        let opened = table.insert(tcp(1, port), Owner::NONE, Owner(7), 1, SYN, 60, at(0));
        assert!(opened.is_ok());
    }
    assert_eq!((table.held_by(Owner(7)), table.held_by(Owner::NONE)), (2, 0));
}

#[test]
fn who_judges_by_an_older_generation_ends_no_connection_of_a_new_pod() {
    let table = table(10, 10);
    table.insert(udp(1, 1), Owner(1), Owner(2), 1, Signal::Udp, 60, at(0)).unwrap();
    table.begin_purge(8);
    table.begin_purge(7);
    assert!(!table.purge(7, 10, |_| true));
    assert_eq!(table.len(), 1);
    assert!(table.purge(8, 10, |_| false));
}

#[test]
fn an_owner_that_goes_takes_its_connections_along() {
    let table = table(10, 10);
    table.insert(udp(1, 1), Owner(1), Owner(2), 1, Signal::Udp, 60, at(0)).unwrap();
    table.insert(udp(3, 1), Owner(3), Owner(1), 1, Signal::Udp, 60, at(0)).unwrap();
    let other = table.insert(udp(3, 2), Owner(3), Owner(2), 1, Signal::Udp, 60, at(0)).unwrap();
    let gone = |conn: &Conn| [conn.source_owner, conn.dest_owner].contains(&Owner(1));
    assert!(!table.purge(7, 2, gone), "not begun");
    table.begin_purge(7);
    assert_eq!([2, 2, 2].map(|budget| table.purge(7, budget, gone)), [true, true, false]);
    assert_eq!(table.stats().removed, 2);
    assert_eq!(table.iter().map(|(id, _)| id).collect::<Vec<_>>(), [other]);
}

#[test]
fn judging_again_leaves_a_mark() {
    let table = table(10, 10);
    let id = insert(&table, udp(1, 1), 1, Signal::Udp).unwrap();
    table.mark_judged(id, 9);
    assert_eq!((table.generation(id), table.get(id).unwrap().generation), (Some(9), 9));
}

#[test]
fn an_sctp_association_opens_by_init_and_is_named_as_in_netfilter() {
    let table = table(10, 10);
    let tuple = Tuple::new(pod(1), pod(2), protocol::SCTP, 5000, 7000).unwrap();
    let chunk = |kind| Signal::Sctp { chunk: Some(kind) };
    assert_eq!(insert(&table, tuple, 1, chunk(0)), Err(InsertError::Invalid));
    let id = insert(&table, tuple, 1, chunk(1)).unwrap();
    for (dir, kind) in [(BACK, 2), (SENT, 10), (BACK, 11)] {
        table.update(id, dir, chunk(kind), 60, at(0)).unwrap();
    }
    assert_eq!(state(&table, id), "ESTABLISHED");
    table.update(id, SENT, chunk(6), 60, at(0)).unwrap();
    assert!(table.update(id, SENT, chunk(1), 60, at(1)).unwrap().reopened);
}
