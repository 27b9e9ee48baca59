//! One direction of a connection: bytes and holes to frames, frames to what they say.

mod blocks;
mod payload;

use self::{blocks::Blocks, payload::Frame};
use super::{
    fault::Fault,
    frame::{HEADER, Header, Search, flag, kind},
    hearer::{Body, Sink},
};
use crate::l7::hpack;

/// RFC 9113 section 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

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

/// One direction.
pub(super) struct Lane {
    state: State,
    /// Where the next piece has to start.
    pub(super) expected: Option<u64>,
    /// A record is missing, which may have been this direction's.
    pub(super) doubt: bool,
    /// The next piece starts with a frame, as somebody knows who saw all of it.
    pub(super) aligned: bool,
    /// Astray: finds where frames start.
    pub(super) search: Search,
    /// Where frames start was concluded from what a piece seems to be, and no head was read since that proves it.
    guessed: bool,
    /// No frame was read since the walk started in the midst of a connection.
    fresh: bool,
    /// The next frame has to be SETTINGS.
    settings_first: bool,
    blocks: Blocks,
}

impl Lane {
    fn with(state: State, hpack: hpack::Decoder) -> Self {
        Self {
            state,
            expected: None,
            doubt: false,
            aligned: false,
            search: Search::default(),
            guessed: false,
            fresh: false,
            settings_first: false,
            blocks: Blocks::new(hpack),
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
        self.search = Search::default();
        self.guessed = false;
        self.blocks = Blocks::new(hpack::Decoder::joined());
    }

    /// Whether where frames start is no more than a guess.
    pub(super) fn is_guessed(&self) -> bool {
        self.guessed
    }

    /// Whether something may go by here that is not read as what it is.
    pub(super) fn is_unsure(&self) -> bool {
        self.is_astray() || self.doubt || self.guessed
    }

    /// The next byte starts a frame, as the tap says, or (`guessed`) as it seems.
    pub(super) fn resume(&mut self, guessed: bool) {
        self.state = NEXT;
        self.guessed = guessed;
        self.fresh = true;
        self.settings_first = false;
    }

    /// The stream of a header block that is not whole.
    pub(super) fn open_block(&self) -> Option<u32> {
        self.blocks.open_stream()
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
        // An acknowledgement may be the first that is seen of a server which sent its own before the client's preface came.
        if settings_first && header.kind != kind::SETTINGS {
            return Err(Fault::NoPreface);
        }
        let fresh = std::mem::take(&mut self.fresh);
        if !header.is_valid() || fresh && !header.is_plausible(u32::MAX, u32::MAX) {
            return Err(fault);
        }
        self.blocks.frame(&header, fresh)?;
        self.state = State::Payload(Frame::new(header));
        Ok(())
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
            kind::HEADERS | kind::CONTINUATION | kind::PUSH_PROMISE => {
                self.blocks.fragment(body)?
            }
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
                self.blocks.poison();
            }
            _ => {}
        }
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
                // What is no head of HTTP/2 does not decode to one.
                let is_head = self.blocks.end(sink)?;
                self.guessed &= !is_head;
            }
            _ => {}
        }
        self.state = NEXT;
        Ok(())
    }
}

const NEXT: State = State::Header {
    bytes: [0; HEADER],
    have: 0,
};
