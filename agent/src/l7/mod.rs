//! Messages to exchanges: one file a protocol.

pub mod exchange;
