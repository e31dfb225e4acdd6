//! The rings, with the other side played by the test.

use std::sync::atomic::AtomicU32;

use super::*;
use proptest::prelude::*;

const SIZE: u32 = 8;
const LAYOUT: Layout = Layout { producer: 0, consumer: 64, flags: 128, entries: 192 };

/// The kernel's side of a ring: plain numbers and entries.
struct Kernel<'a>(&'a Mapping);

impl Kernel<'_> {
    fn number(&self, at: u64) -> &AtomicU32 {
        self.0.number(at as usize).unwrap()
    }

    fn set(&self, at: u64, value: u32) {
        self.number(at).store(value, Ordering::Release);
    }
}

/// Where the entry of that number lies.
fn entry(index: u32) -> usize {
    LAYOUT.entries as usize + (index % SIZE) as usize * 8
}

fn mapping() -> Mapping {
    Mapping::fresh(4096, 0).unwrap()
}

fn producer(begin: u32) -> Producer<u64> {
    let mapping = mapping();
    let kernel = Kernel(&mapping);
    kernel.set(LAYOUT.producer, begin);
    kernel.set(LAYOUT.consumer, begin);
    Producer::new(mapping, LAYOUT, SIZE).unwrap()
}

fn consumer(begin: u32) -> Consumer<u64> {
    let mapping = mapping();
    let kernel = Kernel(&mapping);
    kernel.set(LAYOUT.producer, begin);
    kernel.set(LAYOUT.consumer, begin);
    Consumer::new(mapping, LAYOUT, SIZE).unwrap()
}

#[test]
fn the_kernel_sees_entries_once_they_are_published_also_through_the_wrap() {
    let begin = u32::MAX - 2;
    let mut ring = producer(begin);
    assert!((0..8).all(|n| ring.push(100 + n)));
    assert!(!ring.push(200), "full");
    let sees =
        |ring: &Producer<u64>| Kernel(&ring.ring.mapping).number(LAYOUT.producer).load(Ordering::Acquire);
    assert_eq!(sees(&ring), begin);
    ring.publish();
    assert_eq!(sees(&ring), begin.wrapping_add(8));
    assert_eq!(ring.waiting(), 8);
    let kernel = Kernel(&ring.ring.mapping);
    let first: u64 = ring.ring.mapping.read(entry(begin)).unwrap();
    assert_eq!(first, 100);
    kernel.set(LAYOUT.consumer, begin.wrapping_add(3));
    assert_eq!(ring.waiting(), 5);
    assert!((0..3).all(|n| ring.push(200 + n)) && !ring.push(300));
}

#[test]
fn the_kernel_gets_room_back_once_it_is_released() {
    let begin = u32::MAX - 2;
    let mut ring = consumer(begin);
    assert_eq!((ring.available(), ring.pop()), (0, None));
    for n in 0..8_u32 {
        let index = begin.wrapping_add(n);
        assert!(ring.ring.mapping.write(entry(index), u64::from(n)));
    }
    Kernel(&ring.ring.mapping).set(LAYOUT.producer, begin.wrapping_add(8));
    assert_eq!(ring.pop(), None, "not looked at yet");
    assert_eq!(ring.available(), 8);
    assert_eq!((ring.pop(), ring.pop()), (Some(0), Some(1)));
    let sees =
        |ring: &Consumer<u64>| Kernel(&ring.ring.mapping).number(LAYOUT.consumer).load(Ordering::Acquire);
    assert_eq!(sees(&ring), begin);
    assert!(ring.release(), "it was full until then");
    assert_eq!(sees(&ring), begin.wrapping_add(2));
    assert!(!ring.release());
    assert_eq!(std::iter::from_fn(|| ring.pop()).collect::<Vec<_>>(), [2, 3, 4, 5, 6, 7]);
    assert!(!ring.release());
}

#[test]
fn a_ring_that_is_not_inside_its_mapping_is_refused() {
    let outside = [
        Layout { entries: 4096 - 8 * u64::from(SIZE) + 1, ..LAYOUT },
        Layout { producer: 4093, ..LAYOUT },
        Layout { consumer: 2, ..LAYOUT },
        Layout { flags: u64::MAX, ..LAYOUT },
        Layout { entries: u64::MAX, ..LAYOUT },
    ];
    for layout in outside {
        assert!(Producer::<u64>::new(mapping(), layout, SIZE).is_err(), "{layout:?}");
        assert!(Consumer::<Descriptor>::new(mapping(), layout, SIZE).is_err(), "{layout:?}");
    }
    for size in [0, 6, 1 << 31] {
        assert!(Producer::<u64>::new(mapping(), LAYOUT, size).is_err(), "{size}");
    }
}

#[test]
fn a_wish_to_be_woken_shows() {
    let ring = producer(0);
    assert!(!ring.wants_wakeup());
    Kernel(&ring.ring.mapping).set(LAYOUT.flags, libc::XDP_RING_NEED_WAKEUP);
    assert!(ring.wants_wakeup());
}

proptest! {
    /// Whatever numbers stand on the other side: no more than a ring full goes in or comes out.
    #[test]
    fn numbers_that_make_no_sense_do_no_harm(
        begin: u32,
        counts in prop::collection::vec(any::<u32>(), 1..20),
    ) {
        let (mut input, mut output) = (producer(begin), consumer(begin));
        for count in counts {
            Kernel(&input.ring.mapping).set(LAYOUT.consumer, count);
            Kernel(&output.ring.mapping).set(LAYOUT.producer, count);
            let put = (0..100).take_while(|&n| input.push(n)).count();
            input.publish();
            prop_assert!(put <= SIZE as usize && input.waiting() <= SIZE);
            prop_assert!(output.available() <= SIZE);
            prop_assert!(std::iter::from_fn(|| output.pop()).take(100).count() <= SIZE as usize);
            output.release();
        }
    }
}
