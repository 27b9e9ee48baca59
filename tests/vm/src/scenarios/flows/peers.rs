//! The two programs at the ends of the connections. Each does what a header asks for, counts what it reads and writes, and
//! notes it down when a connection is over.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};
use serde::{Deserialize, Serialize};

const REFUSED: &str = "ECONNREFUSED";
const RESET: &str = "ECONNRESET";

/// How many connections a client has open at a time.
const AT_A_TIME: usize = 8;

/// One end of one connection, as the program at that end saw it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Note {
    /// `client` or `server`.
    pub role: String,
    /// This end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// Bytes that were written.
    pub sent: u64,
    /// Bytes that were read.
    pub received: u64,
    /// The error that it ended with, by its name.
    pub error: Option<String>,
}

impl Note {
    /// It never came to be a connection.
    pub fn is_refused(&self) -> bool {
        self.error.as_deref() == Some(REFUSED)
    }
}

/// How a connection ends. The end that closes or resets has all the data by then, so that each byte that was written was
/// also read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    ClientCloses,
    ServerCloses,
    ClientResets,
    ServerResets,
}

/// What a client asks for at the start of a connection.
#[derive(Clone, Copy, Debug)]
struct Header {
    request: u64,
    response: u64,
    ending: Ending,
}

const HEADER: usize = 17;

impl Header {
    fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(&self.request.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.response.to_be_bytes());
        bytes[16] = self.ending as u8;
        bytes
    }

    fn from_bytes(bytes: [u8; HEADER]) -> Result<Self> {
        let number =
            |at: usize| -> Result<u64> { Ok(u64::from_be_bytes(bytes[at..at + 8].try_into()?)) };
        let ending = match bytes[16] {
            0 => Ending::ClientCloses,
            1 => Ending::ServerCloses,
            2 => Ending::ClientResets,
            3 => Ending::ServerResets,
            other => bail!("no ending {other}"),
        };
        Ok(Self {
            request: number(0)?,
            response: number(8)?,
            ending,
        })
    }
}

/// Serves on 127.0.0.1 and ::1 until standard input ends; then waits for the open connections. Says its ports first, and
/// then a port on which nobody listens.
pub fn server(notes: &Path) -> Result<()> {
    let notes = Notes::create(notes)?;
    let listeners = [
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?,
        TcpListener::bind((Ipv6Addr::LOCALHOST, 0))?,
    ];
    // Held, or a client may be given that port, and reach itself; not listened on.
    let (_held, closed) = bound(SocketAddr::from((Ipv6Addr::LOCALHOST, 0)))?;
    let (_held_v4, _) = bound(SocketAddr::from((Ipv4Addr::LOCALHOST, closed.port())))?;
    let closed = closed.port();
    let ports: Vec<u16> = listeners
        .iter()
        .map(|listener| Ok(listener.local_addr()?.port()))
        .collect::<Result<_>>()?;
    println!("{} {} {closed}", ports[0], ports[1]);
    let open = Arc::new(());
    for listener in listeners {
        let (notes, open) = (notes.clone(), Arc::clone(&open));
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let (notes, open) = (notes.clone(), Arc::clone(&open));
                thread::spawn(move || {
                    if let Err(error) = serve(stream, &notes) {
                        eprintln!("flow-server: {error:#}");
                    }
                    drop(open);
                });
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

fn serve(mut stream: TcpStream, notes: &Notes) -> Result<()> {
    let (local, remote) = (stream.local_addr()?, stream.peer_addr()?);
    let mut header = [0; HEADER];
    stream.read_exact(&mut header)?;
    let header = Header::from_bytes(header)?;
    let mut received = HEADER as u64 + read(&mut stream, header.request)?;
    write(&mut stream, header.response)?;
    match header.ending {
        Ending::ClientCloses => ensure!(stream.read(&mut [0])? == 0, "no end of the request"),
        Ending::ServerCloses => {
            received += read(&mut stream, 1)?;
            stream.shutdown(Shutdown::Write)?;
            ensure!(stream.read(&mut [0])? == 0, "no end of the request");
        }
        Ending::ClientResets => expect_reset(&mut stream)?,
        Ending::ServerResets => {
            received += read(&mut stream, 1)?;
            reset_on_close(&stream)?;
        }
    }
    drop(stream);
    notes.write(&Note {
        role: "server".to_owned(),
        local,
        remote,
        sent: header.response,
        received,
        error: (header.ending == Ending::ClientResets).then(|| RESET.to_owned()),
    })
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
                        connection(number, ports, &notes)
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

/// One connection; its number says its kind and its sizes.
fn connection(number: u64, [v4, v6, closed]: [u16; 3], notes: &Notes) -> Result<()> {
    let (ip, port): (std::net::IpAddr, _) = if number.is_multiple_of(2) {
        (Ipv4Addr::LOCALHOST.into(), v4)
    } else {
        (Ipv6Addr::LOCALHOST.into(), v6)
    };
    let ending = match number / 2 % 10 {
        0..=3 => Ending::ClientCloses,
        4..=6 => Ending::ServerCloses,
        7 => Ending::ClientResets,
        8 => Ending::ServerResets,
        _ => return refused(SocketAddr::new(ip, closed), notes),
    };
    let header = Header {
        request: number * 7919 % 10_007,
        // Some are larger than any socket buffer.
        response: if number.is_multiple_of(50) {
            3_000_000 + number
        } else {
            number * 104_729 % 100_003
        },
        ending,
    };
    let mut stream = TcpStream::connect((ip, port))?;
    let (local, remote) = (stream.local_addr()?, stream.peer_addr()?);
    stream.write_all(&header.to_bytes())?;
    let mut sent = HEADER as u64 + write(&mut stream, header.request)?;
    read(&mut stream, header.response)?;
    match header.ending {
        Ending::ClientCloses => {
            stream.shutdown(Shutdown::Write)?;
            ensure!(stream.read(&mut [0])? == 0, "no end of the answer");
        }
        Ending::ServerCloses => {
            sent += write(&mut stream, 1)?;
            ensure!(stream.read(&mut [0])? == 0, "no end of the answer");
        }
        Ending::ClientResets => reset_on_close(&stream)?,
        Ending::ServerResets => {
            sent += write(&mut stream, 1)?;
            expect_reset(&mut stream)?;
        }
    }
    drop(stream);
    notes.write(&Note {
        role: "client".to_owned(),
        local,
        remote,
        sent,
        received: header.response,
        error: (header.ending == Ending::ServerResets).then(|| RESET.to_owned()),
    })
}

/// A connection to a port on which nobody listens, from a port that is known because it was bound before.
fn refused(remote: SocketAddr, notes: &Notes) -> Result<()> {
    let (socket, local) = bound(SocketAddr::new(remote.ip(), 0))?;
    let ended = connect(&socket, &remote);
    ensure!(
        ended == Err(rustix::io::Errno::CONNREFUSED),
        "{remote} answered: {ended:?}"
    );
    notes.write(&Note {
        role: "client".to_owned(),
        local,
        remote,
        sent: 0,
        received: 0,
        error: Some(REFUSED.to_owned()),
    })
}

/// A socket that has this address (with port 0, at any port) and nothing else.
fn bound(address: SocketAddr) -> Result<(OwnedFd, SocketAddr)> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &address)?;
    let local = SocketAddr::try_from(rustix::net::getsockname(&socket)?)?;
    Ok((socket, local))
}

fn read(stream: &mut TcpStream, bytes: u64) -> Result<u64> {
    let got = io::copy(&mut stream.take(bytes), &mut io::sink())?;
    ensure!(got == bytes, "{got} of {bytes} bytes came");
    Ok(bytes)
}

fn write(stream: &mut TcpStream, bytes: u64) -> Result<u64> {
    io::copy(&mut io::repeat(b'.').take(bytes), stream)?;
    Ok(bytes)
}

fn reset_on_close(stream: &TcpStream) -> Result<()> {
    sockopt::set_socket_linger(stream, Some(Duration::ZERO)).context("cannot set SO_LINGER")
}

fn expect_reset(stream: &mut TcpStream) -> Result<()> {
    match stream.read(&mut [0]) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
        other => bail!("no reset came: {other:?}"),
    }
}

/// The file of notes, which all connections of a program share.
#[derive(Clone)]
struct Notes(Arc<Mutex<File>>);

impl Notes {
    fn create(path: &Path) -> Result<Self> {
        let file =
            File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(Arc::new(Mutex::new(file))))
    }

    fn write(&self, note: &Note) -> Result<()> {
        let mut line = serde_json::to_vec(note)?;
        line.push(b'\n');
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&line).context("cannot write a note")
    }
}
