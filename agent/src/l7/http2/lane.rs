//! One direction of a connection: bytes and holes to frames, frames to what they say.

use thiserror::Error;

use super::{
    frame::{HEADER, Header, flag, kind},
    head::Head,
};
use crate::l7::hpack;

/// RFC 9113 section 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A buffer of this size is kept from one header block to the next.
const KEPT_FIELD: usize = 256;

/// Why a connection can't be read on: an endpoint ends it over this, too, or it never was HTTP/2.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Fault {
    /// A connection that is seen from its start does not start as HTTP/2.
    #[error("the connection does not start with HTTP/2's preface and SETTINGS")]
    NoPreface,
    /// A frame that no endpoint may send.
    #[error(
        "a frame of type {kind} and {length} bytes on stream {stream} is none that may be sent"
    )]
    Frame {
        /// Its type.
        kind: u8,
        /// Bytes of its payload.
        length: u32,
        /// Its stream.
        stream: u32,
    },
    /// A header block that another frame interrupts, or goes on that was not begun.
    #[error("the header blocks of a direction are mixed up")]
    Interrupted,
    /// A push by the client.
    #[error("the client promises a stream, as only servers may")]
    Promise,
    /// More padding than frame.
    #[error("a frame's padding is longer than the frame")]
    Padding,
    /// A header block that can't be decoded.
    #[error("{0}")]
    Hpack(#[from] hpack::Error),
    /// Pieces that overlap.
    #[error("a piece of the stream came twice, or out of order")]
    OutOfOrder,
}

/// A part of a stream's body.
#[derive(Clone, Copy, Debug)]
pub(super) enum Body<'a> {
    Seen(&'a [u8]),
    Unseen(u64),
    /// Not captured, and some of it may be padding.
    Unclear(u64),
}

/// Who hears what frames say.
pub(super) trait Sink {
    /// This direction is (or is not) the one that started with the client's preface.
    fn preface(&mut self, client: bool) -> Result<(), Fault>;
    /// A part of a DATA frame: so many bytes of its payload, and what of them is body.
    fn data(&mut self, stream: u32, moved: u64, body: Body<'_>);
    /// A header block is whole.
    fn head(&mut self, stream: u32, head: &mut Head, bytes: u64) -> Result<(), Fault>;
    /// The header block of a PUSH_PROMISE is whole.
    fn promise(&mut self) -> Result<(), Fault>;
    /// The direction's last frame on the stream is over.
    fn end_stream(&mut self, stream: u32);
    /// RST_STREAM; without a code where that was not captured.
    fn reset(&mut self, stream: u32, code: Option<u32>);
    /// GOAWAY.
    fn go_away(&mut self, last_stream: u32);
    /// `SETTINGS_MAX_FRAME_SIZE`: what the other direction may send.
    fn max_frame(&mut self, length: u32);
}

enum State {
    /// In the client's preface, of which so many bytes are read. Where it is not known who the client is, the first byte tells.
    Preface { read: usize, certain: bool },
    /// In a frame's header.
    Header { bytes: [u8; HEADER], have: usize },
    /// In a frame's payload.
    Payload(Frame),
    /// Where the next frame starts is not known.
    Astray,
}

struct Frame {
    header: Header,
    /// Bytes of the payload still to come.
    left: u32,
    /// Bytes at the start of the payload that are no body: those that are here, and all.
    have: usize,
    want: usize,
    fixed: [u8; 8],
    /// Bytes of padding at the end.
    padding: u32,
    /// Bytes of `fixed` were not captured.
    unclear: bool,
}

impl Frame {
    fn new(header: Header) -> Self {
        let padded = usize::from(header.has(flag::PADDED));
        let want = match header.kind {
            kind::DATA => padded,
            kind::HEADERS if header.has(flag::PRIORITY) => padded + 5,
            kind::HEADERS => padded,
            kind::PUSH_PROMISE => padded + 4,
            kind::RST_STREAM => 4,
            kind::GOAWAY => 8,
            kind::SETTINGS if header.length > 0 => 6,
            _ => 0,
        };
        Self {
            header,
            left: header.length,
            have: 0,
            want,
            fixed: [0; 8],
            padding: 0,
            unclear: false,
        }
    }

    fn word(&self, at: usize) -> u32 {
        self.fixed[at..at + 4]
            .iter()
            .fold(0, |word, &byte| word << 8 | u32::from(byte))
    }

    /// Bytes still to come that are neither fixed fields nor padding.
    fn body_left(&self) -> usize {
        self.left.saturating_sub(self.padding) as usize
    }
}

/// The header block that is open.
struct Block {
    stream: u32,
    end_stream: bool,
    promise: bool,
    /// Bytes of its frames' payloads.
    bytes: u64,
    /// A part of it was not captured.
    poisoned: bool,
}

/// One direction.
pub(super) struct Lane {
    state: State,
    /// Where the next piece has to start.
    pub(super) expected: Option<u64>,
    /// A record is missing, which may have been this direction's.
    pub(super) doubt: bool,
    /// The next piece starts with a frame, as somebody knows who saw all of it.
    pub(super) aligned: bool,
    /// No frame was read since the walk started in the midst of a connection.
    fresh: bool,
    /// The next frame has to be SETTINGS.
    settings_first: bool,
    hpack: hpack::Decoder,
    block: Option<Block>,
    head: Head,
    /// The start of a field that was cut.
    field: Vec<u8>,
}

impl Lane {
    fn with(state: State, hpack: hpack::Decoder) -> Self {
        Self {
            state,
            expected: None,
            doubt: false,
            aligned: false,
            fresh: false,
            settings_first: false,
            hpack,
            block: None,
            head: Head::default(),
            field: Vec::new(),
        }
    }

    /// A direction that starts with the client's preface. Where that is not `certain`, its first byte tells.
    pub(super) fn preface(certain: bool) -> Self {
        Self {
            settings_first: true,
            ..Self::with(State::Preface { read: 0, certain }, hpack::Decoder::new())
        }
    }

    /// A direction that starts with the server's first frame.
    pub(super) fn frames() -> Self {
        Self {
            settings_first: true,
            ..Self::with(NEXT, hpack::Decoder::new())
        }
    }

    /// A direction that was open before.
    pub(super) fn joined() -> Self {
        Self {
            fresh: true,
            ..Self::with(NEXT, hpack::Decoder::joined())
        }
    }

    pub(super) fn is_astray(&self) -> bool {
        matches!(self.state, State::Astray)
    }

    /// From here on nothing is known of where frames start.
    pub(super) fn go_astray(&mut self) {
        self.state = State::Astray;
        self.hpack = hpack::Decoder::joined();
        self.block = None;
        self.field = Vec::new();
    }

    /// The next byte starts a frame.
    pub(super) fn resume(&mut self) {
        self.state = NEXT;
        self.fresh = true;
        self.settings_first = false;
    }

    /// The stream of a header block that is not whole.
    pub(super) fn open_block(&self) -> Option<u32> {
        let block = self.block.as_ref().filter(|block| !block.promise)?;
        Some(block.stream)
    }

    /// The next bytes.
    pub(super) fn bytes(&mut self, mut bytes: &[u8], sink: &mut impl Sink) -> Result<(), Fault> {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Preface { read, certain } => {
                    if !*certain {
                        *certain = true;
                        let client = bytes[0] == PREFACE[0];
                        sink.preface(client)?;
                        if !client {
                            self.state = NEXT;
                            continue;
                        }
                    }
                    let taken = bytes.len().min(PREFACE.len() - *read);
                    if bytes[..taken] != PREFACE[*read..*read + taken] {
                        return Err(Fault::NoPreface);
                    }
                    bytes = &bytes[taken..];
                    *read += taken;
                    if *read == PREFACE.len() {
                        self.state = NEXT;
                    }
                }
                State::Header { bytes: read, have } => {
                    let taken = bytes.len().min(HEADER - *have);
                    read[*have..*have + taken].copy_from_slice(&bytes[..taken]);
                    *have += taken;
                    bytes = &bytes[taken..];
                    if *have == HEADER {
                        let header = Header::read(read);
                        self.start(header)?;
                        self.finish_if_over(sink)?;
                    }
                }
                State::Payload(frame) => {
                    // It is at most `bytes.len()` after this.
                    let taken = bytes.len().min(frame.left as usize);
                    let (now, rest) = bytes.split_at(taken);
                    bytes = rest;
                    self.payload(now, sink)?;
                    self.finish_if_over(sink)?;
                }
                State::Astray => return Ok(()),
            }
        }
        Ok(())
    }

    /// The next bytes, which were not captured. They leave the lane astray where a frame's header is among them.
    pub(super) fn hole(&mut self, mut length: u64, sink: &mut impl Sink) -> Result<(), Fault> {
        while length > 0 {
            let State::Payload(frame) = &mut self.state else {
                self.go_astray();
                return Ok(());
            };
            let left = frame.left;
            let taken = u32::try_from(length).map_or(left, |length| length.min(left));
            length -= u64::from(taken);
            self.unseen(taken, sink);
            self.finish_if_over(sink)?;
        }
        Ok(())
    }

    fn start(&mut self, header: Header) -> Result<(), Fault> {
        let fault = Fault::Frame {
            kind: header.kind,
            length: header.length,
            stream: header.stream,
        };
        let settings_first = std::mem::take(&mut self.settings_first);
        if settings_first && (header.kind != kind::SETTINGS || header.has(flag::ACK)) {
            return Err(Fault::NoPreface);
        }
        let fresh = std::mem::take(&mut self.fresh);
        if !header.is_valid() || fresh && !header.is_plausible(u32::MAX, u32::MAX) {
            return Err(fault);
        }
        let frame = Frame::new(header);
        if header.kind != kind::SETTINGS && frame.want > header.length as usize {
            return Err(fault);
        }
        match (&mut self.block, header.kind) {
            (Some(block), kind::CONTINUATION) if block.stream == header.stream => {
                block.bytes += u64::from(header.length);
            }
            (None, kind::CONTINUATION) if fresh => {
                self.open(&header);
                self.poison();
            }
            (Some(_), _) | (None, kind::CONTINUATION) => return Err(Fault::Interrupted),
            (None, kind::HEADERS | kind::PUSH_PROMISE) => self.open(&header),
            _ => {}
        }
        self.state = State::Payload(frame);
        Ok(())
    }

    fn open(&mut self, header: &Header) {
        self.block = Some(Block {
            stream: header.stream,
            end_stream: header.kind == kind::HEADERS && header.has(flag::END_STREAM),
            promise: header.kind == kind::PUSH_PROMISE,
            bytes: u64::from(header.length),
            poisoned: false,
        });
        self.hpack.begin();
        self.head.clear();
        self.field.clear();
    }

    /// A part of the open block is missing: what it did to the table is not known.
    fn poison(&mut self) {
        if let Some(block) = &mut self.block {
            block.poisoned = true;
        }
        self.head.cut();
        self.hpack = hpack::Decoder::joined();
        self.field.clear();
    }

    /// Bytes of the current frame's payload, no more than it has left.
    fn payload(&mut self, mut bytes: &[u8], sink: &mut impl Sink) -> Result<(), Fault> {
        let State::Payload(frame) = &mut self.state else {
            return Ok(());
        };
        let moved = bytes.len() as u64;
        while frame.have < frame.want && !bytes.is_empty() {
            let taken = bytes.len().min(frame.want - frame.have);
            frame.fixed[frame.have..frame.have + taken].copy_from_slice(&bytes[..taken]);
            frame.have += taken;
            bytes = &bytes[taken..];
            frame.left -= taken as u32;
            if frame.have < frame.want || frame.unclear {
                continue;
            }
            if frame.header.kind == kind::SETTINGS {
                const MAX_FRAME_SIZE: [u8; 2] = [0, 5];
                if frame.fixed[..2] == MAX_FRAME_SIZE {
                    sink.max_frame(frame.word(2));
                }
                frame.have = 0;
            } else if frame.header.kind != kind::RST_STREAM
                && frame.header.kind != kind::GOAWAY
                && frame.header.has(flag::PADDED)
            {
                frame.padding = u32::from(frame.fixed[0]);
                if frame.padding > frame.left {
                    return Err(Fault::Padding);
                }
            }
        }
        let body = &bytes[..bytes.len().min(frame.body_left())];
        frame.left -= bytes.len() as u32;
        match frame.header.kind {
            kind::DATA if frame.unclear => {
                sink.data(frame.header.stream, moved, Body::Unclear(moved));
            }
            kind::DATA => sink.data(frame.header.stream, moved, Body::Seen(body)),
            kind::HEADERS | kind::CONTINUATION | kind::PUSH_PROMISE => self.fragment(body)?,
            _ => {}
        }
        Ok(())
    }

    /// So many bytes of the current frame's payload were not captured.
    fn unseen(&mut self, length: u32, sink: &mut impl Sink) {
        let State::Payload(frame) = &mut self.state else {
            return;
        };
        let moved = u64::from(length);
        if frame.have < frame.want {
            frame.unclear = true;
        }
        let body = u64::from(length).min(frame.body_left() as u64);
        frame.left -= length;
        match frame.header.kind {
            kind::DATA if frame.unclear => {
                sink.data(frame.header.stream, moved, Body::Unclear(moved));
            }
            kind::DATA => sink.data(frame.header.stream, moved, Body::Unseen(body)),
            kind::HEADERS | kind::CONTINUATION | kind::PUSH_PROMISE
                if body > 0 || frame.unclear =>
            {
                self.poison();
            }
            _ => {}
        }
    }

    /// A part of the open header block.
    fn fragment(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        /// How much is put behind the start of a field at a time.
        const STEP: usize = 1024;
        if self.block.as_ref().is_none_or(|block| block.poisoned) {
            return Ok(());
        }
        let head = &mut self.head;
        let mut visit = |name, value: Option<&[u8]>| head.field(name, value);
        while !self.field.is_empty() && !bytes.is_empty() {
            let before = self.field.len();
            let (step, rest) = bytes.split_at(bytes.len().min(STEP));
            self.field.extend_from_slice(step);
            let used = self.hpack.decode(&self.field, &mut visit)?;
            if used == 0 {
                bytes = rest;
            } else {
                // What was there before was no whole field, so that more than that was used.
                bytes = &bytes[used.saturating_sub(before)..];
                self.field.clear();
            }
        }
        if self.field.is_empty() {
            let used = self.hpack.decode(bytes, &mut visit)?;
            self.field.extend_from_slice(&bytes[used..]);
        }
        Ok(())
    }

    fn finish_if_over(&mut self, sink: &mut impl Sink) -> Result<(), Fault> {
        let State::Payload(frame) = &self.state else {
            return Ok(());
        };
        if frame.left > 0 {
            return Ok(());
        }
        let header = frame.header;
        match header.kind {
            kind::DATA if header.has(flag::END_STREAM) => sink.end_stream(header.stream),
            kind::RST_STREAM => {
                let code = (!frame.unclear).then(|| frame.word(0));
                sink.reset(header.stream, code);
            }
            kind::GOAWAY if !frame.unclear => sink.go_away(frame.word(0) & 0x7fff_ffff),
            kind::HEADERS | kind::CONTINUATION | kind::PUSH_PROMISE
                if header.has(flag::END_HEADERS) =>
            {
                self.end_block(sink)?;
            }
            _ => {}
        }
        self.state = NEXT;
        Ok(())
    }

    fn end_block(&mut self, sink: &mut impl Sink) -> Result<(), Fault> {
        let Some(block) = self.block.take() else {
            return Ok(());
        };
        if !block.poisoned {
            self.hpack.end(self.field.len())?;
        }
        if self.field.capacity() > KEPT_FIELD {
            self.field = Vec::new();
        }
        if block.promise {
            return sink.promise();
        }
        sink.head(block.stream, &mut self.head, block.bytes)?;
        if block.end_stream {
            sink.end_stream(block.stream);
        }
        Ok(())
    }
}

const NEXT: State = State::Header {
    bytes: [0; HEADER],
    have: 0,
};
