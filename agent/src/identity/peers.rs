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
    /// How much it says of the other end: a service on this node is known by its process, a name only by its address.
    pub const fn detail(&self) -> u8 {
        match self {
            Self::Service(_) => 2,
            Self::Name(_) => 1,
            Self::Class(_) => 0,
        }
    }

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
    servers: Holders,
    clients: Holders,
}

impl Default for Peers {
    fn default() -> Self {
        Self {
            servers: Holders::new(SERVERS),
            clients: Holders::new(CLIENTS),
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
        known.learn(flow.netns, flow.local, service);
    }

    /// Whose the other end of a connection is. `name` is what the process has looked up for it, if anything is known of that; `real` is where the
    /// connection goes, where the address that the process sees is translated on the way.
    pub fn of(&mut self, flow: &Flow, name: Option<Arc<str>>, real: Option<SocketAddr>) -> Peer {
        let remote = real.unwrap_or(flow.remote);
        // A client's port is not a server's, but its address may be.
        let known = match flow.role {
            Role::SERVER => &mut self.clients,
            _ => &mut self.servers,
        };
        match (known.of(flow.netns, remote), name) {
            (Some(service), _) => Peer::Service(service),
            (None, Some(name)) => Peer::Name(name),
            (None, None) => Peer::Class(Class::of(remote.ip())),
        }
    }
}

/// Who has which address. Most addresses mean the same in every network namespace; a loopback address does in none, and a private one may be given again
/// in another.
struct Holders(LruCache<Address, Holder>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Address {
    /// `None` for who was last seen to have it in whichever namespace.
    netns: Option<u32>,
    at: SocketAddr,
}

impl Address {
    fn within(netns: u32, at: SocketAddr) -> Self {
        Self {
            netns: Some(netns),
            at,
        }
    }

    fn anywhere(at: SocketAddr) -> Self {
        Self { netns: None, at }
    }
}

/// Who has an address, and in which namespace.
struct Holder {
    netns: u32,
    service: Arc<str>,
}

impl Holders {
    fn new(limit: NonZeroUsize) -> Self {
        Self(LruCache::new(limit))
    }

    /// An address takes one entry, and one more for each other namespace in which it is another service's.
    fn learn(&mut self, netns: u32, at: SocketAddr, service: &Arc<str>) {
        let own = Address::within(netns, at);
        let address = if at.ip().is_loopback() {
            own
        } else {
            Address::anywhere(at)
        };
        let known = self.0.get(&address);
        let (is_same, is_own) = known.map_or((false, false), |known| {
            (known.service == *service, known.netns == netns)
        });
        if !is_own {
            // Whose it was there before counts no more.
            self.0.pop(&own);
        }
        if is_same {
            return;
        }
        let holder = Holder {
            netns,
            service: Arc::clone(service),
        };
        if let Some(before) = self.0.put(address, holder)
            && before.netns != netns
        {
            self.0.put(Address::within(before.netns, at), before);
        }
    }

    /// Whose it is, as seen from a namespace.
    fn of(&mut self, netns: u32, at: SocketAddr) -> Option<Arc<str>> {
        let own = Address::within(netns, at);
        let holder = match self.0.get(&own) {
            Some(holder) => holder,
            None => self.0.get(&Address::anywhere(at))?,
        };
        Some(Arc::clone(&holder.service))
    }
}

#[cfg(test)]
mod tests;
