use std::net::SocketAddr;

use super::*;
use crate::{
    identity::{Peer, peers::Class},
    net::{Outcome, flows::testing::flow},
};

const SECOND: u64 = 1_000_000_000;
const WIDE: Size = Size {
    rows: 24,
    columns: 200,
};

fn take(table: &mut Table, flow: &Flow, sent: u64, received: u64) {
    let process = Arc::new(Process {
        pid: flow.tgid,
        start_ticks: 1,
        service: "shop".into(),
        executable: None,
        comm: "shop".into(),
        container: None,
    });
    table.take(&Seen {
        flow,
        progress: Progress {
            begins: flow.change == Change::Established,
            ends: flow.change.is_end(),
            sent,
            received,
            ..Progress::default()
        },
        process: Some(&process),
        peer: &Peer::Class(Class::Loopback),
        destination: None,
        at_unix_ns: 0,
    });
}

/// A connection of port 40,000 and so many, established after so many seconds.
fn numbered(number: u16, change: Change, at: u64) -> Flow {
    Flow {
        local: SocketAddr::from(([127, 0, 0, 1], 40_000 + number)),
        established_ns: Some(SECOND + u64::from(number)),
        at_ns: at,
        ..flow(number.into(), change)
    }
}

fn frame(table: &mut Table, size: Size, now_ns: u64) -> Vec<String> {
    table.frame(size, now_ns, "03:00:00", "nothing")
}

fn ports(lines: &[String]) -> Vec<u16> {
    let cells = lines[HEADING + 1..].iter();
    cells
        .map(|line| {
            let local = line
                .split_whitespace()
                .find(|cell| cell.contains(":40"))
                .unwrap_or_else(|| panic!("no local address in {line}"));
            local[local.len() - 5..].parse().expect("a port")
        })
        .collect()
}

#[test]
fn a_whole_frame() {
    let mut table = Table::new(SECOND, SECOND);
    take(&mut table, &numbered(1, Change::Established, SECOND), 0, 0);
    take(
        &mut table,
        &numbered(1, Change::Alive, 2 * SECOND),
        2048,
        512,
    );
    let refused = Flow {
        outcome: Some(Outcome::Refused),
        error: 111,
        established_ns: None,
        srtt_us: None,
        connect_ns: Some(2 * SECOND),
        ..numbered(2, Change::ConnectFailed, 2 * SECOND)
    };
    take(&mut table, &refused, 0, 0);
    let lines = frame(&mut table, WIDE, 3 * SECOND);
    let expected = [
        "03:00:00 UTC  open 1  new 0/s  ended 0/s  failed 0/s  sent 2.00 KiB/s  received 512 B/s  (q: quit)",
        "lost: nothing",
        "STATE  ROLE    LOCAL           REMOTE            SENT/S   RECV/S     SENT RECEIVED       RTT  RETR    AGE HOW                  PROCESS",
        "open   client  127.0.0.1:40001 127.0.0.2:80    2.00 KiB    512 B    100 B 0.98 KiB    300 µs     2     1s -                    shop[10]",
        "failed client  127.0.0.1:40002 127.0.0.2:80           -        -    100 B 0.98 KiB         -     2     0s refused ECONNREFUSED shop[10]",
    ];
    let shown: Vec<&str> = lines.iter().map(|line| line.trim_end()).collect();
    assert_eq!(shown, expected, "{}", lines.join("\n"));
}

#[test]
fn the_busiest_are_first_then_the_newest() {
    let mut table = Table::new(0, SECOND);
    for (number, moved) in [(1, 0), (2, 10), (3, 1000), (4, 0)] {
        take(
            &mut table,
            &numbered(number, Change::Alive, SECOND),
            moved,
            0,
        );
    }
    let lines = frame(&mut table, WIDE, SECOND);
    assert_eq!(ports(&lines), [40_003, 40_002, 40_004, 40_001]);
}

#[test]
fn rates_are_of_the_time_between_two_records_and_go_when_none_comes() {
    let mut table = Table::new(0, SECOND);
    take(&mut table, &numbered(1, Change::Alive, SECOND), 0, 0);
    take(&mut table, &numbered(1, Change::Alive, 3 * SECOND), 4096, 0);
    let lines = frame(&mut table, WIDE, 3 * SECOND);
    assert!(lines[0].contains("sent 2.00 KiB/s"), "{}", lines[0]);
    // A record that comes at once does not make a burst of what is a trickle.
    take(
        &mut table,
        &numbered(1, Change::Alive, 3 * SECOND + 1000),
        1024,
        0,
    );
    let lines = frame(&mut table, WIDE, 4 * SECOND);
    assert!(lines[0].contains("sent 1.00 KiB/s"), "{}", lines[0]);
    let lines = frame(&mut table, WIDE, 7 * SECOND);
    assert!(lines[0].contains("sent 0 B/s"), "{}", lines[0]);
    assert!(lines[3].starts_with("open"), "{}", lines[3]);
}

#[test]
fn what_ended_stays_for_a_few_seconds_failures_above() {
    let mut table = Table::new(0, SECOND);
    take(&mut table, &numbered(1, Change::Established, SECOND), 0, 0);
    let reset = Flow {
        outcome: Some(Outcome::Reset),
        error: 104,
        ..numbered(1, Change::Closed, 2 * SECOND)
    };
    take(&mut table, &reset, 700, 0);
    take(&mut table, &numbered(2, Change::Closed, 2 * SECOND), 0, 0);
    take(&mut table, &numbered(3, Change::Alive, 2 * SECOND), 0, 0);
    let lines = frame(&mut table, WIDE, 2 * SECOND);
    assert_eq!(ports(&lines), [40_003, 40_001, 40_002]);
    assert!(lines[4].contains("reset ECONNRESET"), "{}", lines[4]);
    assert!(
        lines[0].contains("open 1  new 0/s  ended 1/s  failed 0/s  sent 350 B/s"),
        "{}",
        lines[0]
    );
    let lines = frame(&mut table, WIDE, 7 * SECOND);
    assert_eq!(ports(&lines), [40_003]);
    assert!(lines[0].contains("ended 0/s"), "{}", lines[0]);
}

#[test]
fn a_frame_never_exceeds_the_terminal() {
    let mut table = Table::new(0, SECOND);
    for number in 0..500 {
        take(
            &mut table,
            &numbered(number, Change::Alive, SECOND),
            number.into(),
            0,
        );
        let over = Flow {
            id: ConnectionId {
                sock: 1000 + u64::from(number),
                born_ns: 1,
            },
            ..numbered(number, Change::Closed, SECOND)
        };
        take(&mut table, &over, 0, 0);
    }
    let long = Flow {
        remote: "[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:65535"
            .parse()
            .expect("an address"),
        ..numbered(999, Change::Alive, SECOND)
    };
    take(&mut table, &long, 1 << 40, 0);
    for columns in [1, 20, 60, 80, 100, 132, 200, 400] {
        for rows in [1, 2, 3, 4, 10, 50] {
            let lines = frame(&mut table, Size { rows, columns }, SECOND);
            assert_eq!(lines.len(), rows);
            for line in &lines {
                assert!(line.chars().count() <= columns, "{columns}: {line}");
            }
            if columns >= 80 && rows >= 10 {
                assert!(lines[3].contains("[2001:db8"), "{}", lines[3]);
                // How many are over is never all that there is.
                let open = lines.iter().filter(|line| line.starts_with("open")).count();
                let closed = lines
                    .iter()
                    .filter(|line| line.starts_with("closed"))
                    .count();
                assert_eq!(closed, (rows - 3) / 3);
                assert_eq!(open + closed, rows - 3);
            }
        }
    }
}

#[test]
fn eighty_columns_keep_what_matters_most() {
    let mut table = Table::new(0, SECOND);
    take(&mut table, &numbered(1, Change::Alive, SECOND), 0, 0);
    let size = Size {
        rows: 24,
        columns: 80,
    };
    let header = frame(&mut table, size, SECOND)[HEADING].clone();
    for title in ["STATE", "REMOTE", "SENT/S", "RECV/S", "HOW", "PROCESS"] {
        assert!(header.contains(title), "{title} is not in {header}");
    }
}

#[test]
fn names_of_other_ends_are_shown_where_there_is_room() {
    let mut table = Table::new(0, SECOND);
    table.take(&Seen {
        flow: &numbered(1, Change::Alive, SECOND),
        progress: Progress::default(),
        process: None,
        peer: &Peer::Service("orders".into()),
        destination: Some("10.244.1.7:8443".parse().expect("an address")),
        at_unix_ns: 0,
    });
    for (columns, expected) in [
        (200, "127.0.0.2:80 > 10.244.1.7:8443 orders"),
        (64, "orders:80"),
    ] {
        let lines = frame(&mut table, Size { rows: 9, columns }, SECOND);
        assert!(lines[3].contains(expected), "{}", lines.join("\n"));
        assert!(lines[2].contains("RECV/S"), "{}", lines[2]);
    }
}

#[test]
fn memory_is_bounded_and_what_has_no_row_is_counted() {
    let mut table = Table::new(0, SECOND);
    let count = ROWS as u64 + 10;
    let one = |number: u64, change| Flow {
        id: ConnectionId {
            sock: number,
            born_ns: 1,
        },
        ..flow(1, change)
    };
    for number in 0..count {
        take(&mut table, &one(number, Change::Established), 0, 0);
    }
    assert_eq!(table.rows.len(), ROWS);
    let lines = frame(&mut table, WIDE, SECOND);
    assert!(
        lines[0].contains(&format!("open {count}  new {count}/s")),
        "{}",
        lines[0]
    );
    for number in (0..count).rev() {
        take(&mut table, &one(number, Change::Closed), 0, 0);
    }
    assert_eq!((table.rows.len(), table.beyond), (0, 0));
    assert_eq!(table.in_order.len(), OVER);
}

#[test]
fn a_connection_that_is_not_wanted_any_more_goes() {
    let mut table = Table::new(0, SECOND);
    let open = numbered(1, Change::Alive, SECOND);
    take(&mut table, &open, 0, 0);
    table.forget(open.id);
    assert_eq!(frame(&mut table, WIDE, SECOND).len(), HEADING + 1);
}

#[test]
fn of_a_lost_end_no_count_is_shown() {
    let mut table = Table::new(0, SECOND);
    take(&mut table, &numbered(1, Change::Lost, SECOND), 0, 0);
    let lines = frame(&mut table, WIDE, SECOND);
    let cells: Vec<&str> = lines[3].split_whitespace().collect();
    // Both rates, sent, received; behind the round-trip time and its unit, retransmits.
    assert_eq!(cells[4..8], ["-"; 4], "{}", lines[3]);
    assert_eq!(cells[10], "-", "{}", lines[3]);
}
