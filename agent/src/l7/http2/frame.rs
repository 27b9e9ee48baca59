//! Frame headers (RFC 9113 section 4.1), and whether bytes can be one.

use crate::l7::piece::Piece;

/// Bytes of a frame's header.
pub(super) const HEADER: usize = 9;
/// Section 6.5.2: the largest payload, where the receiver has not said otherwise.
pub(super) const INITIAL_MAX_FRAME: u32 = 16 << 10;

pub(super) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const PRIORITY: u8 = 2;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PUSH_PROMISE: u8 = 5;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
    /// RFC 7838.
    pub(crate) const ALTSVC: u8 = 0xa;
    /// RFC 8336.
    pub(crate) const ORIGIN: u8 = 0xc;
    /// RFC 9218.
    pub(crate) const PRIORITY_UPDATE: u8 = 0x10;
}

pub(super) mod flag {
    /// Of DATA and HEADERS.
    pub(crate) const END_STREAM: u8 = 0x1;
    /// Of SETTINGS and PING.
    pub(crate) const ACK: u8 = 0x1;
    /// Of HEADERS, PUSH_PROMISE and CONTINUATION.
    pub(crate) const END_HEADERS: u8 = 0x4;
    /// Of DATA, HEADERS and PUSH_PROMISE.
    pub(crate) const PADDED: u8 = 0x8;
    /// Of HEADERS.
    pub(crate) const PRIORITY: u8 = 0x20;
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Bytes of the payload.
    pub(super) length: u32,
    pub(super) kind: u8,
    pub(super) flags: u8,
    /// Without the reserved bit.
    pub(super) stream: u32,
    reserved: bool,
}

impl Header {
    pub(super) fn read(bytes: &[u8; HEADER]) -> Self {
        let [high, middle, low, kind, flags, a, b, c, d] = *bytes;
        let stream = u32::from_be_bytes([a, b, c, d]);
        Self {
            length: u32::from_be_bytes([0, high, middle, low]),
            kind,
            flags,
            stream: stream & 0x7fff_ffff,
            reserved: stream >> 31 != 0,
        }
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Bytes at the start of the payload that have a meaning of their own; of SETTINGS those of one setting.
    pub(super) fn fixed(&self) -> u32 {
        let padded = u32::from(self.has(flag::PADDED));
        match self.kind {
            kind::DATA => padded,
            kind::HEADERS if self.has(flag::PRIORITY) => padded + 5,
            kind::HEADERS => padded,
            kind::PUSH_PROMISE => padded + 4,
            kind::RST_STREAM => 4,
            kind::GOAWAY => 8,
            kind::SETTINGS if self.length > 0 => 6,
            _ => 0,
        }
    }

    /// Whether an endpoint could take it; it ends the connection over what it can't. Frames of other kinds are to be ignored
    /// (section 5.5). Lengths are not held against `SETTINGS_MAX_FRAME_SIZE`: whether a peer had read that setting by then is
    /// not to be seen from here, and the walk depends on no limit.
    pub(super) fn is_valid(&self) -> bool {
        let on_stream = self.stream != 0;
        if self.fixed() > self.length {
            return false;
        }
        match self.kind {
            kind::DATA | kind::HEADERS | kind::CONTINUATION | kind::PUSH_PROMISE => on_stream,
            kind::PRIORITY => on_stream && self.length == 5,
            kind::RST_STREAM => on_stream && self.length == 4,
            kind::SETTINGS => {
                let fits = if self.has(flag::ACK) {
                    self.length == 0
                } else {
                    self.length.is_multiple_of(6)
                };
                !on_stream && fits
            }
            kind::PING => !on_stream && self.length == 8,
            kind::GOAWAY => !on_stream && self.length >= 8,
            kind::WINDOW_UPDATE => self.length == 4,
            _ => true,
        }
    }

    /// Whether bytes that may be anything look like the header of a frame that programs do send.
    pub(super) fn is_plausible(&self, max_frame: u32, max_stream: u32) -> bool {
        use flag::{ACK, END_HEADERS, END_STREAM, PADDED, PRIORITY};
        let flags = match self.kind {
            kind::DATA => END_STREAM | PADDED,
            kind::HEADERS => END_STREAM | END_HEADERS | PADDED | PRIORITY,
            kind::SETTINGS | kind::PING => ACK,
            kind::PUSH_PROMISE => END_HEADERS | PADDED,
            kind::CONTINUATION => END_HEADERS,
            kind::PRIORITY | kind::RST_STREAM | kind::GOAWAY | kind::WINDOW_UPDATE => 0,
            kind::ALTSVC | kind::ORIGIN | kind::PRIORITY_UPDATE => 0,
            _ => return false,
        };
        self.is_valid()
            && !self.reserved
            && self.flags & !flags == 0
            && self.length <= max_frame
            && self.stream <= max_stream
    }
}

/// Whether something starts with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// It does not.
    No,
    /// It does if another one starts so many bytes behind its own start, which is beyond what is captured.
    Perhaps(u64),
    /// It does.
    Frame,
}

/// Whether an I/O call of `length` bytes, the first of which are `data`, starts with a frame, as far as can be told without
/// knowing: all that is captured is frames of plausible headers, and at least one that is not empty ends where the next one
/// starts, or where the call does.
///
/// Frames are full of zeros, and so are gRPC's prefixes: at the wrong place, an empty frame is soon found. That a length leads to
/// where a frame can start is what chance does not bring about; only bytes that were made to look like frames have it.
pub(super) fn start(data: &[u8], length: u64, max_frame: u32, max_stream: u32) -> Start {
    let mut at = 0_u64;
    let mut before = 0;
    let mut leads = false;
    while at < length {
        let bytes = usize::try_from(at)
            .ok()
            .and_then(|at| data.get(at..)?.first_chunk::<HEADER>());
        let Some(bytes) = bytes else {
            break;
        };
        let header = Header::read(bytes);
        let pushed = header.stream != 0 && header.stream.is_multiple_of(2);
        if !header.is_plausible(max_frame, max_stream)
            || pushed
            || (at == 0 && header.kind == kind::CONTINUATION)
        {
            return Start::No;
        }
        leads |= before > 0;
        before = header.length;
        at += HEADER as u64 + u64::from(header.length);
    }
    if leads || (at == length && before > 0) {
        Start::Frame
    } else if before > 0 {
        Start::Perhaps(at)
    } else {
        Start::No
    }
}

/// Looks for a piece that starts with a frame, among those of one direction. Programs that write a frame's header and its payload from two buffers make two
/// pieces of it, so that one may tell only where the next frame starts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Search {
    /// Where the next frame starts, if the last piece that looked like the start of one was that.
    leads_to: Option<u64>,
}

impl Search {
    /// Whether the next piece of a connection of which nothing else is known starts with a frame.
    pub fn finds(&mut self, piece: &Piece<'_>) -> bool {
        self.finds_within(piece, INITIAL_MAX_FRAME, u32::MAX)
    }

    /// The same, for frames of at most `max_frame` bytes and streams up to `max_stream`.
    pub(super) fn finds_within(
        &mut self,
        piece: &Piece<'_>,
        max_frame: u32,
        max_stream: u32,
    ) -> bool {
        match start(piece.captured(), piece.length, max_frame, max_stream) {
            Start::Frame => true,
            Start::Perhaps(_) if self.leads_to == Some(piece.position) => true,
            Start::Perhaps(at) => {
                self.leads_to = Some(piece.position.saturating_add(at));
                false
            }
            Start::No => {
                self.leads_to = self.leads_to.filter(|&to| to > piece.position);
                false
            }
        }
    }
}
