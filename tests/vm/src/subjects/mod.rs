//! Programs that other people wrote, over the libraries that other people use: what fathom must see, and what it may not yet see.
//!
//! A subject is a server and a client with a protocol between them. [`SUBJECTS`] lists them with what fathom must see of each at least.

mod certificate;
mod curl;
mod h2load;
mod nginx;
pub mod plan;
pub mod process;
pub mod program;
mod script;
mod slow;
pub mod truth;
mod wget;
mod wire;
mod wrk;

use std::fmt;

use serde::Serialize;

use self::program::Program::{
    self, Curl, CurlGnutls, Go, GoStripped, GrpcPython, GrpcRust, H2load, Nginx, Node, Python,
    Wget, Wrk,
};
pub use self::{
    certificate::Certificate,
    script::{GoProgram, compile},
    wire::Wire,
};

/// How much of what a program did was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Seen {
    /// Nothing.
    Not,
    /// Something.
    Partly,
    /// Each exchange, by method, route and status.
    Fully,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Not => "not",
            Self::Partly => "partly",
            Self::Fully => "seen",
        })
    }
}

/// What two programs speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/1.1 over TLS.
    Http1Tls,
    /// HTTP/2 with prior knowledge.
    Http2,
    /// HTTP/2 over TLS, by ALPN.
    Http2Tls,
    /// gRPC.
    Grpc,
    /// gRPC over TLS.
    GrpcTls,
}

impl Protocol {
    /// Whether it is encrypted.
    pub fn is_secure(self) -> bool {
        matches!(self, Self::Http1Tls | Self::Http2Tls | Self::GrpcTls)
    }

    /// Whether it is HTTP/2, as gRPC is.
    pub fn is_http2(self) -> bool {
        !matches!(self, Self::Http1 | Self::Http1Tls)
    }

    /// Whether it is gRPC.
    pub fn is_grpc(self) -> bool {
        matches!(self, Self::Grpc | Self::GrpcTls)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http1Tls => "HTTP/1.1, TLS",
            Self::Http2 => "HTTP/2",
            Self::Http2Tls => "HTTP/2, TLS",
            Self::Grpc => "gRPC",
            Self::GrpcTls => "gRPC, TLS",
        })
    }
}

/// A server and a client.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// What they speak.
    pub protocol: Protocol,
    /// Who answers.
    pub server: Program,
    /// Who asks.
    pub client: Program,
    /// What must be seen of the server at least.
    pub of_server: Seen,
    /// What must be seen of the client at least.
    pub of_client: Seen,
}

/// Every subject. The last two columns are floors: less fails the scenario, more is the reason to raise them.
pub const SUBJECTS: [Subject; 26] = {
    use self::Seen::{Fully, Not};
    use Protocol::{Grpc, GrpcTls, Http1, Http1Tls, Http2, Http2Tls};
    [
        subject(Http1, Nginx, Wrk, Fully, Fully),
        subject(Http1, Nginx, H2load, Fully, Fully),
        subject(Http1, Nginx, Curl, Fully, Fully),
        subject(Http1, Python, Python, Fully, Fully),
        subject(Http1, Node, Node, Fully, Fully),
        subject(Http1, Go, Go, Fully, Fully),
        subject(Http1Tls, Nginx, Wrk, Fully, Fully),
        subject(Http1Tls, Nginx, H2load, Fully, Fully),
        subject(Http1Tls, Nginx, Curl, Fully, Fully),
        subject(Http1Tls, Nginx, CurlGnutls, Fully, Fully),
        subject(Http1Tls, Nginx, Wget, Fully, Fully),
        subject(Http1Tls, Python, Python, Fully, Fully),
        subject(Http1Tls, Node, Node, Fully, Fully),
        subject(Http1Tls, Go, Go, Fully, Fully),
        subject(Http1Tls, GoStripped, GoStripped, Fully, Fully),
        subject(Http2, Nginx, H2load, Fully, Fully),
        subject(Http2, Node, Node, Fully, Fully),
        subject(Http2Tls, Nginx, H2load, Fully, Fully),
        subject(Http2Tls, Nginx, Curl, Fully, Fully),
        subject(Http2Tls, Nginx, CurlGnutls, Fully, Fully),
        subject(Http2Tls, Node, Node, Fully, Fully),
        subject(Http2Tls, Go, Go, Fully, Fully),
        subject(Grpc, GrpcPython, GrpcPython, Fully, Fully),
        subject(Grpc, GrpcRust, GrpcRust, Fully, Fully),
        subject(GrpcTls, GrpcPython, GrpcPython, Not, Not),
        subject(GrpcTls, GrpcRust, GrpcRust, Not, Not),
    ]
};

const fn subject(
    protocol: Protocol,
    server: Program,
    client: Program,
    of_server: Seen,
    of_client: Seen,
) -> Subject {
    Subject {
        protocol,
        server,
        client,
        of_server,
        of_client,
    }
}
