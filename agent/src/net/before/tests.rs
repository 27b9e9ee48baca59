use std::net::SocketAddr;

use super::*;
use crate::net::{existing::Search, flows::testing::flow, sockets::diag::Family};

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
    before.remember(&shown);
    assert_eq!(before.resting.len(), 1);
    let mut told = |change| {
        let mut record = flow(99, change);
        before.resume(&mut record);
        (record.id, record.change, before.ids().count())
    };
    assert_eq!(told(Change::Existing), (shown.id, Change::Alive, 1));
    assert_eq!(told(Change::Alive), (shown.id, Change::Alive, 1));
    assert_eq!(told(Change::Closed), (shown.id, Change::Closed, 0));
    assert_eq!(
        told(Change::Closed),
        (record.id, Change::Closed, 0),
        "it has ended"
    );
    assert!(before.resting.is_empty());
}

#[test]
fn one_that_ends_without_another_record_goes_on_with_its_end() {
    let mut before = Before::default();
    let mut record = flow(9, Change::Closed);
    let shown = one(3, record.local).flow(5);
    before.remember(&shown);
    before.resume(&mut record);
    assert_eq!((record.id, record.change), (shown.id, Change::Closed));
    assert!(before.known.is_empty() && before.resting.is_empty());
}

#[test]
fn a_new_connection_with_the_ends_of_a_listed_one_is_another() {
    let mut before = Before::default();
    before.remember(&one(3, flow(9, Change::Alive).local).flow(5));
    for change in [Change::Established, Change::Closed] {
        let mut record = flow(9, change);
        before.resume(&mut record);
        assert_eq!(record, flow(9, change));
        assert!(before.resting.is_empty());
    }
}

#[test]
fn what_records_told_of_before_the_list_is_not_from_before() {
    let mut before = Before {
        walk: Some(thread::spawn(Vec::new)),
        ..Before::default()
    };
    let mut record = flow(9, Change::Established);
    before.resume(&mut record);
    assert_eq!(record, flow(9, Change::Established));
    let other: SocketAddr = "127.0.0.1:9".parse().expect("an address");
    let left = before.unmet(vec![one(1, record.local), one(2, other)]);
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
    let search = Search::start(Duration::from_secs(10)).expect("a thread");
    let (_, listed) = search.finish();
    let mut before = Before::start(listed).expect("a thread");
    let deadline = Instant::now() + Duration::from_secs(20);
    let list = loop {
        let list = before.take();
        if before.walk.is_none() {
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
    before.remember(&shown);
    let again = Listed {
        pid: 0,
        role: Role::UNKNOWN,
        ..one(3, local)
    };
    let stand = before.stand(&[again, one(4, local)], 6);
    let [flow] = stand.as_slice() else {
        panic!("{stand:?}")
    };
    assert_eq!(
        (flow.change, flow.id, flow.tgid, flow.role, flow.at_ns),
        (Change::Alive, shown.id, 7, Role::CLIENT, 6),
        "the other socket has the same ends, and is another"
    );
}

/// The same two ends, elsewhere.
fn elsewhere(number: u64, change: Change) -> Flow {
    Flow {
        netns: 2,
        ..flow(number, change)
    }
}

#[test]
fn the_same_ends_in_another_namespace_are_another_connection() {
    let mut before = Before::default();
    let shown = one(3, flow(9, Change::Alive).local).flow(5);
    before.remember(&shown);
    for change in [Change::Established, Change::Alive, Change::Closed] {
        let mut other = elsewhere(8, change);
        before.resume(&mut other);
        assert_eq!(other, elsewhere(8, change));
    }
    // Of a lost end nobody can say in which namespace it was.
    let lost = Flow {
        netns: 0,
        ..flow(8, Change::Lost)
    };
    let mut record = lost;
    before.resume(&mut record);
    assert_eq!(record, lost);
    let mut end = flow(9, Change::Closed);
    before.resume(&mut end);
    assert_eq!(end.id, shown.id);
}

#[test]
fn what_records_told_of_elsewhere_leaves_the_list_as_it_is() {
    let mut before = Before {
        walk: Some(thread::spawn(Vec::new)),
        ..Before::default()
    };
    let mut record = elsewhere(9, Change::Established);
    before.resume(&mut record);
    let listed = one(1, record.local);
    assert_eq!(before.unmet(vec![listed]).len(), 1);
}

#[test]
fn one_whose_end_is_lost_after_a_record_goes_on_without_its_namespace() {
    let mut before = Before::default();
    let shown = one(3, flow(9, Change::Alive).local).flow(5);
    before.remember(&shown);
    before.resume(&mut flow(9, Change::Existing));
    let mut lost = Flow {
        netns: 0,
        ..flow(9, Change::Lost)
    };
    before.resume(&mut lost);
    assert_eq!((lost.id, before.known.len()), (shown.id, 0));
}

#[test]
fn a_record_without_a_process_has_the_one_that_was_listed() {
    let nobody_s = |change| Flow {
        tgid: 0,
        owner: Owner::UNKNOWN,
        role: Role::UNKNOWN,
        ..flow(9, change)
    };
    for changes in [
        &[Change::Closed][..],
        &[Change::Existing, Change::Alive, Change::Closed],
    ] {
        let mut before = Before::default();
        before.remember(&one(3, flow(9, Change::Alive).local).flow(5));
        for &change in changes {
            let mut record = nobody_s(change);
            before.resume(&mut record);
            assert_eq!(
                (record.tgid, record.owner, record.role),
                (7, Owner::USER, Role::CLIENT),
                "{change:?}"
            );
        }
    }
    let mut before = Before::default();
    before.remember(&one(3, flow(9, Change::Alive).local).flow(5));
    let mut record = flow(9, Change::Closed);
    before.resume(&mut record);
    assert_eq!(record.tgid, 10, "what the record says goes before the list");
}

#[test]
fn of_those_that_rest_the_ones_are_gone_that_are_not_found_again() {
    let mut before = Before::default();
    let local = flow(9, Change::Alive).local;
    let other = SocketAddr::new(local.ip(), local.port() + 1);
    let (stays, ends) = (one(3, local), one(4, other));
    for listed in [stays, ends] {
        before.remember(&listed.flow(5));
    }
    // Another socket has its ends by now.
    let found = [stays, one(5, other)];
    let gone = before.missing_in(&found);
    assert_eq!(gone, [ends.flow(5).id]);
    before.forget(&gone);
    assert_eq!(
        (before.resting.len(), before.missing_in(&found)),
        (1, vec![])
    );
}

#[test]
fn one_that_goes_to_rest_is_met_again_by_its_ends() {
    let mut before = Before::default();
    let shown = one(3, flow(9, Change::Alive).local).flow(5);
    before.remember(&shown);
    before.resume(&mut flow(9, Change::Existing));
    let mut rests = flow(9, Change::Resting);
    before.resume(&mut rests);
    assert_eq!((rests.id, rests.change), (shown.id, Change::Alive));
    assert_eq!(before.ids().count(), 0);
    // The programs have made an entry anew.
    let mut woken = flow(9, Change::Existing);
    woken.id.born_ns += 1;
    let id = woken.id;
    before.resume(&mut woken);
    assert_eq!((woken.id, woken.change), (shown.id, Change::Alive));
    assert!(before.has(id));
}
