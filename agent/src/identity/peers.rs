//! Whose the other end of a connection is: a service on this node, a name that a process looked up, or a class of addresses. Never the address
//! itself, of which there is no end.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroUsize,
    sync::Arc,
};

use fathom_abi::{Role, udp::RemoteClass};
use lru::LruCache;

use crate::net::{Flow, flows::Change};

/// Addresses of services on this node that are remembered; the least recently used go first.
const SERVERS: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// Ends of connections that a process on this node has opened, likewise.
const CLIENTS: NonZeroUsize = NonZeroUsize::new(8192).unwrap();

/// Whose the other end is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Peer {
    /// A service on this node, by its `service.name`.
    Service(Arc<str>),
    /// The name that the process had looked up.
    Name(Arc<str>),
    /// Of no end more is known than where it is.
    Class(Class),
}

impl Peer {
    /// Where it is, without its name: for when there are too many names.
    #[must_use]
    pub fn anywhere(self) -> Self {
        match self {
            Self::Service(_) => Self::Class(Class::Node),
            Self::Name(_) => Self::Class(Class::Named),
            class @ Self::Class(_) => class,
        }
    }
}

/// Where an address is, by the registries of special addresses (RFC 6890).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// On this very host or in this very pod.
    Loopback,
    /// On the same link.
    LinkLocal,
    /// In a private network (RFC 1918, RFC 6598, RFC 4193).
    Private,
    /// Anywhere else.
    Public,
    /// A service of this node beyond those that are told apart.
    Node,
    /// One that was looked up by name, beyond those that are told apart.
    Named,
}

impl Class {
    /// Of an address.
    pub fn of(address: IpAddr) -> Self {
        let bytes = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        match RemoteClass::of(&bytes) {
            RemoteClass::LOOPBACK => Self::Loopback,
            RemoteClass::LINK_LOCAL => Self::LinkLocal,
            RemoteClass::PRIVATE => Self::Private,
            // A connection goes to one host.
            _ => Self::Public,
        }
    }

    /// The name that users read.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::LinkLocal => "link_local",
            Self::Private => "private",
            Self::Public => "public",
            Self::Node => "node",
            Self::Named => "named",
        }
    }
}

/// The services of this node by their addresses, as flows show them.
pub struct Peers {
    servers: LruCache<Address, Arc<str>>,
    clients: LruCache<Address, Arc<str>>,
}

/// A loopback address means something else in each network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Address {
    netns: u32,
    at: SocketAddr,
}

impl Address {
    fn new(netns: u32, at: SocketAddr) -> Self {
        Self {
            netns: if at.ip().is_loopback() { netns } else { 0 },
            at,
        }
    }
}

impl Default for Peers {
    fn default() -> Self {
        Self {
            servers: LruCache::new(SERVERS),
            clients: LruCache::new(CLIENTS),
        }
    }
}

impl Peers {
    /// Notes whose this end of a connection is.
    pub fn learn(&mut self, flow: &Flow, service: &Arc<str>) {
        let known = match (flow.role, flow.change) {
            (Role::SERVER, Change::Established | Change::Existing | Change::Alive) => {
                &mut self.servers
            }
            (Role::CLIENT, Change::Established | Change::Existing | Change::Alive) => {
                &mut self.clients
            }
            _ => return,
        };
        let address = Address::new(flow.netns, flow.local);
        if known.get(&address).is_none_or(|known| known != service) {
            known.put(address, Arc::clone(service));
        }
    }

    /// Whose the other end of a connection is. `name` is what the process has looked up for it, if anything is known of that; `real` is where the
    /// connection goes, where the address that the process sees is translated on the way.
    pub fn of(&mut self, flow: &Flow, name: Option<Arc<str>>, real: Option<SocketAddr>) -> Peer {
        let remote = real.unwrap_or(flow.remote);
        let address = Address::new(flow.netns, remote);
        let service = match flow.role {
            // A client's port is not a server's, but its address may be.
            Role::SERVER => self.clients.get(&address),
            _ => self.servers.get(&address),
        };
        match (service, name) {
            (Some(service), _) => Peer::Service(Arc::clone(service)),
            (None, Some(name)) => Peer::Name(name),
            (None, None) => Peer::Class(Class::of(remote.ip())),
        }
    }
}

#[cfg(test)]
mod tests;
