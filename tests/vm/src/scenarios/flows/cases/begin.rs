//! Ways in which a connection begins. None of these is a failure, whatever the first call returned.

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsFd as _, OwnedFd},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    net::{
        AddressFamily, Protocol, SendFlags, SocketFlags, SocketType, bind, connect, getsockname,
        ipproto, listen, sendto, socket_with, sockopt,
    },
    time::Timespec,
};

use super::{
    super::{
        end::{End, REFUSED, bound, listener, pair, part},
        note::{Note, Outcome, Role, canonical},
    },
    Ground, Went,
};
use crate::{
    context::free_port,
    namespace::{Namespace, set},
};

/// `MSG_FASTOPEN` (include/linux/socket.h).
const MSG_FASTOPEN: SendFlags = SendFlags::from_bits_retain(0x2000_0000);

/// `net.ipv4.tcp_fastopen`: the client, the server, and every listener without asking for it (Documentation/networking/ip-sysctl.rst).
const FAST_OPEN: &str = "1027";

/// IPv4 addresses as sockets of IPv6 show them.
pub fn mapped(ground: &Ground) -> Result<Went> {
    let listener = listener()?;
    let port = listener.local_addr()?.port();
    let ip = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
    let client = End::connect("mapped", (ip, port).into())?;
    let server = End::accept("mapped", &listener)?;
    finish(client, server, ground)
}

/// One listener for IPv4 and IPv6.
pub fn dual_stack(ground: &Ground) -> Result<Went> {
    // std leaves IPV6_V6ONLY as the system has it: off.
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0))?;
    let port = listener.local_addr()?.port();
    for ip in [
        Ipv4Addr::LOCALHOST.into(),
        std::net::IpAddr::from(Ipv6Addr::LOCALHOST),
    ] {
        let client = End::connect("dual-stack", (ip, port).into())?;
        let server = End::accept("dual-stack", &listener)?;
        finish(client, server, ground)?;
    }
    Ok(Went::Done)
}

/// connect(2) returns EINPROGRESS; what came of it is asked for later.
pub fn non_blocking(ground: &Ground) -> Result<Went> {
    let (listener, (_held, closed)) = (listener()?, bound((Ipv4Addr::LOCALHOST, 0).into())?);
    for (remote, expected) in [
        (listener.local_addr()?, Ok(())),
        (closed, Err(Errno::CONNREFUSED)),
    ] {
        let (socket, local) = bound((Ipv4Addr::LOCALHOST, 0).into())?;
        rustix::io::ioctl_fionbio(&socket, true)?;
        let called = connect(&socket, &remote);
        ensure!(
            called == Err(Errno::INPROGRESS) || called == expected,
            "a non-blocking connect: {called:?}"
        );
        if called == Err(Errno::INPROGRESS) {
            let mut polled = [PollFd::new(&socket, PollFlags::OUT)];
            poll(
                &mut polled,
                Some(&Timespec::try_from(Duration::from_secs(10))?),
            )?;
            let ended = sockopt::socket_error(&socket)?;
            ensure!(ended == expected, "{remote}: {ended:?}");
        }
        if expected.is_ok() {
            rustix::io::ioctl_fionbio(&socket, false)?;
            let client = End::of("non-blocking", Role::Client, TcpStream::from(socket))?;
            let server = End::accept("non-blocking", &listener)?;
            finish(client, server, ground)?;
        } else {
            drop(socket);
            let outcome = Outcome::Refused;
            ground.notes.write(&Note::failed(
                "non-blocking",
                local,
                remote,
                outcome,
                Some(REFUSED),
            )?)?;
        }
    }
    Ok(Went::Done)
}

/// A socket at a port that was asked for. One that the kernel chose is the socket's only until a connect fails.
fn asked() -> Result<(OwnedFd, SocketAddr)> {
    const TRIES: usize = 20;
    let mut last = None;
    for _ in 0..TRIES {
        match bound((Ipv4Addr::LOCALHOST, free_port()?).into()) {
            Ok(bound) => return Ok(bound),
            // A process that another case has just started has the socket that looked for the port until it executes its program.
            Err(error) => last = Some(error),
        }
    }
    Err(last.context("no try")?)
}

/// A socket that was refused connects again: two connects, of the same two addresses.
pub fn retried(ground: &Ground) -> Result<Went> {
    let (later, remote) = bound((Ipv4Addr::LOCALHOST, 0).into())?;
    let (socket, local) = asked()?;
    ensure!(
        connect(&socket, &remote) == Err(Errno::CONNREFUSED),
        "somebody listens at {remote}"
    );
    ground.notes.write(&Note::failed(
        "retried",
        local,
        remote,
        Outcome::Refused,
        Some(REFUSED),
    )?)?;
    listen(&later, 1)?;
    connect(&socket, &remote)?;
    let client = End::of("retried", Role::Client, TcpStream::from(socket))?;
    let server = End::accept("retried", &TcpListener::from(later))?;
    ensure!(client.note.local == local, "it has another port now");
    finish(client, server, ground)
}

/// Data in the SYN (RFC 7413). The first connection asks for the cookie, the second uses it.
pub fn fast_open(ground: &Ground) -> Result<Went> {
    let namespace = Namespace::create()?;
    namespace.within(|| {
        set("ipv4/tcp_fastopen", FAST_OPEN)?;
        let listener = listener()?;
        let remote = listener.local_addr()?;
        for _ in 0..2 {
            let socket = bound((Ipv4Addr::LOCALHOST, 0).into())?.0;
            let sent = sendto(&socket, b"a question", MSG_FASTOPEN, &remote)
                .context("cannot send with MSG_FASTOPEN")?;
            let mut client = End::of("fast-open", Role::Client, TcpStream::from(socket))?;
            client.note.sent += sent as u64;
            let mut server = End::accept("fast-open", &listener)?;
            server.read(sent as u64)?;
            finish(client, server, ground)?;
        }
        let opened = counter("TCPFastOpenActive")?;
        ensure!(opened > 0, "no SYN had data in it");
        Ok(Went::Done)
    })
}

/// A counter of /proc/net/netstat, in the calling thread's namespace.
fn counter(name: &str) -> Result<u64> {
    let text = fs::read_to_string("/proc/thread-self/net/netstat")?;
    let lines: Vec<&str> = text.lines().collect();
    lines
        .chunks(2)
        .filter_map(|pair| {
            let at = pair[0].split_whitespace().position(|word| word == name)?;
            pair.get(1)?.split_whitespace().nth(at)?.parse().ok()
        })
        .next()
        .with_context(|| format!("/proc/net/netstat has no {name}"))
}

/// A client of Multipath TCP that finds a server without it, and falls back (RFC 8684, section 3.7).
pub fn mptcp_client(ground: &Ground) -> Result<Went> {
    multipath(ground, "mptcp-client", Some(ipproto::MPTCP), None)
}

/// The same the other way round.
pub fn mptcp_server(ground: &Ground) -> Result<Went> {
    multipath(ground, "mptcp-server", None, Some(ipproto::MPTCP))
}

/// Both have it: one subflow, which is a connection of TCP.
pub fn mptcp_both(ground: &Ground) -> Result<Went> {
    multipath(
        ground,
        "mptcp-both",
        Some(ipproto::MPTCP),
        Some(ipproto::MPTCP),
    )
}

fn multipath(
    ground: &Ground,
    case: &str,
    of_client: Option<Protocol>,
    of_server: Option<Protocol>,
) -> Result<Went> {
    let socket = |protocol: Option<Protocol>| {
        socket_with(
            AddressFamily::INET,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            protocol,
        )
    };
    let (server, client): (OwnedFd, OwnedFd) = match (socket(of_server), socket(of_client)) {
        (Ok(server), Ok(client)) => (server, client),
        (Err(error), _) | (_, Err(error)) => {
            return Ok(Went::NotHere(format!("no Multipath TCP: {error}")));
        }
    };
    bind(&server, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    listen(&server, 8)?;
    let remote = SocketAddr::try_from(getsockname(server.as_fd())?)?;
    connect(&client, &canonical(remote))?;
    let client = End::of(case, Role::Client, TcpStream::from(client))?;
    let server = End::accept(case, &TcpListener::from(server))?;
    finish(client, server, ground)
}

/// Each end says its first word some time after the connection is there.
pub fn late_words(ground: &Ground) -> Result<Went> {
    const PAUSE: Duration = Duration::from_millis(300);
    let listener = listener()?;
    let before = Instant::now();
    let (mut client, mut server) = pair("late-words", &listener)?;
    let connected = Instant::now();
    thread::sleep(PAUSE);
    let least = connected.elapsed();
    client.write(10)?;
    server.read(10)?;
    let most = before.elapsed();
    client
        .note
        .bound("first_sent_ns", nanos(least), nanos(most));
    // The client's end may have been there before the server's was.
    server
        .note
        .bound("first_received_ns", nanos(least), nanos(most));
    thread::sleep(PAUSE);
    let least = connected.elapsed();
    server.write(10)?;
    client.read(10)?;
    let most = before.elapsed();
    server
        .note
        .bound("first_sent_ns", nanos(least), nanos(most));
    client
        .note
        .bound("first_received_ns", nanos(least), nanos(most));
    let least = connected.elapsed();
    // Until whoever was first to say that nothing more comes has the other's word, which here takes no time.
    let most = before.elapsed() + Duration::from_secs(1) * ground.patience;
    for end in [&mut client, &mut server] {
        end.note.bound("lasted_ns", nanos(least), nanos(most));
    }
    part(client, server, &ground.notes)?;
    Ok(Went::Done)
}

/// Some bytes each way, and an end in order.
fn finish(mut client: End, mut server: End, ground: &Ground) -> Result<Went> {
    client.write(1000)?;
    server.read(1000)?;
    server.write(2000)?;
    client.read(2000)?;
    part(client, server, &ground.notes)?;
    Ok(Went::Done)
}

/// As fathom has it.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
