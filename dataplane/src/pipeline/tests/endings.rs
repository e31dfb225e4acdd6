//! What a tool is told of single packets.

use std::time::Duration;

use policy_compiler::Action;
use vxlan::mtu::Family;

use super::super::{Ended, Ending};
use super::packets::*;
use super::world::*;
use crate::drop_reason::DropReason;

const V4: Family = Family::V4;

fn endings(world: &mut World, frames: &[(u64, Vec<u8>)]) -> Vec<Ended> {
    let batch = frames
        .iter()
        .map(|(tag, bytes)| {
            let mut frame = world.frame(bytes);
            frame.tag = *tag;
            frame
        })
        .collect();
    world.inject_frames(world.blue, batch);
    world.pipeline.drain_endings().collect()
}

fn question(dst_port: u16) -> Ip {
    Ip::new(blue(V4), green(V4), 17, udp(4000, dst_port, &[7; 3000]))
}

#[test]
fn nothing_is_noted_unless_asked_for() {
    let mut world = World::new();
    assert_eq!(endings(&mut world, &[(1, question(53).frame())]), []);
}

#[test]
fn each_packet_is_told_by_its_tag_with_what_the_classifier_said() {
    let mut world = World::new();
    world.allow(|key| key.dst_port == 53);
    world.pipeline.note_endings();
    let small = |port| Ip::new(blue(V4), green(V4), 17, udp(4000, port, b"question")).frame();
    let ended = endings(&mut world, &[(7, small(53)), (9, small(54)), (11, small(53)), (12, vec![0; 9])]);
    let told: Vec<_> = ended.iter().map(|ended| (ended.tag, ended.ending)).collect();
    assert_eq!(
        told,
        [
            (7, Ending::Forwarded),
            (9, Ending::Dropped(DropReason::PolicyDeny)),
            (11, Ending::Forwarded),
            (12, Ending::Dropped(DropReason::Truncated))
        ]
    );
    let actions = |ended: &Ended| ended.judged.map(|verdict| verdict.map(|verdict| verdict.action));
    assert_eq!(actions(&ended[0]), [Some(Action::Allow); 2]);
    assert_eq!(actions(&ended[1]), [Some(Action::Deny); 2]);
    assert_eq!(actions(&ended[3]), [None; 2]);
}

#[test]
fn a_fragment_that_waits_is_told_twice() {
    let mut world = World::new();
    world.pipeline.note_endings();
    let mut pieces: Vec<_> =
        (1..).zip(question(53).fragments(1400)).map(|(tag, ip)| (tag, ip.frame())).collect();
    pieces.rotate_left(1);
    let ended = endings(&mut world, &pieces);
    let of =
        |tag| ended.iter().filter(|ended| ended.tag == tag).map(|ended| ended.ending).collect::<Vec<_>>();
    assert_eq!(of(1), [Ending::Forwarded]);
    assert_eq!(of(2), [Ending::Held, Ending::Forwarded]);

    let ended = endings(&mut world, &[(20, question(54).fragments(1400).remove(1).frame())]);
    assert_eq!(ended.iter().map(|ended| ended.ending).collect::<Vec<_>>(), [Ending::Held]);
    world.pass(Duration::from_secs(31));
    world.tick();
    let given_up: Vec<_> = world.pipeline.drain_endings().map(|ended| (ended.tag, ended.ending)).collect();
    assert_eq!(given_up, [(20, Ending::Dropped(DropReason::FragmentNoFirst))]);
}
