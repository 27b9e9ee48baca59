//! Connections through a relay that takes its time, loses segments, or lets nothing through.

use std::{
    net::{IpAddr, SocketAddr, TcpListener},
    os::fd::OwnedFd,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::{
    io::Errno,
    net::{connect, sockopt},
};

use super::{
    super::{
        end::{End, bound, part},
        note::{Note, Outcome},
        ss::{self, Info},
    },
    Ground, Went,
    begin::nanos,
};
use crate::{
    namespace::{ip, set},
    relay::{CLIENT, CLIENT_V6, LOSSY, PLAIN, PLAIN_V6, Relay, SILENT, STALLING, UNREACHABLE, tun},
};

/// For how long a packet is on its way. What the machine adds must be little beside it.
const DELAY: Duration = Duration::from_millis(100);

/// For how long a connection may be busy with what was lost.
const QUIET_LIMIT: Duration = Duration::from_secs(60);

/// Does `work` with a relay by which packets are on their way for `delay`.
fn through(delay: Duration, work: impl FnOnce(&Relay) -> Result<()>) -> Result<Went> {
    if let Some(why) = tun::missing() {
        return Ok(Went::NotHere(why));
    }
    let relay = Relay::start(delay)?;
    work(&relay)?;
    // What is closed still has its last words under way.
    thread::sleep(4 * delay);
    relay.stop()?;
    Ok(Went::Done)
}

/// Both ends of a connection through the relay.
fn ends(case: &str, relay: &Relay, to: IpAddr) -> Result<(End, End)> {
    let listener = relay.server.within(|| Ok(TcpListener::bind((to, 0))?))?;
    let address = listener.local_addr()?;
    let client = relay.client.within(|| End::connect(case, address))?;
    let server = relay.server.within(|| End::accept(case, &listener))?;
    Ok((client, server))
}

/// A connect takes as long as the way there and back.
pub fn delayed(ground: &Ground) -> Result<Went> {
    // An emulated processor adds more.
    let delay = DELAY * ground.patience.min(4);
    through(delay, |relay| {
        let way = nanos(2 * delay);
        for to in [PLAIN, PLAIN_V6, PLAIN, PLAIN_V6, PLAIN] {
            let before = Instant::now();
            let (mut client, mut server) = ends("delayed", relay, to)?;
            // Where it adds more than the twentieth that is borne, it took the program as long.
            let took = if ground.patience > 1 {
                nanos(before.elapsed())
            } else {
                0
            };
            let most = took.max(way * 105 / 100);
            client.note.bound("connect_ns", way, most);
            client.write(1000)?;
            server.read(1000)?;
            server.write(5000)?;
            client.read(5000)?;
            part(client, server, &ground.notes)?;
        }
        Ok(())
    })
}

/// Segments are lost both ways: each byte counts once, and round-trip time and retransmits are those that ss shows.
pub fn lossy(ground: &Ground) -> Result<Went> {
    const BYTES: u64 = 60_000;
    if let Some(why) = ss::missing() {
        return Ok(Went::NotHere(why));
    }
    through(DELAY, |relay| {
        let (mut client, mut server) = ends("lossy", relay, LOSSY)?;
        client.write(BYTES)?;
        server.read(BYTES)?;
        server.write(BYTES)?;
        client.read(BYTES)?;
        let mut retransmits = 0;
        for (end, side) in [(&mut client, &relay.client), (&mut server, &relay.server)] {
            let info = side.within(|| quiet(end))?;
            retransmits += info.retransmits;
            info.note(&mut end.note);
        }
        ensure!(retransmits > 0, "nothing was lost");
        // A RST, and not a FIN: it gives no further sample of the round-trip time.
        client.abort(&ground.notes)?;
        server.read_reset()?;
        server.close(&ground.notes)?;
        Ok(())
    })
}

/// What ss says when everything is acknowledged and nothing changes any more.
fn quiet(end: &End) -> Result<Info> {
    let deadline = Instant::now() + QUIET_LIMIT;
    let mut before = None;
    loop {
        let now = ss::ask(end.note.local, end.note.remote)?;
        if now.unacknowledged == 0 && before.as_ref() == Some(&now) {
            return Ok(now);
        }
        ensure!(Instant::now() < deadline, "never quiet: {now:?}");
        before = Some(now);
        thread::sleep(5 * DELAY);
    }
}

/// A socket with the client's address.
fn ready(from: IpAddr) -> Result<(OwnedFd, SocketAddr)> {
    bound(SocketAddr::new(from, 0))
}

/// Nobody answers: one waits until the kernel gives up, another one closes its socket before.
pub fn silent(ground: &Ground) -> Result<Went> {
    through(DELAY, |relay| {
        let remote = SocketAddr::new(SILENT, 80);
        relay.client.within(|| {
            let (socket, local) = ready(CLIENT)?;
            let before = Instant::now();
            let ended = connect(&socket, &remote);
            let took = before.elapsed();
            ensure!(ended == Err(Errno::TIMEDOUT), "it answered: {ended:?}");
            let mut note = Note::failed(
                "silent",
                local,
                remote,
                Outcome::TimedOut,
                Some("ETIMEDOUT"),
            )?;
            note.bound("connect_ns", nanos(took * 95 / 100), nanos(took));
            ground.notes.write(&note)?;

            let (socket, local) = ready(CLIENT)?;
            rustix::io::ioctl_fionbio(&socket, true)?;
            let before = Instant::now();
            let ended = connect(&socket, &remote);
            ensure!(ended == Err(Errno::INPROGRESS), "it answered: {ended:?}");
            let began = Instant::now();
            thread::sleep(Duration::from_millis(200));
            let least = began.elapsed();
            drop(socket);
            let most = before.elapsed() + CHILD * ground.patience;
            let mut note = Note::failed("abandoned", local, remote, Outcome::Abandoned, None)?;
            // It began within the call, and ended within the drop.
            note.bound("connect_ns", nanos(least), nanos(most));
            ground.notes.write(&note)
        })?;
        Ok(())
    })
}

/// A child that another thread makes has this program's descriptors until it runs a program of its own: a socket is closed when it does.
const CHILD: Duration = Duration::from_millis(300);

/// No way there: known at once, from a router, or when nobody says whose the address is.
pub fn unreachable(ground: &Ground) -> Result<Went> {
    through(DELAY, |relay| {
        relay.client.within(|| {
            ip("route add unreachable 10.98.0.0/24")?;
            // Where nobody answers when it is asked who has an address.
            let _neighbours = tun::create("tap0", tun::Carries::Frames)?;
            ip("addr add 10.97.0.1/24 dev tap0")?;
            ip("link set tap0 up")?;
            // Three questions, and all that before the kernel gives up by itself.
            set("ipv4/neigh/tap0/retrans_time_ms", "200")?;
            for (case, from, to, error, name) in [
                (
                    "no-route",
                    CLIENT,
                    "10.99.0.1",
                    Errno::NETUNREACH,
                    "ENETUNREACH",
                ),
                (
                    "no-route-v6",
                    CLIENT_V6,
                    "fd99::1",
                    Errno::NETUNREACH,
                    "ENETUNREACH",
                ),
                (
                    "unreachable-route",
                    CLIENT,
                    "10.98.0.1",
                    Errno::HOSTUNREACH,
                    "EHOSTUNREACH",
                ),
                (
                    "icmp",
                    CLIENT,
                    &UNREACHABLE.to_string(),
                    Errno::HOSTUNREACH,
                    "EHOSTUNREACH",
                ),
                (
                    "no-neighbour",
                    "10.97.0.1".parse()?,
                    "10.97.0.2",
                    Errno::HOSTUNREACH,
                    "EHOSTUNREACH",
                ),
            ] {
                let remote = SocketAddr::new(to.parse()?, 80);
                let (socket, local) = ready(from)?;
                let ended = connect(&socket, &remote);
                ensure!(ended == Err(error), "{case}: {remote}: {ended:?}");
                let outcome = Outcome::Unreachable;
                ground
                    .notes
                    .write(&Note::failed(case, local, remote, outcome, Some(name))?)?;
            }
            Ok(())
        })?;
        Ok(())
    })
}

/// Nothing gets through any more: to what was sent, and to what keeps an idle connection alive.
pub fn stalled(ground: &Ground) -> Result<Went> {
    through(DELAY, |relay| {
        let mut talks = ends("stalled-talk", relay, STALLING)?;
        let mut idles = ends("stalled-idle", relay, STALLING)?;
        for (client, server) in [&mut talks, &mut idles] {
            client.write(1000)?;
            server.read(1000)?;
        }
        // What was acknowledged is over by then.
        thread::sleep(3 * DELAY);
        sockopt::set_tcp_user_timeout(&talks.0.stream, 1500).context("TCP_USER_TIMEOUT")?;
        sockopt::set_tcp_keepidle(&idles.0.stream, Duration::from_secs(1))?;
        sockopt::set_tcp_keepintvl(&idles.0.stream, Duration::from_secs(1))?;
        sockopt::set_tcp_keepcnt(&idles.0.stream, 2)?;
        relay.stall(true);
        sockopt::set_socket_keepalive(&idles.0.stream, true)?;
        talks.0.write(500)?;
        for (client, _) in [&mut talks, &mut idles] {
            client.read_error(std::io::ErrorKind::TimedOut, "ETIMEDOUT")?;
            client.note.outcome = Outcome::TimedOut;
        }
        // The last word of the one that was idle is a RST, which is to be lost as well.
        thread::sleep(DELAY * ground.patience);
        relay.stall(false);
        for (client, mut server) in [talks, idles] {
            client.close(&ground.notes)?;
            // To this a RST is the answer: nobody knows the connection there.
            server.write(10)?;
            server.read_reset()?;
            server.close(&ground.notes)?;
        }
        Ok(())
    })
}
