use core::mem::{align_of, size_of};

use crate::{
    ConnectionId, Endpoints,
    flow::FlowEvent,
    message::{ConnectionState, GoOffsets, MessageEvent},
    sample::{ActiveExchange, MAX_COPY, MAX_FRAMES, REGISTERS, SampleEvent, StoppedFrame, UserEnd},
    signal_frame,
    udp::{DnsEvent, RemoteClass, UdpFlow, UdpKey, UdpSock},
    unwind::{Chunk, MAX_PAGE_ROWS, PART_BITS, PARTS, Page, Row, Rule, Segment, Space},
};

/// The sizes are part of the contract: a change is a new [`crate::VERSION`].
#[test]
fn layouts_are_fixed_and_hold_no_padding() {
    assert_eq!(size_of::<Endpoints>(), 40);
    assert_eq!(size_of::<ConnectionId>(), 16);
    assert_eq!(size_of::<FlowEvent>(), 16 + 9 * 8 + 8 * 4 + 40 + 8 + 16);
    assert_eq!(size_of::<MessageEvent>(), 16 + 4 * 8 + 5 * 4 + 4 + 40 + 8);
    assert_eq!(
        size_of::<ConnectionState>(),
        6 * 8 + 2 * 4 + 8 + 40 + 16 + 8 + 2 * 8 + 2 * 8
    );
    assert_eq!(
        size_of::<SampleEvent>(),
        8 + 24 + 8 + 3 * 4 + 2 * 2 + 16 + 4 + 2 + 2
    );
    assert_eq!(size_of::<StoppedFrame>(), 8 + 2 * 4 + REGISTERS * 8);
    assert_eq!(size_of::<Space>(), 2 * 4 + 2 * 8 + 2 * 4);
    assert_eq!(size_of::<Segment>(), 3 * 8 + 6 * 4);
    assert_eq!(size_of::<Page>(), 3 * 4 + (PARTS + 1) * 2 + 2);
    assert_eq!(size_of::<Row>(), 2 * 2);
    assert_eq!(size_of::<Chunk>(), 256);
    assert_eq!(size_of::<Rule>(), 8 + 4 * 4);
    assert_eq!(size_of::<ActiveExchange>(), 24);
    assert_eq!(size_of::<GoOffsets>(), 4 * 8 + 5 * 4 + 4);
    assert_eq!(size_of::<UdpKey>(), 4 + 2 * 2 + 16 + 8);
    assert_eq!(size_of::<UdpFlow>(), 2 * 8 + 4 * 8 + 2 * 4 + 16);
    assert_eq!(size_of::<DnsEvent>(), 2 * 8 + 3 * 4 + 2 * 2 + 16 + 8 + 16);
    assert_eq!(size_of::<UdpSock>(), 16 + 8 + 5 * 4 + 2 * 2 + 8);
    assert!(align_of::<FlowEvent>() <= 8 && align_of::<SampleEvent>() <= 8);
}

#[test]
fn parts_make_a_page() {
    assert_eq!(PARTS << PART_BITS, MAX_PAGE_ROWS as usize);
    assert!(PARTS.is_power_of_two());
}

#[test]
fn a_whole_record_fits_a_per_cpu_value_and_its_fields() {
    let longest =
        size_of::<SampleEvent>() + 2 * MAX_FRAMES * 8 + size_of::<StoppedFrame>() + MAX_COPY;
    assert!(longest <= 32 << 10 && MAX_COPY <= usize::from(u16::MAX));
}

#[test]
fn every_end_has_a_code_and_only_want_of_knowledge_a_copy() {
    for (code, &end) in UserEnd::ALL.iter().enumerate() {
        assert_eq!(usize::from(end.code()), code);
        assert_eq!(UserEnd::of(end.code()), Some(end));
        assert!(!(end.is_whole() && end.wants_copy()));
    }
    assert_eq!(UserEnd::of(UserEnd::ALL.len() as u8), None);
}

#[test]
fn addresses_have_the_class_that_their_registries_give_them() {
    let v4 = |address: [u8; 4]| {
        let [a, b, c, d] = address;
        RemoteClass::of(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d])
    };
    let v6 = |start: [u8; 2], end: u8| {
        let mut address = [0; 16];
        address[..2].copy_from_slice(&start);
        address[15] = end;
        RemoteClass::of(&address)
    };
    assert_eq!(v4([127, 0, 0, 53]), RemoteClass::LOOPBACK);
    assert_eq!(v4([0, 0, 0, 0]), RemoteClass::LOOPBACK);
    for private in [
        [10, 0, 0, 1],
        [172, 16, 0, 1],
        [172, 31, 255, 255],
        [192, 168, 1, 1],
        [100, 64, 0, 1],
        [100, 127, 0, 1],
    ] {
        assert_eq!(v4(private), RemoteClass::PRIVATE, "{private:?}");
    }
    for public in [
        [8, 8, 8, 8],
        [172, 32, 0, 1],
        [172, 15, 0, 1],
        [192, 167, 0, 1],
        [100, 128, 0, 1],
        [11, 0, 0, 1],
    ] {
        assert_eq!(v4(public), RemoteClass::PUBLIC, "{public:?}");
    }
    assert_eq!(v4([169, 254, 169, 254]), RemoteClass::LINK_LOCAL);
    assert_eq!(v4([224, 0, 0, 251]), RemoteClass::MULTICAST);
    assert_eq!(v4([255, 255, 255, 255]), RemoteClass::MULTICAST);
    assert_eq!(v6([0, 0], 1), RemoteClass::LOOPBACK);
    assert_eq!(v6([0xff, 0x02], 0xfb), RemoteClass::MULTICAST);
    assert_eq!(v6([0xfe, 0x80], 1), RemoteClass::LINK_LOCAL);
    assert_eq!(v6([0xfd, 0x12], 1), RemoteClass::PRIVATE);
    assert_eq!(v6([0x20, 0x01], 1), RemoteClass::PUBLIC);
    assert_eq!(v6([0, 0], 2), RemoteClass::PUBLIC);
}

#[test]
fn a_signals_frame_names_each_register_once() {
    let mut numbers = signal_frame::x86_64::REGISTERS;
    numbers.sort_unstable();
    assert!((0..16).eq(numbers));
}
