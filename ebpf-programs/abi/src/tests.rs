use core::mem::{align_of, size_of};

use crate::{
    ConnectionId, Endpoints,
    flow::FlowEvent,
    message::{ConnectionState, GoOffsets, MessageEvent},
    sample::{ActiveExchange, SampleEvent},
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
        5 * 8 + 2 * 4 + 8 + 40 + 16 + 8 + 2 * 8 + 2 * 8
    );
    assert_eq!(size_of::<SampleEvent>(), 8 + 24 + 3 * 4 + 4 + 16 + 8);
    assert_eq!(size_of::<ActiveExchange>(), 24);
    assert_eq!(size_of::<GoOffsets>(), 4 * 8 + 5 * 4 + 4);
    assert!(align_of::<FlowEvent>() <= 8 && align_of::<SampleEvent>() <= 8);
}
