//! Where in a program or a library the functions are that TLS goes through, for uprobes.
//!
//! [`inspect`] finds what is called with plain text: by the symbols of a C library ([`library`]), or by the table of functions that Go keeps for its
//! own use, also in stripped programs ([`go`]). With the latter come the functions of Go's HTTP client that tell for whom a request is sent. [`unseen`] names programs that speak TLS in a way that no symbol gives away.
//!
//! Every file is hostile until it is read: nothing is mapped, nothing is read without a bound, and no byte makes a panic.

use std::{fs::File, io};

mod buildinfo;
mod forward;
mod go;
mod image;
mod library;
mod pclntab;
mod returns;
mod symbols;
mod unseen;

pub use go::GoLayout;
pub use unseen::{Unseen, unseen, unseen_bytes};

use image::Image;

/// Which implementation of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Library {
    /// OpenSSL, from 1.0 on.
    OpenSsl,
    /// BoringSSL, and AWS-LC, which descends from it.
    BoringSsl,
    /// LibreSSL.
    LibreSsl,
    /// GnuTLS.
    GnuTls,
    /// Go's crypto/tls.
    GoTls,
}

impl Library {
    /// Its name, as its makers write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenSsl => "OpenSSL",
            Self::BoringSsl => "BoringSSL",
            Self::LibreSsl => "LibreSSL",
            Self::GnuTls => "GnuTLS",
            Self::GoTls => "Go crypto/tls",
        }
    }
}

/// What a function means, and so which program belongs there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Plain text goes out.
    Write,
    /// Plain text comes in.
    Read,
    /// A file goes out, by the kernel's own TLS: how much is known, not what.
    SendFile,
    /// The connection is told its socket.
    Socket,
    /// The connection is set up: the library moves bytes of its own.
    Handshake,
    /// The connection ends, and its address may be another's afterwards.
    End,
    /// A request is asked for, or sent for who asked.
    Ask,
}

/// A function that is worth a probe. The comment of each is its signature.
///
/// Only functions that no other of the list is called by are taken from one file, so that no byte is seen twice: see [`inspect`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Function {
    /// `int SSL_read(SSL *, void *buf, int num)`: bytes read, or at most 0.
    SslRead,
    /// `int SSL_write(SSL *, const void *buf, int num)`: bytes written, or at most 0.
    SslWrite,
    /// `int SSL_read_ex(SSL *, void *buf, size_t num, size_t *readbytes)`: 1 and `*readbytes`, or 0.
    SslReadEx,
    /// `int SSL_write_ex(SSL *, const void *buf, size_t num, size_t *written)`: 1 and `*written`, or 0.
    SslWriteEx,
    /// `ossl_ssize_t SSL_sendfile(SSL *, int fd, off_t offset, size_t size, int flags)`: bytes sent, or less than 0. OpenSSL 3.0.
    SslSendfile,
    /// `int SSL_set_fd(SSL *, int fd)`.
    SslSetFd,
    /// `int SSL_set_rfd(SSL *, int fd)`.
    SslSetRfd,
    /// `int SSL_set_wfd(SSL *, int fd)`.
    SslSetWfd,
    /// `int SSL_do_handshake(SSL *)`, which `SSL_accept` and `SSL_connect` call: 1, or less than 1.
    SslDoHandshake,
    /// `void SSL_free(SSL *)`.
    SslFree,
    /// `ssize_t gnutls_record_recv(gnutls_session_t, void *data, size_t)`: bytes read, 0 at the end, or an error below 0.
    GnutlsRecv,
    /// `ssize_t gnutls_record_recv_seq(gnutls_session_t, void *data, size_t, unsigned char *seq)`: as [`Function::GnutlsRecv`].
    GnutlsRecvSeq,
    /// `ssize_t gnutls_record_send(gnutls_session_t, const void *data, size_t)`: bytes taken, or an error below 0.
    GnutlsSend,
    /// `ssize_t gnutls_record_send2(gnutls_session_t, const void *data, size_t, size_t pad, unsigned flags)`: as [`Function::GnutlsSend`]. 3.6.3.
    GnutlsSend2,
    /// `ssize_t gnutls_record_send_range(gnutls_session_t, const void *data, size_t, const gnutls_range_st *)`: as [`Function::GnutlsSend`].
    GnutlsSendRange,
    /// `int gnutls_handshake(gnutls_session_t)`: 0, or an error below 0.
    GnutlsHandshake,
    /// `void gnutls_transport_set_int2(gnutls_session_t, int recv_fd, int send_fd)`.
    GnutlsSetInt2,
    /// `void gnutls_transport_set_ptr(gnutls_session_t, gnutls_transport_ptr_t)`: a descriptor, unless the program brings its own way to send.
    GnutlsSetPtr,
    /// `void gnutls_transport_set_ptr2(gnutls_session_t, gnutls_transport_ptr_t recv, gnutls_transport_ptr_t send)`: likewise.
    GnutlsSetPtr2,
    /// `void gnutls_deinit(gnutls_session_t)`.
    GnutlsDeinit,
    /// `func (c *tls.Conn) Read(b []byte) (int, error)`; see [`GoLayout`] for registers.
    GoRead,
    /// `func (c *tls.Conn) Write(b []byte) (int, error)`.
    GoWrite,
    /// `func (c *tls.Conn) Close() error`.
    GoClose,
    /// `func (pc *http.persistConn) roundTrip(req *transportRequest) (*Response, error)`.
    GoRoundTrip,
    /// `func (pc *http.persistConn) writeLoop()`.
    GoWriteLoop,
}

impl Function {
    /// What it means.
    pub const fn action(self) -> Action {
        match self {
            Self::SslRead
            | Self::SslReadEx
            | Self::GnutlsRecv
            | Self::GnutlsRecvSeq
            | Self::GoRead => Action::Read,
            Self::SslWrite
            | Self::SslWriteEx
            | Self::GnutlsSend
            | Self::GnutlsSend2
            | Self::GnutlsSendRange
            | Self::GoWrite => Action::Write,
            Self::SslSendfile => Action::SendFile,
            Self::SslSetFd
            | Self::SslSetRfd
            | Self::SslSetWfd
            | Self::GnutlsSetInt2
            | Self::GnutlsSetPtr
            | Self::GnutlsSetPtr2 => Action::Socket,
            Self::SslDoHandshake | Self::GnutlsHandshake => Action::Handshake,
            Self::SslFree | Self::GnutlsDeinit | Self::GoClose => Action::End,
            Self::GoRoundTrip | Self::GoWriteLoop => Action::Ask,
        }
    }

    /// Its symbol.
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::SslRead => "SSL_read",
            Self::SslWrite => "SSL_write",
            Self::SslReadEx => "SSL_read_ex",
            Self::SslWriteEx => "SSL_write_ex",
            Self::SslSendfile => "SSL_sendfile",
            Self::SslSetFd => "SSL_set_fd",
            Self::SslSetRfd => "SSL_set_rfd",
            Self::SslSetWfd => "SSL_set_wfd",
            Self::SslDoHandshake => "SSL_do_handshake",
            Self::SslFree => "SSL_free",
            Self::GnutlsRecv => "gnutls_record_recv",
            Self::GnutlsRecvSeq => "gnutls_record_recv_seq",
            Self::GnutlsSend => "gnutls_record_send",
            Self::GnutlsSend2 => "gnutls_record_send2",
            Self::GnutlsSendRange => "gnutls_record_send_range",
            Self::GnutlsSetInt2 => "gnutls_transport_set_int2",
            Self::GnutlsSetPtr => "gnutls_transport_set_ptr",
            Self::GnutlsSetPtr2 => "gnutls_transport_set_ptr2",
            Self::GnutlsHandshake => "gnutls_handshake",
            Self::GnutlsDeinit => "gnutls_deinit",
            Self::GoRead => "crypto/tls.(*Conn).Read",
            Self::GoWrite => "crypto/tls.(*Conn).Write",
            Self::GoClose => "crypto/tls.(*Conn).Close",
            Self::GoRoundTrip => "net/http.(*persistConn).roundTrip",
            Self::GoWriteLoop => "net/http.(*persistConn).writeLoop",
        }
    }
}

/// One function of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Which.
    pub function: Function,
    /// The file offset of its first instruction, for a uprobe.
    ///
    /// A Go function that finds its stack too small calls for a larger one and starts again at its first instruction, with the same arguments: its probe
    /// then runs twice for one call, and what it notes has to be overwritten, not stacked.
    pub entry: u64,
    /// The file offsets of all its return instructions, ascending; empty where a uretprobe at `entry` is the way. A uretprobe replaces the
    /// return address on the stack, which Go's runtime, when it walks or moves that stack, takes for a fault.
    pub returns: Vec<u64>,
}

/// What a file holds of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets {
    /// Whose functions they are.
    pub library: Library,
    /// Its version, as far as the file says: `3.0.19`, or `3` where only the file's soname tells; `go1.24.4`.
    pub version: Option<String>,
    /// The functions, at most a few of each kind.
    pub sites: Vec<Site>,
    /// How to get from a connection to its socket, in a Go program.
    pub go: Option<GoLayout>,
}

/// Why a file gives no targets.
#[derive(Debug, thiserror::Error)]
pub enum Why {
    /// It holds no TLS function that can be seen. Ask [`unseen`] whether it speaks TLS all the same.
    #[error("no TLS function in it")]
    NotTls,
    /// It is no ELF file.
    #[error("not an ELF file")]
    NotElf,
    /// It is something that fathom can't look into.
    #[error("{0}, which fathom does not look into")]
    Unsupported(&'static str),
    /// A part could not be read.
    #[error("reading {part}: {error}")]
    Read {
        /// Which part.
        part: &'static str,
        /// What the kernel said.
        error: io::Error,
    },
    /// A part contradicts the format or the rest of the file.
    #[error("{part}: {reason}")]
    Malformed {
        /// Which part.
        part: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A part is larger than any real one, or all that was read with it.
    #[error("{part}: {size} bytes more, and at most {limit} are read")]
    TooLarge {
        /// Which part.
        part: &'static str,
        /// Its size in bytes.
        size: u64,
        /// The most that is read of it.
        limit: u64,
    },
}

impl Why {
    fn read(part: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Read { part, error }
    }

    fn malformed(part: &'static str, reason: impl Into<String>) -> Self {
        Self::Malformed {
            part,
            reason: reason.into(),
        }
    }
}

/// The TLS functions of a program or a shared library, and where they are.
///
/// One byte of plain text passes exactly one of the functions that are given:
///
/// | library | finding | so |
/// |---|---|---|
/// | OpenSSL 1.1 to 3.x | `SSL_read`, `SSL_read_ex` (and `SSL_write…`) each call an internal function, not each other; `SSL_read_early_data` and `SSL_write_early_data` call the `_ex` one; `SSL_peek` calls neither | all four, no more |
/// | BoringSSL, AWS-LC, LibreSSL | `SSL_read_ex`, where there is one, calls `SSL_read` | only the plain ones |
/// | GnuTLS 3.6.3 and later | `gnutls_record_send` and `gnutls_record_uncork` end in `gnutls_record_send2`; what is corked is seen when it is given, not when it goes out | only `send2` |
/// | GnuTLS before | there is no `send2` | `gnutls_record_send` |
/// | GnuTLS, all | `recv`, `recv_seq` and `send_range` each call internal functions | all three |
/// | Go 1.18 and later | `Read` and `Write` of `*tls.Conn` are what net/http, gRPC and all else call | both |
///
/// What passes none of them: `gnutls_record_recv_packet`, `gnutls_record_send_file` over the kernel's own TLS, early data of GnuTLS, QUIC; copies of crypto/tls under
/// another name (uTLS).
///
/// # Errors
/// [`Why::NotTls`] where there is none; else what is wrong with the file.
pub fn inspect(file: &File) -> Result<Targets, Why> {
    of(&Image::file(file)?)
}

/// [`inspect`] for a file that is in memory.
///
/// # Errors
/// As [`inspect`].
pub fn inspect_bytes(bytes: &[u8]) -> Result<Targets, Why> {
    of(&Image::bytes(bytes)?)
}

/// How a Go program passes what it calls with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoAbi {
    /// On the stack, before Go 1.17; or its version is not known.
    Stack,
    /// In registers, of which one has the goroutine (Go 1.18 or later).
    Registers,
}

/// How a program passes what it calls with, if it is one of Go's, as its sections tell: no more is read than those.
///
/// # Errors
/// When the file is no executable that can be read.
pub fn go_abi(file: &File) -> Result<Option<GoAbi>, Why> {
    let image = Image::file(file)?;
    if !go::is_marked(&image) {
        return Ok(None);
    }
    // No earlier Go wrote one that can be read.
    Ok(Some(match buildinfo::version(&image) {
        Some(_) => GoAbi::Registers,
        None => GoAbi::Stack,
    }))
}

fn of(image: &Image<'_>) -> Result<Targets, Why> {
    match go::inspect(image) {
        Err(Why::NotTls) => library::inspect(image),
        result => result,
    }
}

#[cfg(test)]
mod tests;
