//! From what one direction's frames say to what it means for the streams.

use fathom_abi::message::Direction;

use super::{
    Event,
    fault::Fault,
    frame,
    head::Head,
    streams::{Moved, Streams},
};
use crate::l7::counts::ExchangeOutcome;

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

/// What is known of who is who, and of the frames that each may send.
pub(super) struct Roles {
    /// The client's direction.
    pub(super) requests: Option<Direction>,
    /// That was seen, and is no guess.
    pub(super) certain: bool,
    /// The largest frame that any of the two takes.
    pub(super) max_frame: u32,
}

/// Gives what a direction's frames say to the streams.
pub(super) struct Hearer<'a, E> {
    pub(super) streams: &'a mut Streams,
    pub(super) roles: &'a mut Roles,
    pub(super) direction: Direction,
    /// Streams that start now are only counted: the other direction can't be read at the moment, or this one was not seen.
    pub(super) undecoded: bool,
    pub(super) moved: Moved,
    pub(super) out: &'a mut E,
}

impl<E> Hearer<'_, E> {
    /// Whether this is the client's direction; none where that is not known.
    fn is_client(&self) -> Option<bool> {
        Some(self.roles.requests? == self.direction)
    }

    fn is(&mut self, client: bool) {
        self.roles.certain = true;
        self.roles.requests = Some(if client {
            self.direction
        } else {
            self.direction.opposite()
        });
    }
}

impl<E: FnMut(Event)> Sink for Hearer<'_, E> {
    fn preface(&mut self, client: bool) -> Result<(), Fault> {
        if self.is_client().is_some_and(|known| known != client) {
            return Err(Fault::NoPreface);
        }
        self.is(client);
        Ok(())
    }

    fn data(&mut self, stream: u32, moved: u64, body: Body<'_>) {
        if let Some(from_client) = self.is_client() {
            self.streams.data(stream, from_client, moved, body);
        }
    }

    fn head(&mut self, stream: u32, head: &mut Head, bytes: u64) -> Result<(), Fault> {
        if !self.roles.certain
            && let Some(client) = head.is_request()
        {
            self.is(client);
        }
        match self.is_client() {
            Some(true) if stream.is_multiple_of(2) => Err(Fault::Frame {
                kind: frame::kind::HEADERS,
                length: u32::try_from(bytes).unwrap_or(u32::MAX),
                stream,
            }),
            Some(true) => {
                self.streams
                    .request(stream, head, bytes, self.moved, self.undecoded, self.out);
                Ok(())
            }
            Some(false) => {
                self.streams
                    .answer(stream, head, bytes, self.moved, self.undecoded, self.out);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn promise(&mut self) -> Result<(), Fault> {
        match self.is_client() {
            Some(true) if self.roles.certain => return Err(Fault::Promise),
            Some(false) => {}
            Some(true) | None => self.is(false),
        }
        (self.out)(Event::Lost(ExchangeOutcome::Pushed, 1));
        Ok(())
    }

    fn end_stream(&mut self, stream: u32) {
        if let Some(from_client) = self.is_client() {
            self.streams
                .end_stream(stream, from_client, self.moved.at_ns, self.out);
        }
    }

    fn reset(&mut self, stream: u32, code: Option<u32>) {
        self.streams.reset(stream, code, self.moved.at_ns, self.out);
    }

    fn go_away(&mut self, last_stream: u32) {
        if self.is_client() == Some(false) {
            self.streams
                .go_away(last_stream, self.moved.at_ns, self.out);
        }
    }

    fn max_frame(&mut self, length: u32) {
        self.roles.max_frame = self.roles.max_frame.max(length);
    }
}
