//! Two programs that send each other datagrams of known numbers and sizes, over IPv4 and IPv6, on sockets that are connected and on such that are not.

use std::{
    fs::File,
    io::{self, IoSlice, Read as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::fd::AsRawFd as _,
    path::Path,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use serde::{Deserialize, Serialize};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Messages that one call sends.
const AT_ONCE: usize = 5;

/// Bytes of the first datagram of a QUIC connection.
pub const INITIAL: usize = 1200;

/// What one program moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Bytes sent.
    pub sent: u64,
    /// Datagrams sent.
    pub packets_sent: u64,
    /// Bytes received.
    pub received: u64,
    /// Datagrams received.
    pub packets_received: u64,
}

impl Note {
    fn send(&mut self, bytes: usize) {
        self.sent += bytes as u64;
        self.packets_sent += 1;
    }

    fn receive(&mut self, bytes: usize) {
        self.received += bytes as u64;
        self.packets_received += 1;
    }
}

/// Answers each datagram with its first half, on two ports, of IPv4 and of IPv6 with what is mapped into it, until one of a single byte comes.
pub fn server(notes: &Path, ports: [u16; 3]) -> Result<()> {
    let [v4, v6, quic] = ports;
    let sockets = [
        UdpSocket::bind((Ipv4Addr::LOCALHOST, v4))?,
        UdpSocket::bind((Ipv6Addr::UNSPECIFIED, v6))?,
        UdpSocket::bind((Ipv4Addr::LOCALHOST, quic))?,
    ];
    println!("ready");
    let threads = sockets.map(|socket| thread::spawn(move || answer(&socket)));
    let mut all = Note::default();
    for thread in threads {
        let note = match thread.join() {
            Ok(note) => note?,
            Err(_) => bail!("a thread panicked"),
        };
        all.sent += note.sent;
        all.packets_sent += note.packets_sent;
        all.received += note.received;
        all.packets_received += note.packets_received;
    }
    serde_json::to_writer(File::create(notes)?, &all)?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn answer(socket: &UdpSocket) -> Result<Note> {
    let mut note = Note::default();
    let mut buffer = [0; 2048];
    loop {
        let (length, client) = socket.recv_from(&mut buffer)?;
        note.receive(length);
        if length == 1 {
            return Ok(note);
        }
        note.send(socket.send_to(&buffer[..length / 2], client)?);
    }
}

/// Sends `rounds` datagrams in each way, and takes the answers. Then says a line, and waits for the end of standard input.
pub fn client(notes: &Path, rounds: u64, ports: [u16; 3]) -> Result<()> {
    let [v4, v6, quic] = ports;
    let mut note = Note::default();
    let remotes: [SocketAddr; 3] = [
        (Ipv4Addr::LOCALHOST, v4).into(),
        (Ipv6Addr::LOCALHOST, v6).into(),
        // IPv4 by way of IPv6's functions.
        (Ipv4Addr::LOCALHOST.to_ipv6_mapped(), v4).into(),
    ];
    for remote in remotes {
        let any: IpAddr = match remote.ip() {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let connected = socket(any)?;
        connected.connect(remote)?;
        let free = socket(any)?;
        let mut buffer = [0; 2048];
        for round in 0..rounds {
            // Also an empty one, and none of a single byte, which ends the server.
            let length = usize::try_from(round * 37 % 1100)?;
            let length = if length == 1 { 2 } else { length };
            note.send(connected.send(&vec![0; length])?);
            note.receive(connected.recv(&mut buffer)?);
            note.send(free.send_to(&vec![0; length], remote)?);
            note.receive(free.recv_from(&mut buffer)?.0);
        }
        send_parts(&connected, &mut note)?;
        note.receive(connected.recv(&mut buffer)?);
        for sent in send_at_once(&connected)? {
            note.send(sent);
            note.receive(connected.recv(&mut buffer)?);
        }
    }
    ask_quic(quic, &mut note)?;
    for (port, ip) in [
        (v4, IpAddr::from(Ipv4Addr::LOCALHOST)),
        (v6, Ipv6Addr::LOCALHOST.into()),
        (quic, Ipv4Addr::LOCALHOST.into()),
    ] {
        let last = UdpSocket::bind((ip, 0))?;
        note.send(last.send_to(&[0], (ip, port))?);
    }
    serde_json::to_writer(File::create(notes)?, &note)?;
    println!("sent");
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn socket(any: IpAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// One datagram in several parts.
fn send_parts(socket: &UdpSocket, note: &mut Note) -> Result<()> {
    let parts = [IoSlice::new(&[0; 100]), IoSlice::new(&[0; 23])];
    let sent = sendmsg(
        socket,
        &parts,
        &mut SendAncillaryBuffer::default(),
        SendFlags::empty(),
    )?;
    note.send(sent);
    Ok(())
}

/// Several datagrams with one call; returns their lengths.
fn send_at_once(socket: &UdpSocket) -> Result<Vec<usize>> {
    let mut bytes = [0_u8; 64];
    let mut parts: [libc::iovec; AT_ONCE] = std::array::from_fn(|number| libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: 10 * (number + 1),
    });
    let mut messages: Vec<libc::mmsghdr> = parts
        .iter_mut()
        .map(|part| {
            // SAFETY: a message of zeros is a valid one.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_iov = part;
            message.msg_hdr.msg_iovlen = 1;
            message
        })
        .collect();
    let count = u32::try_from(messages.len())?;
    // SAFETY: the messages, their parts and the bytes outlive the call.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), count, 0) };
    ensure!(
        sent == i32::try_from(AT_ONCE)?,
        "sendmmsg sent {sent}: {}",
        io::Error::last_os_error()
    );
    Ok(messages
        .iter()
        .map(|message| message.msg_len as usize)
        .collect())
}

/// What starts a QUIC connection of version 1, as far as it is not encrypted (RFC 9000 section 17.2.2).
fn ask_quic(port: u16, note: &mut Note) -> Result<()> {
    let socket = socket(Ipv4Addr::LOCALHOST.into())?;
    socket.connect((Ipv4Addr::LOCALHOST, port))?;
    let mut initial = vec![0; INITIAL];
    initial[..6].copy_from_slice(&[0xc3, 0, 0, 0, 1, 8]);
    note.send(socket.send(&initial).context("cannot send")?);
    note.receive(socket.recv(&mut [0; 2048])?);
    Ok(())
}
