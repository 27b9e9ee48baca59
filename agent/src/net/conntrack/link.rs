//! Asking the kernel's conntrack.

use std::os::fd::OwnedFd;

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect,
        netlink::{self, SocketAddrNetlink},
        recv, send, socket_with,
    },
};

use super::message::{self, Answer, Tuple};
use crate::net::netlink::Writer;

/// Requests that are sent at a time. Their answers wait in the socket, which holds some two hundred of them by default (`net.core.rmem_default`).
pub(super) const BATCH: usize = 32;

/// An entry takes a few hundred bytes; with labels, helpers and counters less than this.
const BUFFER: usize = 8 << 10;

/// What came of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The kernel has answered.
    Answered(Answer),
    /// Its answer is not one that can be read.
    Malformed,
    /// There is no answer: the socket had no room for it, or the kernel no memory.
    Lost,
}

/// A socket of NETLINK_NETFILTER. It asks in the network namespace that the thread was in which opened it.
#[derive(Debug)]
pub(super) struct Link {
    socket: OwnedFd,
    requests: Writer,
    buffer: Vec<u8>,
    sequence: u32,
    outcomes: Vec<Outcome>,
}

impl Link {
    pub(super) fn open() -> Result<Self, Errno> {
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            Some(netlink::NETFILTER),
        )?;
        // Connected to the kernel, so that nobody else's messages come.
        connect(&socket, &SocketAddrNetlink::new(0, 0))?;
        Ok(Self {
            socket,
            requests: Writer::default(),
            buffer: vec![0; BUFFER],
            sequence: 0,
            outcomes: Vec::new(),
        })
    }

    /// Asks for at most [`BATCH`] entries; what came of each is at its place. The kernel answers within send(2), so that nothing is waited for.
    pub(super) fn ask(&mut self, tuples: &[Tuple]) -> Result<&[Outcome], Errno> {
        let first = self.sequence;
        self.requests.clear();
        for tuple in tuples {
            message::request(&mut self.requests, self.sequence, tuple);
            self.sequence = self.sequence.wrapping_add(1);
        }
        self.outcomes.clear();
        self.outcomes.resize(tuples.len(), Outcome::Lost);
        send(&self.socket, self.requests.bytes(), SendFlags::empty())?;
        let mut missing = tuples.len();
        while missing > 0 {
            // With TRUNC the length is the datagram's own, which tells of one that did not fit.
            let flags = RecvFlags::TRUNC | RecvFlags::DONTWAIT;
            let length = match recv(&self.socket, &mut self.buffer[..], flags) {
                Ok((_, length)) => length,
                // Some answers did not fit; others may have.
                Err(Errno::NOBUFS | Errno::INTR) => continue,
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(error),
            };
            let Some(datagram) = self.buffer.get(..length).filter(|all| !all.is_empty()) else {
                continue;
            };
            for (sequence, answer) in message::answers(datagram) {
                let at = sequence.wrapping_sub(first) as usize;
                // Answers of before are left out, should one have come late.
                if let Some(outcome @ Outcome::Lost) = self.outcomes.get_mut(at)
                    && answer != Ok(Answer::Other)
                {
                    *outcome = answer.map_or(Outcome::Malformed, Outcome::Answered);
                    missing -= 1;
                }
            }
        }
        Ok(&self.outcomes)
    }
}
