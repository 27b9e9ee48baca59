//! One end of a connection in a program's hands: counts what goes through it, and is noted down when it is over.

use std::{
    io::{self, Read as _},
    net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};

use super::note::{Note, Notes, Outcome, Role, Side};

/// `ECONNREFUSED`.
pub const REFUSED: &str = "ECONNREFUSED";
/// `ECONNRESET`.
pub const RESET: &str = "ECONNRESET";

/// An open connection.
#[derive(Debug)]
pub struct End {
    /// The socket.
    pub stream: TcpStream,
    /// What is known of it so far.
    pub note: Note,
}

impl End {
    /// Connects to `address`.
    pub fn connect(case: &str, address: SocketAddr) -> Result<Self> {
        let stream =
            TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
        Self::of(case, Role::Client, stream)
    }

    /// Accepts the next connection.
    pub fn accept(case: &str, listener: &TcpListener) -> Result<Self> {
        let (stream, _) = listener.accept().context("cannot accept")?;
        Self::of(case, Role::Server, stream)
    }

    /// A connection that is there.
    pub fn of(case: &str, role: Role, stream: TcpStream) -> Result<Self> {
        let (local, remote) = (stream.local_addr()?, stream.peer_addr()?);
        Ok(Self {
            stream,
            note: Note::new(case, role, local, remote)?,
        })
    }

    /// Writes so many bytes.
    pub fn write(&mut self, bytes: u64) -> Result<()> {
        io::copy(&mut io::repeat(b'.').take(bytes), &mut self.stream).context("cannot write")?;
        self.note.sent += bytes;
        Ok(())
    }

    /// Reads so many bytes.
    pub fn read(&mut self, bytes: u64) -> Result<()> {
        let got =
            io::copy(&mut (&self.stream).take(bytes), &mut io::sink()).context("cannot read")?;
        self.note.received += got;
        ensure!(got == bytes, "{got} of {bytes} bytes came");
        Ok(())
    }

    /// Says that no more will come.
    pub fn shut(&mut self) -> Result<()> {
        self.stream.shutdown(Shutdown::Write)?;
        self.note.closed_by.get_or_insert(Side::Local);
        Ok(())
    }

    /// Reads the other end's word that no more will come.
    pub fn read_end(&mut self) -> Result<()> {
        let got = self.stream.read(&mut [0]).context("no end came")?;
        ensure!(got == 0, "more came instead of the end");
        self.note.closed_by.get_or_insert(Side::Remote);
        Ok(())
    }

    /// Reads until the other end's RST.
    pub fn read_reset(&mut self) -> Result<()> {
        self.read_error(io::ErrorKind::ConnectionReset, RESET)?;
        self.note.outcome = Outcome::Reset;
        Ok(())
    }

    /// Reads an error.
    pub fn read_error(&mut self, kind: io::ErrorKind, name: &str) -> Result<()> {
        match self.stream.read(&mut [0]) {
            Err(error) if error.kind() == kind => {
                self.note.error = Some(name.to_owned());
                Ok(())
            }
            other => bail!("no {name} came: {other:?}"),
        }
    }

    /// Closes it, with a RST instead of a FIN.
    pub fn abort(mut self, notes: &Notes) -> Result<()> {
        sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO))
            .context("cannot set SO_LINGER")?;
        self.note.outcome = Outcome::Aborted;
        self.close(notes)
    }

    /// Closes it and notes it down.
    pub fn close(mut self, notes: &Notes) -> Result<()> {
        if self.note.outcome == Outcome::Closed {
            self.note.closed_by.get_or_insert(Side::Local);
        }
        drop(self.stream);
        notes.write(&self.note)
    }
}

/// Both ends of a connection over loopback between this program and itself.
pub fn pair(case: &str, listener: &TcpListener) -> Result<(End, End)> {
    let client = End::connect(case, listener.local_addr()?)?;
    let server = End::accept(case, listener)?;
    ensure!(
        client.note.local == server.note.remote,
        "somebody else connected"
    );
    Ok((client, server))
}

/// Ends a pair in order, the client first.
pub fn part(mut client: End, mut server: End, notes: &Notes) -> Result<()> {
    client.shut()?;
    server.read_end()?;
    server.close(notes)?;
    client.read_end()?;
    client.close(notes)
}

/// A listener on 127.0.0.1.
pub fn listener() -> Result<TcpListener> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?)
}

/// A listener on ::1.
pub fn listener_v6() -> Result<TcpListener> {
    Ok(TcpListener::bind((Ipv6Addr::LOCALHOST, 0))?)
}

/// A socket that has this address (with port 0, at any port) and nothing else.
pub fn bound(address: SocketAddr) -> Result<(OwnedFd, SocketAddr)> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &address)?;
    let local = SocketAddr::try_from(rustix::net::getsockname(&socket)?)?;
    Ok((socket, local))
}
