use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use super::*;
use crate::net::sockets::{
    diag::{Extensions, Family, States},
    dump::Dump,
};

/// Each field of four bytes holds its own offset.
fn numbered() -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..280_u32).step_by(4).flat_map(u32::to_ne_bytes).collect();
    bytes[0] = 1;
    bytes
}

fn wide(at: u64) -> u64 {
    let [low, high] = [at as u32, at as u32 + 4].map(u32::to_ne_bytes);
    u64::from_ne_bytes([low, high].concat().try_into().expect("eight bytes"))
}

#[test]
fn each_field_is_read_where_the_header_file_has_it() {
    let info = TcpInfo::parse(&numbered()).expect("a struct");
    assert_eq!(
        info,
        TcpInfo {
            state: State::ESTABLISHED,
            rtt_us: Some(68),
            min_rtt_us: Some(148),
            total_retransmits: 100,
            bytes_acked: Some(wide(120)),
            bytes_sent: Some(wide(200)),
            bytes_retransmitted: Some(wide(208)),
            bytes_received: Some(wide(128)),
            segments_sent: Some(136),
            segments_received: Some(140),
        }
    );
}

#[test]
fn what_a_kernel_does_not_give_is_none() {
    let bytes = numbered();
    for length in 0..SHORTEST {
        assert_eq!(TcpInfo::parse(&bytes[..length]), None, "{length}");
    }
    // As of Linux 4.18: without the bytes that were sent.
    let older = TcpInfo::parse(&bytes[..200]).expect("a struct");
    assert_eq!((older.bytes_sent, older.bytes_retransmitted), (None, None));
    assert_eq!(older.min_rtt_us, Some(148));
    let oldest = TcpInfo::parse(&bytes[..SHORTEST]).expect("a struct");
    assert_eq!((oldest.bytes_acked, oldest.min_rtt_us), (None, None));
    assert_eq!((oldest.rtt_us, oldest.total_retransmits), (Some(68), 100));
}

#[test]
fn a_round_trip_that_was_not_measured_is_none() {
    let mut bytes = numbered();
    bytes[68..72].fill(0);
    bytes[148..152].fill(0xff);
    let info = TcpInfo::parse(&bytes).expect("a struct");
    assert_eq!((info.rtt_us, info.min_rtt_us), (None, None));
}

/// The value that `ss -ti` gives of this socket for a field such as `bytes_sent`.
fn of_ss(text: &str, field: &str) -> Option<u64> {
    let words = text.split_ascii_whitespace();
    let mut values = words.filter_map(|word| word.strip_prefix(field)?.strip_prefix(':'));
    values.next()?.parse().ok()
}

fn info_of(local: SocketAddr, remote: SocketAddr) -> TcpInfo {
    let mut found = None;
    Dump::open()
        .expect("a socket")
        .each(
            Family::V4,
            States::OPEN,
            Extensions::TCP_INFO,
            Instant::now() + Duration::from_secs(20),
            &mut |socket, details| {
                let info = details.tcp_info().expect("the extension was asked for");
                assert_eq!(info.state, socket.state);
                if (socket.local, socket.remote) == (local, remote) {
                    found = Some(info);
                }
            },
        )
        .expect("a list");
    found.expect("the connection")
}

#[test]
fn a_connection_is_told_of_as_ss_tells() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket that listens");
    let mut client = TcpStream::connect(listener.local_addr().expect("an address")).expect("one");
    let (mut server, _) = listener.accept().expect("the other end");
    client.write_all(&[7; 3000]).expect("room");
    server.read_exact(&mut [0; 3000]).expect("what was sent");
    server.write_all(&[8; 200]).expect("room");
    client.read_exact(&mut [0; 200]).expect("an answer");
    // The client's last acknowledgement may wait for 40 ms.
    thread::sleep(Duration::from_millis(200));
    let ends = (
        client.local_addr().expect("an address"),
        client.peer_addr().expect("an address"),
    );
    let info = info_of(ends.0, ends.1);
    // Its SYN was acknowledged, too.
    assert_eq!(info.bytes_acked, Some(3001));
    assert_eq!(info.bytes_sent, Some(3000));
    assert_eq!(info.bytes_received, Some(200));
    assert_eq!(info.total_retransmits, 0);
    assert!(
        info.rtt_us > Some(0) && info.min_rtt_us > Some(0),
        "{info:?}"
    );
    // The same before and after: what ss says is of that very time.
    let mut info = info;
    let text = loop {
        let Ok(ss) = Command::new("ss")
            .args(["-Htin", "sport", &format!("= :{}", ends.0.port())])
            .output()
        else {
            eprintln!("not compared: there is no ss");
            return;
        };
        let after = info_of(ends.0, ends.1);
        if std::mem::replace(&mut info, after) == after {
            break String::from_utf8_lossy(&ss.stdout).into_owned();
        }
    };
    for (field, value) in [
        ("bytes_acked", info.bytes_acked),
        ("bytes_sent", info.bytes_sent),
        ("bytes_received", info.bytes_received),
        ("segs_out", info.segments_sent.map(u64::from)),
        ("segs_in", info.segments_received.map(u64::from)),
    ] {
        assert_eq!(of_ss(&text, field), value, "{field} in {text}");
    }
}
