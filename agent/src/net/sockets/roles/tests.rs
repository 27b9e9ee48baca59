use super::{
    super::diag::{Family, State},
    *,
};

const RANGE: &str = "32768\t60999\n";

fn listening(family: Family, local: &str, only_v6: bool) -> Socket {
    Socket {
        family,
        state: State::LISTEN,
        local: address(local),
        remote: "0.0.0.0:0".parse().expect("an address"),
        interface: 0,
        cookie: 1,
        inode: 1,
        uid: 0,
        receive_queue: 0,
        send_queue: 128,
        only_v6,
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn roles(sockets: &[Socket]) -> Roles {
    let mut roles = Roles::new(RANGE);
    sockets.iter().for_each(|socket| roles.listens(socket));
    roles
}

#[test]
fn who_has_the_port_of_one_that_listens_is_a_server() {
    let roles = roles(&[
        listening(Family::V4, "0.0.0.0:80", false),
        listening(Family::V4, "10.0.0.1:40000", false),
    ]);
    assert_eq!(roles.role(address("10.0.0.7:80")), Role::SERVER);
    assert_eq!(roles.role(address("10.0.0.1:40000")), Role::SERVER);
    // Another address of the same port is not listened on, and a client may have it.
    assert_eq!(roles.role(address("10.0.0.2:40000")), Role::CLIENT);
    assert_eq!(roles.role(address("[2001:db8::1]:80")), Role::UNKNOWN);
}

#[test]
fn a_socket_of_ipv6_listens_for_both_unless_it_says_otherwise() {
    let both = roles(&[listening(Family::V6, "[::]:8080", false)]);
    let one = roles(&[listening(Family::V6, "[::]:8080", true)]);
    for roles in [&both, &one] {
        assert_eq!(roles.role(address("[2001:db8::1]:8080")), Role::SERVER);
    }
    assert_eq!(both.role(address("10.0.0.1:8080")), Role::SERVER);
    assert_eq!(one.role(address("10.0.0.1:8080")), Role::UNKNOWN);
}

#[test]
fn a_socket_of_ipv6_may_listen_on_all_of_ipv4() {
    // Bound to ::ffff:0.0.0.0.
    let roles = roles(&[listening(Family::V6, "0.0.0.0:8080", false)]);
    assert_eq!(roles.role(address("10.0.0.1:8080")), Role::SERVER);
    assert_eq!(roles.role(address("[2001:db8::1]:8080")), Role::UNKNOWN);
}

#[test]
fn only_ports_that_the_kernel_gives_out_are_clients() {
    let roles = roles(&[]);
    assert_eq!(roles.role(address("10.0.0.1:32768")), Role::CLIENT);
    assert_eq!(roles.role(address("10.0.0.1:60999")), Role::CLIENT);
    // A server whose listening socket has gone, or a client that chose its port.
    assert_eq!(roles.role(address("10.0.0.1:8080")), Role::UNKNOWN);
    for range in ["", "1", "a b", "1 2 3", "70000 80000"] {
        let roles = Roles::new(range);
        assert_eq!(
            roles.role(address("10.0.0.1:40000")),
            Role::UNKNOWN,
            "{range}"
        );
    }
}

#[test]
fn beyond_the_limit_nobody_is_taken_for_a_client() {
    let mut roles = Roles::new(RANGE);
    for n in 0..=u32::try_from(MAX_LISTENERS).expect("a number") {
        let [_, a, b, c] = n.to_be_bytes();
        roles.listens(&listening(Family::V4, &format!("10.{a}.{b}.{c}:80"), false));
    }
    assert_eq!(roles.exact.len(), MAX_LISTENERS);
    assert_eq!(roles.role(address("10.0.0.0:80")), Role::SERVER);
    assert_eq!(roles.role(address("10.9.9.9:40000")), Role::UNKNOWN);
}
