//! Asking the kernel for its list of sockets.

use std::{os::fd::OwnedFd, time::Instant};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect,
        netlink::{self, SocketAddrNetlink},
        recv, send, socket_with,
    },
};

use super::diag::{self, Details, Extensions, Family, Malformed, Message, Socket, States};

/// The kernel fills datagrams of at most this size, if it is given the room (`netlink_recvmsg`).
const BUFFER: usize = 32 << 10;

/// Why a list could not be had, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// socket(2) or connect(2).
    #[error(
        "opening a NETLINK_SOCK_DIAG socket: {0}; without it (CONFIG_INET_DIAG, CONFIG_INET_TCP_DIAG) connections of before are known only once they are used"
    )]
    Open(Errno),
    /// send(2).
    #[error("asking for the {0:?} sockets of TCP: {1}")]
    Ask(Family, Errno),
    /// recv(2).
    #[error("reading the list of the {0:?} sockets of TCP: {1}")]
    Read(Family, Errno),
    /// The kernel's answer is an errno.
    #[error("the kernel does not list the {0:?} sockets of TCP: {1}")]
    Refused(Family, Errno),
    /// The kernel's answer is none.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The time was up.
    #[error("there was no time for all sockets")]
    TooLate,
}

/// A socket of NETLINK_SOCK_DIAG. It lists what is in the network namespace that the thread was in which opened it.
pub struct Dump {
    socket: OwnedFd,
    buffer: Vec<u8>,
    sequence: u32,
}

impl Dump {
    /// Opens it.
    ///
    /// # Errors
    /// Without sock_diag in the kernel, or without room for one more descriptor.
    pub fn open() -> Result<Self, Error> {
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            Some(netlink::SOCK_DIAG),
        )
        .map_err(Error::Open)?;
        // Connected to the kernel, so that nobody else's messages come.
        connect(&socket, &SocketAddrNetlink::new(0, 0)).map_err(Error::Open)?;
        Ok(Self {
            socket,
            buffer: vec![0; BUFFER],
            sequence: 0,
        })
    }

    /// Hands each socket to `f`, with what `extensions` asked for, one datagram's at a time: the list is made while it is read, and is nowhere in whole.
    ///
    /// # Errors
    /// Where the list ends early: at `until` at the latest.
    pub fn each(
        &mut self,
        family: Family,
        states: States,
        extensions: Extensions,
        until: Instant,
        f: &mut impl FnMut(Socket, Details<'_>),
    ) -> Result<(), Error> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = diag::request(family, states, extensions, self.sequence);
        send(&self.socket, &request, SendFlags::empty())
            .map_err(|error| Error::Ask(family, error))?;
        loop {
            if Instant::now() >= until {
                return Err(Error::TooLate);
            }
            // With TRUNC the length is the datagram's own, which tells of one that did not fit.
            let (_, length) = recv(&self.socket, &mut self.buffer[..], RecvFlags::TRUNC)
                .map_err(|error| Error::Read(family, error))?;
            let datagram = self.buffer.get(..length).ok_or(Malformed)?;
            if datagram.is_empty() {
                return Err(Malformed.into());
            }
            for message in diag::messages(datagram, self.sequence) {
                match message? {
                    Message::Socket(socket, details) => f(socket, details),
                    Message::Done => return Ok(()),
                    Message::Refused(errno) => {
                        return Err(Error::Refused(family, Errno::from_raw_os_error(errno)));
                    }
                    Message::Other => {}
                }
            }
        }
    }
}
