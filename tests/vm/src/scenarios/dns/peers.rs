//! A DNS server that notes what it was asked and what it answered, and clients that ask it in the ways that resolvers do: glibc's getaddrinfo, a socket that is
//! connected, one that is not, and one that sends again. All in one process, in a network of its own.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::scenarios::isolated;

/// The server.
const SERVER: &str = "127.0.0.1:53";

/// How glibc looks names up here: each question is sent once, and waited for as long as the other clients wait. All that glibc asks is answered.
const RESOLV_CONF: &str = "nameserver 127.0.0.1\noptions attempts:1 timeout:20\n";

/// After what time a slow answer comes.
pub const DELAY: Duration = Duration::from_millis(60);

/// After what time a client sends again.
pub const AGAIN: Duration = Duration::from_millis(300);

/// The name of an address that a connection goes to, and that address.
pub const UNHEARD_NAME: &str = "slow.fathom.test";
/// See [`UNHEARD_NAME`].
pub const UNHEARD: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 79)), 9998);

/// Bytes that go to an address whose name is known.
pub const PAYLOAD: usize = 100;

const A: u16 = 1;
const AAAA: u16 = 28;

/// What was asked under one name and type.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// The name.
    pub name: String,
    /// The type.
    pub kind: u16,
    /// The response code; none for what was not answered.
    pub code: Option<u8>,
    /// Questions, each once.
    pub lookups: u64,
    /// Questions that came again.
    pub again: u64,
    /// From the first time that each question came to its answer, all together.
    pub seconds: f64,
}

/// What the server does with a question.
#[derive(Clone, Copy)]
struct Plan {
    code: u8,
    delay: Duration,
    /// How many times a question has to come.
    times: u64,
    address: u8,
    by_alias: bool,
}

fn plan(name: &str) -> Option<Plan> {
    let plan = Plan {
        code: 0,
        delay: Duration::ZERO,
        times: 1,
        address: 0,
        by_alias: false,
    };
    Some(match name.split('.').next()? {
        "www" => Plan {
            address: 77,
            ..plan
        },
        "alias" => Plan {
            address: 78,
            by_alias: true,
            ..plan
        },
        "slow" => Plan {
            delay: DELAY,
            address: 79,
            ..plan
        },
        "again" => Plan {
            times: 2,
            address: 80,
            ..plan
        },
        "nx" => Plan { code: 3, ..plan },
        "fail" => Plan { code: 2, ..plan },
        "refused" => Plan { code: 5, ..plan },
        // Not answered.
        _ => return None,
    })
}

/// Runs the server and the clients, `rounds` times each, and notes what was asked. Says a line when all questions are over, and waits for the end of
/// standard input, so that it is there to be looked at.
pub fn run(notes: &Path, rounds: u64) -> Result<()> {
    // Before /etc and the network are others.
    let file = fs::File::create(notes)?;
    isolated::enter(RESOLV_CONF)?;
    let log = Arc::new(Mutex::new(BTreeMap::new()));
    let server = Arc::new(UdpSocket::bind(SERVER)?);
    let answering = Arc::clone(&log);
    thread::spawn(move || serve(&server, &answering));
    let sinks =
        [77, 78].map(|address| UdpSocket::bind(SocketAddr::from(([127, 0, 0, address], 9999))));
    for round in 0..rounds {
        let id = u16::try_from(round)?;
        ask_glibc()?;
        ask_connected(id)?;
        ask_unconnected(id)?;
        ask_again(id)?;
    }
    for sink in sinks {
        let address = sink?.local_addr()?;
        UdpSocket::bind("127.0.0.1:0")?.send_to(&[0; PAYLOAD], address)?;
    }
    // Nobody listens there.
    let refused = TcpStream::connect(UNHEARD).map(drop);
    ensure!(refused.is_err(), "something listens on {UNHEARD}");
    let log = log.lock().unwrap_or_else(PoisonError::into_inner);
    serde_json::to_writer(file, &summary(&log))?;
    println!("asked");
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// glibc asks for A and AAAA with one sendmmsg on a socket that is connected.
fn ask_glibc() -> Result<()> {
    for (name, address) in [
        ("www", Some(77)),
        ("alias", Some(78)),
        ("slow", Some(79)),
        ("nx", None),
        ("fail", None),
    ] {
        let found = (format!("{name}.fathom.test"), 80).to_socket_addrs();
        let found: Vec<SocketAddr> = found.map(Iterator::collect).unwrap_or_default();
        let expected: Vec<SocketAddr> = address
            .map(|address| SocketAddr::from(([127, 0, 0, address], 80)))
            .into_iter()
            .collect();
        ensure!(found == expected, "glibc found {found:?} for {name}");
    }
    Ok(())
}

fn ask_connected(id: u16) -> Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(SERVER)?;
    socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    for name in ["www", "refused"] {
        socket.send(&query(id, &format!("{name}.fathom.test"), A))?;
        let got = socket.recv(&mut [0; 512]).context("no answer")?;
        ensure!(got > 12, "an answer of {got} bytes");
    }
    // Nobody answers, and nobody waits.
    socket.send(&query(id, "drop.fathom.test", A))?;
    Ok(())
}

/// As musl does: two questions from a socket that is not connected, and the answers in whatever order.
fn ask_unconnected(id: u16) -> Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    socket.send_to(&query(id, "slow.fathom.test", A), SERVER)?;
    socket.send_to(&query(id ^ 0x8000, "www.fathom.test", AAAA), SERVER)?;
    for _ in 0..2 {
        socket.recv_from(&mut [0; 512]).context("no answer")?;
    }
    Ok(())
}

/// The first question is not answered, the same one again is.
fn ask_again(id: u16) -> Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    let query = query(id, "again.fathom.test", A);
    socket.send_to(&query, SERVER)?;
    thread::sleep(AGAIN);
    socket.send_to(&query, SERVER)?;
    socket.recv_from(&mut [0; 512]).context("no answer")?;
    Ok(())
}

/// What makes a question: who asks, under which number, for what.
type Question = (SocketAddr, u16, String, u16);

struct Entry {
    first: Instant,
    times: u64,
    answered: Option<Duration>,
}

type Log = Arc<Mutex<BTreeMap<Question, Vec<Entry>>>>;

fn serve(server: &Arc<UdpSocket>, log: &Log) {
    let mut buffer = [0; 512];
    while let Ok((length, client)) = server.recv_from(&mut buffer) {
        let query = buffer[..length].to_vec();
        let Some((name, kind, end)) = question(&query) else {
            eprintln!("dns-peers: not a query: {query:?}");
            continue;
        };
        let id = u16::from_be_bytes([query[0], query[1]]);
        let plan = plan(&name);
        let key = (client, id, name, kind);
        let now = Instant::now();
        let times = {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            let entries = log.entry(key.clone()).or_default();
            // A port is given again: what was answered is over.
            if entries.last().is_none_or(|entry| entry.answered.is_some()) {
                entries.push(Entry {
                    first: now,
                    times: 0,
                    answered: None,
                });
            }
            entries.last_mut().map_or(0, |entry| {
                entry.times += 1;
                entry.times
            })
        };
        let Some(plan) = plan.filter(|plan| plan.times == times) else {
            continue;
        };
        let (server, log) = (Arc::clone(server), Arc::clone(log));
        thread::spawn(move || {
            thread::sleep(plan.delay);
            // Noted first: the client goes on as soon as it has the answer.
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(entry) = log.get_mut(&key).and_then(|entries| entries.last_mut()) {
                entry.answered = Some(entry.first.elapsed());
            }
            if let Err(error) = server.send_to(&answer(&query[..end], kind, plan), client) {
                eprintln!("dns-peers: {error}");
            }
        });
    }
}

fn summary(log: &BTreeMap<Question, Vec<Entry>>) -> Vec<Asked> {
    let mut all: BTreeMap<(&str, u16), Asked> = BTreeMap::new();
    for ((_, _, name, kind), entries) in log {
        let asked = all.entry((name, *kind)).or_insert_with(|| Asked {
            name: name.clone(),
            kind: *kind,
            code: plan(name).map(|plan| plan.code),
            ..Asked::default()
        });
        for entry in entries {
            asked.lookups += 1;
            asked.again += entry.times - 1;
            asked.seconds += entry.answered.unwrap_or_default().as_secs_f64();
        }
    }
    all.into_values().collect()
}

fn encode(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(label.len().try_into().unwrap_or(0));
        bytes.extend(label.bytes());
    }
    bytes.push(0);
    bytes
}

fn query(id: u16, name: &str, kind: u16) -> Vec<u8> {
    [
        &id.to_be_bytes()[..],
        &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0],
        &encode(name),
        &kind.to_be_bytes(),
        &[0, 1],
    ]
    .concat()
}

/// The name and the type of a query, and where its question ends.
fn question(query: &[u8]) -> Option<(String, u16, usize)> {
    let mut labels = Vec::new();
    let mut at = 12;
    loop {
        let length = usize::from(*query.get(at)?);
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8(query.get(at + 1..at + 1 + length)?.to_vec()).ok()?);
        at += 1 + length;
    }
    let kind = u16::from_be_bytes([*query.get(at + 1)?, *query.get(at + 2)?]);
    Some((labels.join("."), kind, at + 5))
}

/// The answer to a query, of which the header and the question are here: an address for A, nothing for other types.
fn answer(query: &[u8], kind: u16, plan: Plan) -> Vec<u8> {
    let has_address = plan.code == 0 && kind == A;
    let records = u8::from(has_address) + u8::from(has_address && plan.by_alias);
    let mut bytes = query.to_vec();
    bytes[2..12].copy_from_slice(&[0x81, 0x80 | plan.code, 0, 1, 0, records, 0, 0, 0, 0]);
    if !has_address {
        return bytes;
    }
    let ttl = [0, 0, 0, 60];
    let target = encode("edge.elsewhere.test");
    let owner = if plan.by_alias {
        bytes.extend([0xc0, 12, 0, 5, 0, 1]);
        bytes.extend(ttl);
        bytes.extend([0, target.len().try_into().unwrap_or(0)]);
        bytes.extend(&target);
        target
    } else {
        vec![0xc0, 12]
    };
    bytes.extend(owner);
    bytes.extend([0, 1, 0, 1]);
    bytes.extend(ttl);
    bytes.extend([0, 4, 127, 0, 0, plan.address]);
    bytes
}
