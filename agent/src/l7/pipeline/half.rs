//! One direction of a pipeline: where in its messages it is.

use crate::l7::http1::{MAX_HEAD, Refused};

/// The longest line of a chunk's size with its extensions, and the longest trailers.
const MAX_LINE: u32 = 8 * 1024;

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The next head.
    None,
    /// So many bytes.
    Bytes(u64),
    /// Chunks, and trailers (RFC 9112 section 7.1).
    Chunked,
    /// Everything up to the connection's end.
    UntilClose,
    /// The same, and it is no HTTP/1 any more.
    Tunnel,
}

enum State {
    /// A head, of which so much is here.
    Head(Vec<u8>),
    /// A body, of which so many bytes are to come.
    Body(u64),
    /// A line with a chunk's size.
    Size(Size),
    /// A chunk's data, of which so many bytes are to come.
    Chunk(u64),
    /// The end of the line behind a chunk's data.
    ChunkEnd,
    /// The trailers: bytes of them, and of their line that is being read (a carriage return does not count).
    Trailers { bytes: u32, line: u32 },
    /// The rest.
    UntilClose,
    /// The rest, which is something else.
    Tunnel,
}

/// A chunk's size as far as it was read.
#[derive(Clone, Copy, Default)]
struct Size {
    value: u64,
    digits: u32,
    bytes: u32,
    /// Behind the digits: an extension, or the line's end.
    after: bool,
}

pub(super) struct Half {
    state: State,
}

impl Half {
    pub(super) fn new() -> Self {
        Self {
            state: State::Head(Vec::new()),
        }
    }

    /// Whether a head comes next, or is under way.
    pub(super) fn at_head(&self) -> bool {
        matches!(self.state, State::Head(_))
    }

    pub(super) fn has_partial_head(&self) -> bool {
        matches!(&self.state, State::Head(bytes) if !bytes.is_empty())
    }

    pub(super) fn lasts_until_close(&self) -> bool {
        matches!(self.state, State::UntilClose | State::Tunnel)
    }

    /// Reads a head from what is here of it and from `data`. `read` says how long it is, and what it is. Gives back how many bytes of `data`
    /// belong to it; none where it goes on behind them.
    pub(super) fn head<T>(
        &mut self,
        data: &[u8],
        read: impl Fn(&[u8]) -> Result<(usize, T), Refused>,
    ) -> Result<Option<(usize, T)>, Refused> {
        let State::Head(partial) = &mut self.state else {
            return Err(Refused::NotHttp);
        };
        if partial.is_empty() {
            match read(data) {
                Ok((length, head)) => return Ok(Some((length, head))),
                Err(Refused::Short) if data.len() < MAX_HEAD => {
                    partial.extend_from_slice(data);
                    return Ok(None);
                }
                Err(_) => return Err(Refused::NotHttp),
            }
        }
        let before = partial.len();
        partial.extend_from_slice(&data[..data.len().min(MAX_HEAD - before)]);
        match read(partial) {
            Ok((length, head)) => {
                // An empty line that ends behind what was there, or the head would have been whole before.
                let used = length.saturating_sub(before);
                *partial = Vec::new();
                Ok(Some((used, head)))
            }
            Err(Refused::Short) if partial.len() < MAX_HEAD => Ok(None),
            Err(_) => Err(Refused::NotHttp),
        }
    }

    /// What follows the head that was read.
    pub(super) fn body(&mut self, part: Part) {
        self.state = match part {
            Part::None | Part::Bytes(0) => State::Head(Vec::new()),
            Part::Bytes(bytes) => State::Body(bytes),
            Part::Chunked => State::Size(Size::default()),
            Part::UntilClose => State::UntilClose,
            Part::Tunnel => State::Tunnel,
        };
    }

    /// Passes over what of `data` belongs to the body; gives back how many bytes that is, none where its framing is broken.
    pub(super) fn pass(&mut self, data: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < data.len() {
            match &mut self.state {
                State::Head(_) => break,
                State::UntilClose | State::Tunnel => return Some(data.len()),
                State::Body(left) => {
                    at += take(left, data.len() - at);
                    if *left == 0 {
                        self.state = State::Head(Vec::new());
                    }
                }
                State::Chunk(left) => {
                    at += take(left, data.len() - at);
                    if *left == 0 {
                        self.state = State::ChunkEnd;
                    }
                }
                State::ChunkEnd => {
                    match data[at] {
                        b'\r' => {}
                        b'\n' => self.state = State::Size(Size::default()),
                        _ => return None,
                    }
                    at += 1;
                }
                State::Size(size) => {
                    if let Some(next) = size.byte(data[at])? {
                        self.state = next;
                    }
                    at += 1;
                }
                State::Trailers { bytes, line } => {
                    *bytes += 1;
                    if *bytes > MAX_LINE {
                        return None;
                    }
                    match data[at] {
                        b'\n' if *line == 0 => self.state = State::Head(Vec::new()),
                        b'\n' => *line = 0,
                        b'\r' => {}
                        _ => *line += 1,
                    }
                    at += 1;
                }
            }
        }
        Some(at)
    }

    /// Passes over bytes that are not here; whether they lie where nothing needs to be read.
    pub(super) fn skip(&mut self, bytes: u64) -> bool {
        match &mut self.state {
            State::UntilClose | State::Tunnel => true,
            State::Body(left) if bytes <= *left => {
                *left -= bytes;
                if *left == 0 {
                    self.state = State::Head(Vec::new());
                }
                true
            }
            State::Chunk(left) if bytes <= *left => {
                *left -= bytes;
                if *left == 0 {
                    self.state = State::ChunkEnd;
                }
                true
            }
            _ => false,
        }
    }
}

impl Size {
    /// Takes the next byte of the line: what comes next where the line is over, `None` where it is no chunk's size.
    fn byte(&mut self, byte: u8) -> Option<Option<State>> {
        self.bytes += 1;
        if self.bytes > MAX_LINE {
            return None;
        }
        match byte {
            b'\n' if self.digits == 0 => return None,
            b'\n' if self.value == 0 => {
                return Some(Some(State::Trailers { bytes: 0, line: 0 }));
            }
            b'\n' => return Some(Some(State::Chunk(self.value))),
            _ if self.after => {}
            _ => match char::from(byte).to_digit(16) {
                Some(digit) => {
                    self.digits += 1;
                    // RFC 9112 section 7.1: a recipient has to look out for what does not fit.
                    if self.digits > 15 {
                        return None;
                    }
                    self.value = self.value * 16 + u64::from(digit);
                }
                None if self.digits > 0 && matches!(byte, b'\r' | b';' | b' ' | b'\t') => {
                    self.after = true;
                }
                None => return None,
            },
        }
        Some(None)
    }
}

/// Takes as much of what is left as is here.
fn take(left: &mut u64, here: usize) -> usize {
    let taken = usize::try_from(*left).map_or(here, |left| left.min(here));
    *left -= taken as u64;
    taken
}
