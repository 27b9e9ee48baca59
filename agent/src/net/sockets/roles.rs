//! Which end opened a connection that nobody saw opening.
//!
//! The kernel does not remember it. Who has a port on which its namespace listens was asked, as no other socket gets such a port; who has none, and one of those that the kernel gives out to
//! those who connect, has asked. That leaves servers who listen no more, and clients who chose their port: of those nothing is said.

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
};

use fathom_abi::Role;

use super::diag::Socket;

/// Listening sockets that are remembered, of one namespace.
const MAX_LISTENERS: usize = 1 << 16;

/// Who listens in one network namespace, and which ports clients get there.
#[derive(Clone, Debug)]
pub struct Roles {
    /// Ports on which all addresses of IPv4 are listened on.
    v4: HashSet<u16>,
    /// The same for IPv6.
    v6: HashSet<u16>,
    /// Addresses that are listened on by themselves.
    exact: HashSet<SocketAddr>,
    /// Ports that connect(2) takes.
    ephemeral: RangeInclusive<u16>,
    /// Some listening sockets are not among the above.
    incomplete: bool,
}

impl Roles {
    /// Nobody listens so far. `port_range` is what `/proc/sys/net/ipv4/ip_local_port_range` says in the namespace; where it says nothing, nobody is known to be a client.
    pub fn new(port_range: &str) -> Self {
        Self {
            v4: HashSet::new(),
            v6: HashSet::new(),
            exact: HashSet::new(),
            ephemeral: range(port_range).unwrap_or(RangeInclusive::new(1, 0)),
            incomplete: false,
        }
    }

    /// A socket that listens.
    pub fn listens(&mut self, socket: &Socket) {
        if self.v4.len() + self.v6.len() + self.exact.len() >= MAX_LISTENERS {
            self.incomplete = true;
            return;
        }
        let port = socket.local.port();
        if !socket.local.ip().is_unspecified() {
            self.exact.insert(socket.local);
            return;
        }
        // By the address: a socket of IPv6 may listen on all of IPv4's alone.
        if socket.local.is_ipv6() {
            self.v6.insert(port);
        }
        if socket.local.is_ipv4() || !socket.only_v6 {
            self.v4.insert(port);
        }
    }

    /// This end's role.
    pub fn role(&self, local: SocketAddr) -> Role {
        let everywhere = match local.ip() {
            IpAddr::V4(_) => &self.v4,
            IpAddr::V6(_) => &self.v6,
        };
        if everywhere.contains(&local.port()) || self.exact.contains(&local) {
            Role::SERVER
        } else if !self.incomplete && self.ephemeral.contains(&local.port()) {
            Role::CLIENT
        } else {
            Role::UNKNOWN
        }
    }
}

/// Two numbers.
fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let mut numbers = text.split_ascii_whitespace().map(str::parse);
    let range = numbers.next()?.ok()?..=numbers.next()?.ok()?;
    numbers.next().is_none().then_some(range)
}

#[cfg(test)]
mod tests;
