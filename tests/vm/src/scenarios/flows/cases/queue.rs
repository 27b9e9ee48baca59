//! The queue of a listener: connections that nobody has accepted yet, and those for which there is no room.

use std::{
    net::{Ipv4Addr, TcpListener},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    net::{connect, listen},
    time::Timespec,
};

use super::{
    super::{
        end::{End, bound, listener, part},
        note::{Note, Outcome},
    },
    Ground, Went,
    begin::nanos,
};
use crate::namespace::{Namespace, set};

/// A server that is busy elsewhere for a time that is known before it accepts.
pub fn queue(ground: &Ground) -> Result<Went> {
    let listener = listener()?;
    for pause in [100, 400] {
        let before = Instant::now();
        let mut client = End::connect("queue", listener.local_addr()?)?;
        wait_for_one(&listener, ground.patience)?;
        let connected = Instant::now();
        client.write(300)?;
        thread::sleep(Duration::from_millis(pause));
        let least = connected.elapsed();
        let mut server = End::accept("queue", &listener)?;
        server
            .note
            .bound("accept_wait_ns", nanos(least), nanos(before.elapsed()));
        server.read(300)?;
        part(client, server, &ground.notes)?;
    }
    Ok(Went::Done)
}

/// Waits until there is a connection to accept: connect(2) returns when the client's end is there, and the server's may follow later.
fn wait_for_one(listener: &TcpListener, patience: u32) -> Result<()> {
    const LIMIT: Duration = Duration::from_secs(10);
    let mut polled = [PollFd::new(listener, PollFlags::IN)];
    let ready = poll(&mut polled, Some(&Timespec::try_from(LIMIT * patience)?))?;
    ensure!(ready == 1, "nobody came into the queue");
    Ok(())
}

/// A queue with room for two: whoever comes third gets no answer, and gives up.
pub fn full(ground: &Ground) -> Result<Went> {
    let namespace = Namespace::create()?;
    namespace.within(|| {
        set("ipv4/tcp_syn_retries", "1")?;
        let (socket, address) = bound((Ipv4Addr::LOCALHOST, 0).into())?;
        listen(&socket, 1)?;
        let listener = TcpListener::from(socket);
        let began = Instant::now();
        let clients = [
            End::connect("queue-full", address)?,
            End::connect("queue-full", address)?,
        ];
        let (third, local) = bound((Ipv4Addr::LOCALHOST, 0).into())?;
        let before = Instant::now();
        let ended = connect(&third, &address);
        ensure!(
            ended == Err(Errno::TIMEDOUT),
            "there was room for a third: {ended:?}"
        );
        let took = before.elapsed();
        let mut note = Note::failed(
            "queue-full",
            local,
            address,
            Outcome::TimedOut,
            Some("ETIMEDOUT"),
        )?;
        note.bound("connect_ns", nanos(took * 9 / 10), nanos(took));
        ground.notes.write(&note)?;
        for mut client in clients {
            let mut server = End::accept("queue-full", &listener)?;
            // The server's end may have been there a little later than the client's.
            server.note.bound(
                "accept_wait_ns",
                nanos(took * 9 / 10),
                nanos(began.elapsed()),
            );
            client.write(100)?;
            server.read(100)?;
            part(client, server, &ground.notes)?;
        }
        Ok(Went::Done)
    })
}
