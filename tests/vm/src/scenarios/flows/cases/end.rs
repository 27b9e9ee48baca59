//! Ways in which a connection ends.

use std::{
    io::ErrorKind,
    net::TcpListener,
    os::fd::OwnedFd,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::{
    super::{
        end::{End, listener, pair},
        note::{Outcome, Role, Side},
        ss,
    },
    Ground, Went,
    parts::{RECEIVED, Running, SENT},
};

/// Closed while something is there that nobody has read: the kernel answers with a RST (RFC 2525, section 2.17).
pub fn unread(ground: &Ground) -> Result<Went> {
    let (mut client, mut server) = pair("unread", &listener()?)?;
    client.write(100)?;
    server.read(40)?;
    // What is left arrived as well.
    server.note.received += 60;
    server.note.outcome = Outcome::Aborted;
    server.close(&ground.notes)?;
    client.read_reset()?;
    client.close(&ground.notes)?;
    Ok(Went::Done)
}

/// A client that has said all reads the answer when the server has long closed: both have ended in order, though at the client's end the kernel is done
/// with the connection while the answer is unread.
pub fn read_late(ground: &Ground) -> Result<Went> {
    let (mut client, mut server) = pair("read-late", &listener()?)?;
    client.write(100)?;
    client.shut()?;
    server.read(100)?;
    server.read_end()?;
    server.write(2000)?;
    server.close(&ground.notes)?;
    thread::sleep(Duration::from_millis(100) * ground.patience);
    client.read(2000)?;
    client.read_end()?;
    client.close(&ground.notes)?;
    Ok(Went::Done)
}

/// A process is killed that had connected, and had been connected to; once with everything read, once not.
pub fn killed(ground: &Ground) -> Result<Went> {
    for unread in [false, true] {
        let listener = listener()?;
        let mut victim = Running::start("victim", listener.local_addr()?, Stdio::null())?;
        let to = victim.hear()?.parse()?;
        let mut ends = [
            End::accept("killed", &listener)?,
            End::connect("killed", to)?,
        ];
        ensure!(
            victim.hear()? == ends[0].note.remote.to_string(),
            "somebody else connected"
        );
        for end in &mut ends {
            end.read(SENT)?;
            end.write(RECEIVED)?;
        }
        ensure!(victim.hear()? == "ready", "it says something else");
        if unread {
            for end in &mut ends {
                end.write(10)?;
            }
            ensure!(victim.hear()? == "unread", "it says something else");
        }
        victim.kill()?;
        for mut end in ends {
            let mut theirs = end.note.clone();
            theirs.role = match end.note.role {
                Role::Client => Role::Server,
                _ => Role::Client,
            };
            (theirs.local, theirs.remote) = (end.note.remote, end.note.local);
            (theirs.sent, theirs.received) = (end.note.received, end.note.sent);
            theirs.outcome = Outcome::Killed;
            theirs.pid = victim.pid();
            if unread {
                end.read_reset()?;
            } else {
                end.read_end()?;
                theirs.closed_by = Some(Side::Local);
            }
            ground.notes.write(&theirs)?;
            end.close(&ground.notes)?;
        }
    }
    Ok(Went::Done)
}

/// A child has the socket of its parent, which closes its own: one connection, over when the child closes it, and the parent's, who made it.
pub fn inherited(ground: &Ground) -> Result<Went> {
    let (mut client, mut server) = pair("inherited", &listener()?)?;
    client.write(100)?;
    server.read(100)?;
    let mut heir = Running::start(
        "heir",
        server.note.local,
        OwnedFd::from(client.stream).into(),
    )?;
    heir.end()?;
    client.note.sent += SENT;
    client.note.closed_by = Some(Side::Local);
    ground.notes.write(&client.note)?;
    server.read(SENT)?;
    server.read_end()?;
    server.close(&ground.notes)?;
    Ok(Went::Done)
}

/// A child accepts from the listener of its parent: the connection is the child's.
pub fn accepted_by_another(ground: &Ground) -> Result<Went> {
    let listener = listener()?;
    let address = listener.local_addr()?;
    let mut acceptor = Running::start("acceptor", address, OwnedFd::from(listener).into())?;
    let mut client = End::connect("accepted-by-another", address)?;
    client.write(RECEIVED)?;
    client.read(SENT)?;
    client.shut()?;
    client.read_end()?;
    acceptor.end()?;
    let mut theirs = client.note.clone();
    theirs.role = Role::Server;
    (theirs.local, theirs.remote) = (client.note.remote, client.note.local);
    (theirs.sent, theirs.received) = (SENT, RECEIVED);
    theirs.closed_by = Some(Side::Remote);
    theirs.pid = acceptor.pid();
    ground.notes.write(&theirs)?;
    client.close(&ground.notes)?;
    Ok(Went::Done)
}

/// `ss -K` destroys a socket under the program that has it.
pub fn destroyed(ground: &Ground) -> Result<Went> {
    if let Some(why) = ss::missing() {
        return Ok(Went::NotHere(why));
    }
    let listener: TcpListener = listener()?;
    let (mut client, mut server) = pair("destroyed", &listener)?;
    client.write(100)?;
    server.read(100)?;
    let (local, remote) = (
        client.note.local.to_string(),
        client.note.remote.to_string(),
    );
    let status = Command::new("ss")
        .args(["-KtnH", "src", &local, "dst", &remote])
        .stdout(Stdio::null())
        .status()
        .context("cannot start ss")?;
    ensure!(status.success(), "ss -K: {status}");
    client
        .stream
        .set_read_timeout(Some(Duration::from_secs(1) * ground.patience))?;
    match client.read_error(ErrorKind::ConnectionAborted, "ECONNABORTED") {
        Ok(()) => {}
        // A kernel without CONFIG_INET_DIAG_DESTROY lets ss ask in vain.
        Err(_) => {
            super::super::end::part(client, server, &ground.notes)?;
            return Ok(Went::NotHere("no CONFIG_INET_DIAG_DESTROY".to_owned()));
        }
    }
    client.note.outcome = Outcome::Destroyed;
    client.close(&ground.notes)?;
    server.read_reset()?;
    server.close(&ground.notes)?;
    Ok(Went::Done)
}
