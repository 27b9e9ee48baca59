//! One record of the `FLOWS` ring, byte by byte.

use fathom_abi::{
    Role,
    flow::{End, Exit, FlowEvent, FlowKind, Owner, Resets},
};

use crate::net::wire::Wire;

/// Reads a record's fields in their order; `None` where it is too short.
pub(super) fn event(bytes: &[u8]) -> Option<FlowEvent> {
    let mut wire = Wire::new(bytes);
    Some(FlowEvent {
        id: wire.connection()?,
        at_ns: wire.u64()?,
        connect_ns: wire.u64()?,
        established_ns: wire.u64()?,
        accepted_ns: wire.u64()?,
        first_received_ns: wire.u64()?,
        first_sent_ns: wire.u64()?,
        bytes_sent: wire.u64()?,
        bytes_received: wire.u64()?,
        cgroup: wire.u64()?,
        segments_sent: wire.u32()?,
        segments_received: wire.u32()?,
        srtt_us: wire.u32()?,
        min_rtt_us: wire.u32()?,
        retransmits: wire.u32()?,
        tgid: wire.u32()?,
        error: wire.u32()?,
        netns: wire.u32()?,
        endpoints: wire.endpoints()?,
        kind: FlowKind(wire.u8()?),
        role: Role(wire.u8()?),
        owner: Owner(wire.u8()?),
        old_state: wire.u8()?,
        closed_by: End(wire.u8()?),
        exit: Exit(wire.u8()?),
        resets: Resets(wire.u8()?),
        reserved: wire.u8()?,
        comm: wire.bytes()?,
    })
}
