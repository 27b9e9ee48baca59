use super::*;

/// A record as the kernel program makes it.
pub(in crate::profile) fn record(
    tgid: u32,
    comm: &str,
    message: u32,
    kernel: &[u64],
    user: &[u64],
) -> Vec<u8> {
    let mut bytes = vec![0; size_of::<SampleEvent>()];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(offset_of!(SampleEvent, at_ns), &7_u64.to_ne_bytes());
    let exchange = offset_of!(SampleEvent, exchange);
    put(exchange, &0xabcd_u64.to_ne_bytes());
    put(exchange + 8, &42_u64.to_ne_bytes());
    put(
        exchange + offset_of!(ActiveExchange, message),
        &message.to_ne_bytes(),
    );
    put(offset_of!(SampleEvent, tgid), &tgid.to_ne_bytes());
    put(offset_of!(SampleEvent, tid), &(tgid + 1).to_ne_bytes());
    put(offset_of!(SampleEvent, comm), comm.as_bytes());
    let frames = |frames: &[u64]| {
        u16::try_from(frames.len())
            .expect("few frames")
            .to_ne_bytes()
    };
    put(offset_of!(SampleEvent, kernel_frames), &frames(kernel));
    put(offset_of!(SampleEvent, user_frames), &frames(user));
    put(
        offset_of!(SampleEvent, user_end),
        &[UserEnd::FramePointers.code()],
    );
    put(
        offset_of!(SampleEvent, space),
        &0xffff_8880_u64.to_ne_bytes(),
    );
    for frame in kernel.iter().chain(user) {
        bytes.extend_from_slice(&frame.to_ne_bytes());
    }
    bytes
}

#[test]
fn every_field_is_found() {
    let sample = Sample::parse(&record(10, "burn", 3, &[1, 2], &[3])).expect("whole");
    let expected = Sample {
        at_ns: 7,
        exchange: Some(ExchangeKey {
            connection: ConnectionId {
                sock: 0xabcd,
                born_ns: 42,
            },
            message: 3,
            part: 0,
        }),
        tgid: 10,
        tid: 11,
        comm: *b"burn\0\0\0\0\0\0\0\0\0\0\0\0",
        kernel_frames: 2,
        frames: Box::new([1, 2, 3]),
        space: 0xffff_8880,
        end: UserEnd::FramePointers,
        stopped: None,
    };
    assert_eq!(sample, expected);
    assert_eq!(sample.user_frames(), [3]);
}

#[test]
fn message_zero_is_no_exchange() {
    let sample = Sample::parse(&record(1, "a", 0, &[], &[])).expect("whole");
    assert_eq!(sample.exchange, None);
}

#[test]
fn a_record_that_is_cut_short_is_refused() {
    let whole = record(1, "a", 0, &[1, 2], &[3]);
    for length in 0..whole.len() {
        let cut = Sample::parse(&whole[..length]);
        assert_eq!(cut, Err(Malformed { bytes: length }));
    }
}

/// A record whose stack was copied: `stack` from register 7 on.
fn with_copy(stack: &[u8]) -> Vec<u8> {
    let mut bytes = record(1, "a", 0, &[1, 2], &[3]);
    bytes[offset_of!(SampleEvent, user_end)] = UserEnd::WantedTable.code();
    bytes[offset_of!(SampleEvent, has_copy)] = 1;
    let copied = u16::try_from(stack.len()).expect("small").to_ne_bytes();
    let at = offset_of!(SampleEvent, copied);
    bytes[at..at + 2].copy_from_slice(&copied);
    bytes.extend(3_u64.to_ne_bytes());
    bytes.extend((1_u32 << 6 | 1 << 7).to_ne_bytes());
    bytes.extend(1_u32.to_ne_bytes());
    for register in 0..REGISTERS as u64 {
        bytes.extend((register + 100).to_ne_bytes());
    }
    bytes.extend(stack);
    bytes
}

#[test]
fn the_frame_where_the_program_stopped_comes_with_its_stack() {
    let mut bytes = with_copy(&[1, 2, 3, 4, 5]);
    // Padding.
    bytes.extend([0; 3]);
    let sample = Sample::parse(&bytes).expect("whole");
    assert_eq!(sample.end, UserEnd::WantedTable);
    let stopped = sample.stopped.expect("a copy");
    assert_eq!((stopped.ip, stopped.is_exact), (3, true));
    assert_eq!(stopped.register(7), Some(107));
    assert_eq!(stopped.register(8), None);
    assert_eq!(stopped.register(200), None);
    assert_eq!(*stopped.stack, [1, 2, 3, 4, 5]);
}

#[test]
fn a_copy_that_is_cut_short_is_refused() {
    let whole = with_copy(&[1, 2, 3, 4, 5]);
    for length in 0..whole.len() {
        assert!(Sample::parse(&whole[..length]).is_err(), "{length}");
    }
}

#[test]
fn an_end_that_no_version_has_is_refused() {
    let mut bytes = record(1, "a", 0, &[1, 2], &[3]);
    bytes[offset_of!(SampleEvent, user_end)] = 200;
    assert!(Sample::parse(&bytes).is_err());
}

#[test]
fn more_frames_than_a_record_holds_are_refused() {
    let mut bytes = record(1, "a", 0, &[], &[]);
    let at = offset_of!(SampleEvent, user_frames);
    bytes[at..at + 2].copy_from_slice(&128_u16.to_ne_bytes());
    bytes.resize(bytes.len() + 128 * 8, 0);
    assert!(Sample::parse(&bytes).is_err());
}
