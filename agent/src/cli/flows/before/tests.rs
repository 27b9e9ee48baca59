use super::*;
use crate::net::{flows::testing::flow, sockets::diag::Family};

fn one(number: u64, local: SocketAddr) -> Listed {
    Listed {
        socket: Socket {
            family: Family::V4,
            state: State::ESTABLISHED,
            local,
            remote: flow(1, Change::Alive).remote,
            interface: 0,
            cookie: number,
            inode: 0,
            uid: 0,
            receive_queue: 0,
            send_queue: 0,
            only_v6: false,
        },
        role: Role::CLIENT,
        netns: 1,
        info: None,
        pid: 7,
    }
}

#[test]
fn a_listed_connection_keeps_its_id_until_its_end() {
    let record = flow(99, Change::Existing);
    let mut before = Before::default();
    let shown = one(3, record.local).flow(5);
    assert!(is_bare(&shown) && !is_bare(&record));
    assert_eq!(
        (shown.tgid, shown.role, shown.established_ns),
        (7, Role::CLIENT, None)
    );
    before.remember(&shown, 42);
    assert_eq!(before.listed.len(), 1);
    let known = |is_first| Known {
        id: shown.id,
        tag: 42,
        is_first,
    };
    assert_eq!(before.meet(&record), Some(known(true)));
    assert_eq!(before.listed.len(), 0);
    assert_eq!(before.meet(&flow(99, Change::Alive)), Some(known(false)));
    assert_eq!(before.meet(&flow(99, Change::Closed)), Some(known(false)));
    assert_eq!(before.meet(&flow(99, Change::Closed)), None);
    assert!(before.known.is_empty());
}

#[test]
fn one_that_ends_without_another_record_is_met_once() {
    let mut before = Before::default();
    let shown = one(3, flow(9, Change::Closed).local).flow(5);
    before.remember(&shown, 0);
    assert!(
        before
            .meet(&flow(9, Change::Closed))
            .is_some_and(|known| known.is_first)
    );
    assert!(before.known.is_empty() && before.listed.is_empty());
}

#[test]
fn a_new_connection_with_the_ends_of_a_listed_one_is_another() {
    let mut before = Before::default();
    before.remember(&one(3, flow(9, Change::Alive).local).flow(5), 0);
    assert_eq!(before.meet(&flow(9, Change::Established)), None);
    assert_eq!(before.listed.len(), 0);
    assert_eq!(before.meet(&flow(9, Change::Closed)), None);
}

#[test]
fn what_records_told_of_before_the_list_is_not_from_before() {
    let mut before = Before {
        search: Some(thread::spawn(Vec::new)),
        ..Before::default()
    };
    let record = flow(9, Change::Established);
    assert_eq!(before.meet(&record), None);
    let other: SocketAddr = "127.0.0.1:9".parse().expect("an address");
    let left = before.listed(vec![one(1, record.local), one(2, other)]);
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].socket.local, other);
}

/// This process's own connection, as the kernel lists it.
#[test]
fn a_connection_of_this_process_is_bare_with_it() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = listener.local_addr().expect("an address");
    let client = std::net::TcpStream::connect(address).expect("a connection");
    let _server = listener.accept().expect("a connection");
    let mut before = Before::start(Duration::from_secs(10)).expect("threads");
    let deadline = Instant::now() + Duration::from_secs(20);
    let list = loop {
        let list = before.take();
        if before.search.is_none() {
            break list;
        }
        assert!(Instant::now() < deadline, "no list");
        thread::sleep(Duration::from_millis(10));
    };
    let mine = (client.local_addr().expect("an address"), address);
    for (ends, role) in [(mine, Role::CLIENT), ((mine.1, mine.0), Role::SERVER)] {
        let found = list
            .iter()
            .find(|one| (one.socket.local, one.socket.remote) == ends)
            .unwrap_or_else(|| panic!("{ends:?} is not listed"));
        assert_eq!((found.pid, found.role), (std::process::id(), role));
    }
}

#[test]
fn one_that_rests_stands_where_the_kernel_says_under_its_own_id() {
    let mut before = Before::default();
    let local = flow(9, Change::Alive).local;
    let shown = one(3, local).flow(5);
    before.remember(&shown, 42);
    let again = Listed {
        pid: 0,
        role: Role::UNKNOWN,
        ..one(3, local)
    };
    let stand = before.stand(&[again, one(4, local)], 6);
    let [(flow, 42)] = stand.as_slice() else {
        panic!("{stand:?}")
    };
    assert_eq!(
        (flow.change, flow.id, flow.tgid, flow.role, flow.at_ns),
        (Change::Alive, shown.id, 7, Role::CLIENT, 6),
        "the other socket has the same ends, and is another"
    );
}
