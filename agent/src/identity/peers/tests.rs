use super::*;
use crate::net::flows::testing::flow;

fn server(port: u16, netns: u32) -> Flow {
    let mut flow = flow(1, Change::Established);
    (flow.role, flow.netns) = (Role::SERVER, netns);
    (flow.local, flow.remote) = (([10, 0, 0, 7], port).into(), ([10, 0, 0, 9], 50_000).into());
    flow
}

fn client(to: SocketAddr, netns: u32) -> Flow {
    let mut flow = flow(2, Change::Established);
    (flow.role, flow.netns) = (Role::CLIENT, netns);
    (flow.local, flow.remote) = (([10, 0, 0, 9], 50_000).into(), to);
    flow
}

#[test]
fn each_end_of_a_connection_on_this_node_names_the_other() {
    let mut peers = Peers::default();
    let (server, client) = (server(80, 1), client(([10, 0, 0, 7], 80).into(), 2));
    peers.learn(&client, &"web".into());
    peers.learn(&server, &"orders".into());
    assert_eq!(
        peers.of(&client, None, None),
        Peer::Service("orders".into())
    );
    assert_eq!(peers.of(&server, None, None), Peer::Service("web".into()));
}

#[test]
fn loopback_is_told_apart_by_network_namespace() {
    let mut peers = Peers::default();
    let mut one = server(80, 1);
    one.local = ([127, 0, 0, 1], 80).into();
    peers.learn(&one, &"orders".into());
    let to = ([127, 0, 0, 1], 80).into();
    assert_eq!(
        peers.of(&client(to, 1), None, None),
        Peer::Service("orders".into())
    );
    assert_eq!(
        peers.of(&client(to, 2), None, None),
        Peer::Class(Class::Loopback)
    );
}

#[test]
fn an_address_that_two_namespaces_have_is_each_time_the_own_one_s() {
    let mut peers = Peers::default();
    let to: SocketAddr = ([10, 0, 0, 7], 80).into();
    let mut learn = |netns, service: &str| peers.learn(&server(80, netns), &service.into());
    learn(1, "orders");
    learn(2, "billing");
    let of = |peers: &mut Peers, netns| peers.of(&client(to, netns), None, None);
    let service = |name: &str| Peer::Service(name.into());
    for _ in 0..2 {
        assert_eq!(of(&mut peers, 1), service("orders"));
        assert_eq!(of(&mut peers, 2), service("billing"));
        // Their next records, the other way round.
        peers.learn(&server(80, 2), &"billing".into());
        peers.learn(&server(80, 1), &"orders".into());
    }
    assert_eq!(
        of(&mut peers, 3),
        service("orders"),
        "the last that was seen"
    );
    // Another service has it in one of them.
    peers.learn(&server(80, 2), &"orders".into());
    assert_eq!(of(&mut peers, 2), service("orders"));
    assert!(peers.servers.0.len() <= 2);
}

#[test]
fn only_so_many_addresses_are_remembered() {
    let mut peers = Peers::default();
    for netns in 1..=2 {
        for port in 1..=u16::try_from(SERVERS.get()).expect("a port") {
            peers.learn(&server(port, netns), &format!("s{netns}").into());
        }
    }
    assert_eq!(peers.servers.0.len(), SERVERS.get());
}

#[test]
fn a_translated_address_goes_before_the_one_that_the_process_sees() {
    let mut peers = Peers::default();
    peers.learn(&server(80, 1), &"orders".into());
    let flow = client(([10, 96, 0, 1], 443).into(), 2);
    let real = Some(([10, 0, 0, 7], 80).into());
    assert_eq!(peers.of(&flow, None, real), Peer::Service("orders".into()));
    assert_eq!(
        peers.of(&flow, Some("orders.shop.svc".into()), None),
        Peer::Name("orders.shop.svc".into())
    );
    assert_eq!(peers.of(&flow, None, None), Peer::Class(Class::Private));
}

#[test]
fn classes_are_those_of_the_registries() {
    let class = |address: &str| Class::of(address.parse().expect("an address")).name();
    for (address, expected) in [
        ("127.8.8.8", "loopback"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("169.254.169.254", "link_local"),
        ("fe80::1", "link_local"),
        ("10.1.2.3", "private"),
        ("172.31.0.1", "private"),
        ("172.32.0.1", "public"),
        ("192.168.0.1", "private"),
        ("100.64.0.1", "private"),
        ("100.128.0.1", "public"),
        ("fd00::1", "private"),
        ("2001:db8::1", "public"),
    ] {
        assert_eq!(class(address), expected, "{address}");
    }
}
