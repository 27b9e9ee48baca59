//! gRPC over HTTP/2 (the "gRPC over HTTP2" protocol document of grpc/grpc): what a stream's headers and bytes say of a call.

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The service with its package, as in the path: `helloworld.Greeter`.
    pub service: String,
    /// The method: `SayHello`.
    pub method: String,
    /// `grpc-status`, from the trailers or from headers that are trailers, too; none where none was seen.
    pub status: Option<u32>,
    /// What the client sent.
    pub request: Messages,
    /// What the server sent.
    pub response: Messages,
}

/// The messages of one direction of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Messages {
    /// How many went by whole; none where that can't be known, as a prefix was not captured or was none.
    pub count: Option<u64>,
    /// Bytes of the stream's DATA without padding: the messages as they were sent, with their prefixes of five bytes each.
    pub bytes: u64,
}

/// Whether a content type is gRPC's: `application/grpc`, alone or with a format behind `+` or a parameter. gRPC-Web is another
/// protocol, which sends its trailers in the body.
pub fn is_content_type(value: &[u8]) -> bool {
    const TYPE: &[u8] = b"application/grpc";
    value
        .split_at_checked(TYPE.len())
        .is_some_and(|(start, rest)| {
            start.eq_ignore_ascii_case(TYPE)
                && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
        })
}

/// A `grpc-status`.
pub fn status(value: &[u8]) -> Option<u32> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// Service and method of a path. A path that is no gRPC path is a service as a whole.
pub fn service_and_method(path: &str) -> (&str, &str) {
    let path = path.strip_prefix('/').unwrap_or(path);
    // A server may be mounted below a prefix; the last part is always the method.
    path.rsplit_once('/').unwrap_or((path, ""))
}

/// Bytes of a message's prefix: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// Counts the messages of one direction as its DATA goes by, in parts of any size.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Walker {
    bytes: u64,
    /// Messages that are over; the current one is not.
    count: u64,
    /// Bytes of the current message that are still to come.
    left: u64,
    prefix: [u8; PREFIX],
    /// How many bytes of the prefix are there.
    have: u8,
    /// Where the next prefix starts is not known any more.
    astray: bool,
}

impl Walker {
    /// One that can't know where messages start.
    pub(super) fn astray() -> Self {
        Self {
            astray: true,
            ..Self::default()
        }
    }

    /// The next bytes.
    pub(super) fn seen(&mut self, mut data: &[u8]) {
        self.bytes += data.len() as u64;
        while !self.astray {
            let have = usize::from(self.have);
            if have < PREFIX {
                let taken = data.len().min(PREFIX - have);
                let (prefix, rest) = data.split_at(taken);
                self.prefix[have..have + taken].copy_from_slice(prefix);
                // At most PREFIX.
                self.have += taken as u8;
                data = rest;
                if have + taken < PREFIX {
                    return;
                }
                let [compressed, length @ ..] = self.prefix;
                self.astray = compressed > 1;
                self.left = u64::from(u32::from_be_bytes(length));
            }
            let passed = usize::try_from(self.left).map_or(data.len(), |left| left.min(data.len()));
            data = &data[passed..];
            if !self.pass(passed as u64) {
                return;
            }
        }
    }

    /// The next bytes, which were not captured.
    pub(super) fn unseen(&mut self, length: u64) {
        self.bytes += length;
        if self.astray || length == 0 {
            return;
        }
        // What reaches behind the current message hides a prefix.
        if usize::from(self.have) < PREFIX || length > self.left {
            self.astray = true;
        } else {
            self.pass(length);
        }
    }

    /// The next bytes, which were not captured, and some of which may be no part of it.
    pub(super) fn unclear(&mut self, length: u64) {
        self.bytes += length;
        self.astray = true;
    }

    /// The current message goes on by so many bytes: whether that was its end.
    fn pass(&mut self, length: u64) -> bool {
        self.left -= length;
        if self.left > 0 || self.astray {
            return false;
        }
        self.count += 1;
        self.have = 0;
        true
    }

    pub(super) fn messages(&self) -> Messages {
        Messages {
            count: (!self.astray).then_some(self.count),
            bytes: self.bytes,
        }
    }
}

#[cfg(test)]
mod tests;
