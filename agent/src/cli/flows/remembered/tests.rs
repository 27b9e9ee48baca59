use super::*;
use crate::{
    identity::peers::Class,
    net::flows::{Change, testing::flow},
};

fn end(peer: Peer) -> FarEnd {
    FarEnd {
        peer,
        destination: None,
    }
}

#[test]
fn what_is_known_of_an_other_end_stays_known_until_the_end() {
    let mut remembered = Remembered::default();
    let name = |name: &str| end(Peer::Name(name.into()));
    let (somewhere, service) = (
        end(Peer::Class(Class::Private)),
        end(Peer::Service("db".into())),
    );
    let pod = Some("10.0.0.7:5432".parse().expect("an address"));
    let translated = FarEnd {
        destination: pod,
        ..name("db.example")
    };
    let mut best = |change, now: &FarEnd| remembered.best(&flow(1, change), now.clone());
    assert_eq!(best(Change::Established, &somewhere), somewhere);
    assert_eq!(best(Change::Alive, &translated), translated);
    assert_eq!(best(Change::Alive, &somewhere), translated);
    assert_eq!(best(Change::Alive, &name("other.example")), translated);
    let of_service = FarEnd {
        destination: pod,
        ..service
    };
    assert_eq!(best(Change::Alive, &of_service), of_service);
    assert_eq!(best(Change::Closed, &somewhere), of_service);
    assert_eq!(best(Change::Alive, &somewhere), somewhere, "it has ended");
}

#[test]
fn only_so_many_are_remembered_and_none_of_which_nothing_is_known() {
    let mut remembered = Remembered::default();
    remembered.best(
        &flow(0, Change::Established),
        end(Peer::Class(Class::Public)),
    );
    assert!(remembered.0.is_empty());
    for number in 0..CONNECTIONS.get() as u64 + 10 {
        let name = Peer::Name("db.example".into());
        remembered.best(&flow(number, Change::Established), end(name));
    }
    assert_eq!(remembered.0.len(), CONNECTIONS.get());
}
