//! One record of the `MESSAGES` ring buffer, read from its bytes.

use fathom_abi::{
    Role,
    message::{Direction, MessageEvent, MessageKind},
};

use crate::net::wire::Wire;

/// A record's fixed part and the user data behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The fixed part.
    pub event: MessageEvent,
    /// The captured bytes, `event.captured` of them.
    pub data: &'a [u8],
}

impl<'a> Record<'a> {
    /// Reads a record; `None` where it is shorter than it says. The ring pads records, so that bytes behind the
    /// captured ones are left alone.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let mut wire = Wire::new(bytes);
        let event = MessageEvent {
            id: wire.connection()?,
            at_ns: wire.u64()?,
            previous_bytes: wire.u64()?,
            previous_last_ns: wire.u64()?,
            tgid: wire.u32()?,
            tid: wire.u32()?,
            goroutine: wire.u64()?,
            message: wire.u32()?,
            io_bytes: wire.u32()?,
            offset: wire.u32()?,
            captured: wire.u16()?,
            kind: MessageKind(wire.u8()?),
            direction: Direction(wire.u8()?),
            endpoints: wire.endpoints()?,
            role: Role(wire.u8()?),
            over: wire.u8()?,
            reserved: wire.bytes()?,
        };
        let data = wire.rest().get(..usize::from(event.captured))?;
        Some(Self { event, data })
    }

    /// The bytes that [`Record::decode`] reads back: for tests, benchmarks and fuzzing seeds.
    pub fn encode(event: &MessageEvent, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(size_of::<MessageEvent>() + data.len());
        bytes.extend_from_slice(&event.id.sock.to_ne_bytes());
        bytes.extend_from_slice(&event.id.born_ns.to_ne_bytes());
        bytes.extend_from_slice(&event.at_ns.to_ne_bytes());
        bytes.extend_from_slice(&event.previous_bytes.to_ne_bytes());
        bytes.extend_from_slice(&event.previous_last_ns.to_ne_bytes());
        bytes.extend_from_slice(&event.tgid.to_ne_bytes());
        bytes.extend_from_slice(&event.tid.to_ne_bytes());
        bytes.extend_from_slice(&event.goroutine.to_ne_bytes());
        bytes.extend_from_slice(&event.message.to_ne_bytes());
        bytes.extend_from_slice(&event.io_bytes.to_ne_bytes());
        bytes.extend_from_slice(&event.offset.to_ne_bytes());
        bytes.extend_from_slice(&event.captured.to_ne_bytes());
        bytes.extend_from_slice(&[event.kind.0, event.direction.0]);
        bytes.extend_from_slice(&event.endpoints.local_addr);
        bytes.extend_from_slice(&event.endpoints.remote_addr);
        bytes.extend_from_slice(&event.endpoints.local_port.to_ne_bytes());
        bytes.extend_from_slice(&event.endpoints.remote_port.to_ne_bytes());
        bytes.push(event.endpoints.ip_version);
        bytes.extend_from_slice(&event.endpoints.reserved);
        bytes.push(event.role.0);
        bytes.push(event.over);
        bytes.extend_from_slice(&event.reserved);
        bytes.extend_from_slice(data);
        bytes
    }
}

#[cfg(test)]
mod tests;
