//! Two programs with many connections between them. Each does what a header asks for, counts what it reads and writes, and notes it down when a connection is over.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::{
    net::connect,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

use super::{
    end::{End, REFUSED, bound, listener, listener_v6},
    note::{Note, Notes, Outcome, Role},
};

/// How many short connections a client has open at a time.
const AT_A_TIME: usize = 8;

/// The stack of a server's thread: a thousand are there at a time.
const STACK: usize = 128 << 10;

/// How a connection ends. The end that closes or resets has all the data by then, so that each byte that was written was
/// also read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    ClientCloses,
    ServerCloses,
    ClientResets,
    ServerResets,
}

impl Ending {
    const ALL: [Self; 4] = [
        Self::ClientCloses,
        Self::ServerCloses,
        Self::ClientResets,
        Self::ServerResets,
    ];
}

/// What a client asks for at the start of a connection.
#[derive(Clone, Copy, Debug)]
struct Header {
    request: u64,
    response: u64,
    ending: Ending,
    long: bool,
}

const HEADER: u64 = 18;

impl Header {
    fn to_bytes(self) -> [u8; HEADER as usize] {
        let mut bytes = [0; HEADER as usize];
        bytes[..8].copy_from_slice(&self.request.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.response.to_be_bytes());
        bytes[16] = self.ending as u8;
        bytes[17] = self.long.into();
        bytes
    }

    fn from_bytes(bytes: [u8; HEADER as usize]) -> Result<Self> {
        let number =
            |at: usize| -> Result<u64> { Ok(u64::from_be_bytes(bytes[at..at + 8].try_into()?)) };
        Ok(Self {
            request: number(0)?,
            response: number(8)?,
            ending: *Ending::ALL
                .get(usize::from(bytes[16]))
                .with_context(|| format!("no ending {}", bytes[16]))?,
            long: bytes[17] != 0,
        })
    }

    fn case(self) -> &'static str {
        if self.long { "long" } else { "short" }
    }
}

/// Serves on 127.0.0.1 and ::1 until standard input ends; then waits for the open connections. Says its ports first, and
/// then a port on which nobody listens.
pub fn server(notes: &Path, alive: usize) -> Result<()> {
    raise_limit()?;
    let notes = Notes::create(notes)?;
    let listeners = [listener()?, listener_v6()?];
    // Held, or a client may be given that port, and reach itself; not listened on.
    let (_held, closed) = bound(SocketAddr::from((Ipv6Addr::LOCALHOST, 0)))?;
    let (_held_v4, _) = bound(SocketAddr::from((Ipv4Addr::LOCALHOST, closed.port())))?;
    let ports: Vec<u16> = listeners
        .iter()
        .map(|listener| Ok(listener.local_addr()?.port()))
        .collect::<Result<_>>()?;
    println!("{} {} {}", ports[0], ports[1], closed.port());
    let open = Arc::new(());
    for listener in listeners {
        let (notes, open) = (notes.clone(), Arc::clone(&open));
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let (notes, open) = (notes.clone(), Arc::clone(&open));
                let serves = move || {
                    let served = End::of("short", Role::Server, stream)
                        .and_then(|end| serve(end, alive, &notes));
                    if let Err(error) = served {
                        eprintln!("flow-server: {error:#}");
                    }
                    drop(open);
                };
                if let Err(error) = thread::Builder::new().stack_size(STACK).spawn(serves) {
                    eprintln!("flow-server: {error}");
                }
            }
        });
    }
    io::stdin().read_to_end(&mut Vec::new())?;
    // This thread's and the two listeners' are left when no connection is open.
    while Arc::strong_count(&open) > 3 {
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn serve(mut end: End, alive: usize, notes: &Notes) -> Result<()> {
    let mut header = [0; HEADER as usize];
    end.stream.read_exact(&mut header)?;
    end.note.received += HEADER;
    let header = Header::from_bytes(header)?;
    header.case().clone_into(&mut end.note.case);
    end.note.alive = if header.long { alive } else { 0 };
    end.read(header.request)?;
    end.write(header.response)?;
    match header.ending {
        Ending::ClientCloses => end.read_end()?,
        Ending::ServerCloses => {
            end.read(1)?;
            end.shut()?;
            end.read_end()?;
        }
        Ending::ClientResets => end.read_reset()?,
        Ending::ServerResets => {
            end.read(1)?;
            return end.abort(notes);
        }
    }
    end.close(notes)
}

/// Makes `count` connections to the first two ports, over IPv4 and IPv6 in turn, and to the third, where it is refused.
pub fn client(notes: &Path, count: u64, ports: [u16; 3]) -> Result<()> {
    let notes = Notes::create(notes)?;
    let numbers = Mutex::new(0..count);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_A_TIME)
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    loop {
                        let next = numbers
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .next();
                        let Some(number) = next else { return Ok(()) };
                        short(number, ports, &notes)
                            .with_context(|| format!("connection {number}"))?;
                    }
                })
            })
            .collect();
        for worker in workers {
            match worker.join() {
                Ok(ended) => ended?,
                Err(_) => bail!("a worker panicked"),
            }
        }
        Ok(())
    })
}

/// Where a connection of this number goes.
fn target(number: u64, [v4, v6, _]: [u16; 3]) -> SocketAddr {
    if number.is_multiple_of(2) {
        (Ipv4Addr::LOCALHOST, v4).into()
    } else {
        (Ipv6Addr::LOCALHOST, v6).into()
    }
}

/// One connection; its number says its kind and its sizes.
fn short(number: u64, ports: [u16; 3], notes: &Notes) -> Result<()> {
    let address = target(number, ports);
    let ending = match number / 2 % 10 {
        0..=3 => Ending::ClientCloses,
        4..=6 => Ending::ServerCloses,
        7 => Ending::ClientResets,
        8 => Ending::ServerResets,
        _ => return refused("refused", address.ip(), ports[2], notes),
    };
    let header = Header {
        request: number * 7919 % 10_007,
        // Some are larger than any socket buffer.
        response: if number.is_multiple_of(250) {
            3_000_000 + number
        } else {
            number * 104_729 % 100_003
        },
        ending,
        long: false,
    };
    let mut end = End::connect("short", address)?;
    greet(&mut end, header)?;
    end.write(header.request)?;
    end.read(header.response)?;
    finish(end, header.ending, notes)
}

fn greet(end: &mut End, header: Header) -> Result<()> {
    end.stream.write_all(&header.to_bytes())?;
    end.note.sent += HEADER;
    Ok(())
}

fn finish(mut end: End, ending: Ending, notes: &Notes) -> Result<()> {
    match ending {
        Ending::ClientCloses => {
            end.shut()?;
            end.read_end()?;
        }
        Ending::ServerCloses => {
            end.write(1)?;
            end.read_end()?;
        }
        Ending::ClientResets => return end.abort(notes),
        Ending::ServerResets => {
            end.write(1)?;
            end.read_reset()?;
        }
    }
    end.close(notes)
}

/// Opens `count` connections and keeps them open for `rounds` times `pause`; in each round a little is sent on each of them.
pub fn long_client(
    notes: &Path,
    count: u64,
    rounds: u64,
    pause: Duration,
    alive: usize,
    ports: [u16; 3],
) -> Result<()> {
    raise_limit()?;
    let notes = Notes::create(notes)?;
    let header = |number: u64| Header {
        request: rounds * (number % 500 + 1),
        response: number * 7919 % 10_007,
        ending: Ending::ALL[usize::try_from(number % 4).unwrap_or(0)],
        long: true,
    };
    let mut ends = (0..count)
        .map(|number| {
            let mut end = End::connect("long", target(number / 4, ports))?;
            end.note.alive = alive;
            greet(&mut end, header(number))?;
            Ok(end)
        })
        .collect::<Result<Vec<_>>>()?;
    for _ in 0..rounds {
        thread::sleep(pause);
        for (number, end) in (0..).zip(&mut ends) {
            end.write(number % 500 + 1)?;
        }
    }
    for (number, mut end) in (0..).zip(ends) {
        let header = header(number);
        end.read(header.response)?;
        finish(end, header.ending, &notes)?;
    }
    Ok(())
}

/// A connection to a port on which nobody listens, from a port that is known because it was bound before.
pub fn refused(case: &str, ip: IpAddr, port: u16, notes: &Notes) -> Result<()> {
    let remote = SocketAddr::new(ip, port);
    let (socket, local) = bound(SocketAddr::new(ip, 0))?;
    let ended = connect(&socket, &remote);
    ensure!(
        ended == Err(rustix::io::Errno::CONNREFUSED),
        "{remote} answered: {ended:?}"
    );
    notes.write(&Note::failed(
        case,
        local,
        remote,
        Outcome::Refused,
        Some(REFUSED),
    )?)
}

/// A thousand connections are more than many systems let a process have open unless it asks.
pub fn raise_limit() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    )
    .context("cannot raise the limit on open files")
}
