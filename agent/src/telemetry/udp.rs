//! `fathom.udp.*`: bytes and datagrams by service, role, protocol and remote. A remote is the name that the process asked for, where there is one, and
//! the class of its address; never an address or an ephemeral port.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use fathom_abi::{Role, udp::RemoteClass};

use super::{
    metric::{Attributes, Audience, Data, Metric, Number, NumberPoint, Source, Value},
    names::{self, Claim, Names},
};
use crate::{identity::Process, net::udp::Traffic};

/// The service that stands for those beyond [`Limits::services`].
const OTHER_SERVICES: &str = "other";

/// The name that stands for those beyond [`Limits::names`].
const OTHER: &str = "_OTHER";

/// What is spoken, as far as it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// Nothing that is known.
    Unknown,
    /// QUIC: a packet was seen that starts a connection.
    Quic,
    /// DNS: the server was seen to answer.
    Dns,
}

impl Protocol {
    /// The value of `network.protocol.name`.
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::Unknown => None,
            Self::Quic => Some("quic"),
            Self::Dns => Some("dns"),
        }
    }
}

/// What [`Udp`] may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Services; what belongs to others is counted under the service `other`, with `otel.metric.overflow=true`.
    pub services: usize,
    /// Names of remotes of each service.
    pub names: usize,
    /// Series of all services; see [`super::dns::Limits::series`].
    pub series: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            services: 256,
            names: 64,
            series: 4096,
        }
    }
}

/// What went by over UDP on this node.
pub struct Udp {
    limits: Limits,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    services: HashMap<Arc<str>, Names>,
    series: HashMap<Key, Totals>,
    counts: UdpCounts,
}

/// What came of the datagrams that [`Udp`] took in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UdpCounts {
    /// All of them.
    pub packets: u64,
    /// Those in the series for what there is no room for.
    pub overflowed: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    /// None for those beyond the limits.
    service: Option<Arc<str>>,
    role: Role,
    protocol: Protocol,
    class: RemoteClass,
    remote: Remote,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Remote {
    /// It has no name.
    Nameless,
    Named(names::Number),
    /// There is no room for its name.
    Other,
}

/// Received and sent.
#[derive(Clone, Copy, Default)]
struct Totals {
    bytes: [u64; 2],
    packets: [u64; 2],
}

impl Udp {
    /// No series yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            inner: Mutex::default(),
        }
    }

    /// Takes what went by between `process` and a remote, which may have a name.
    pub fn record(
        &self,
        traffic: &Traffic,
        process: &Process,
        protocol: Protocol,
        name: Option<&str>,
    ) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = &mut *inner;
        let key = inner.key(traffic, process, protocol, name, &self.limits);
        let key = if inner.series.len() < self.limits.series || inner.series.contains_key(&key) {
            key
        } else {
            Key::overflow(traffic, protocol)
        };
        let packets = traffic.packets[0].saturating_add(traffic.packets[1]);
        inner.counts.packets += packets;
        if key.service.is_none() {
            inner.counts.overflowed += packets;
        }
        let totals = inner.series.entry(key).or_default();
        for way in 0..2 {
            totals.bytes[way] = totals.bytes[way].saturating_add(traffic.bytes[way]);
            totals.packets[way] = totals.packets[way].saturating_add(traffic.packets[way]);
        }
    }

    /// What came of the datagrams so far.
    pub fn counts(&self) -> UdpCounts {
        self.inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .counts
    }
}

impl Inner {
    fn key(
        &mut self,
        traffic: &Traffic,
        process: &Process,
        protocol: Protocol,
        name: Option<&str>,
        limits: &Limits,
    ) -> Key {
        if !self.services.contains_key(&process.service) {
            if self.services.len() >= limits.services {
                return Key::overflow(traffic, protocol);
            }
            self.services
                .insert(Arc::clone(&process.service), Names::new(limits.names));
        }
        let names = self.services.get_mut(&process.service);
        let remote = match (name, names) {
            (Some(name), Some(names)) => names
                .number(name, Claim::Likely)
                .map_or(Remote::Other, Remote::Named),
            _ => Remote::Nameless,
        };
        Key {
            service: Some(Arc::clone(&process.service)),
            role: traffic.role,
            protocol,
            class: traffic.class,
            remote,
        }
    }

    fn attributes(&self, key: &Key) -> Attributes {
        let role = match key.role {
            Role::CLIENT => "client",
            Role::SERVER => "server",
            _ => "unknown",
        };
        let mut attributes: Attributes = vec![("fathom.udp.role".into(), Value::Str(role.into()))];
        if let Some(protocol) = key.protocol.name() {
            attributes.push(("network.protocol.name".into(), Value::Str(protocol.into())));
        }
        let class = Value::Str(key.class.name().into());
        attributes.push(("fathom.peer.class".into(), class));
        let name = match key.remote {
            Remote::Nameless => None,
            Remote::Other => Some(Cow::Borrowed(OTHER)),
            Remote::Named(number) => key
                .service
                .as_ref()
                .and_then(|service| self.services.get(service)?.name(number))
                .map(|name| name.to_string().into()),
        };
        if let Some(name) = name {
            attributes.push(("server.address".into(), Value::Str(name)));
        }
        if key.service.is_none() {
            attributes.push(("otel.metric.overflow".into(), Value::Bool(true)));
        }
        attributes
    }

    fn points(&self, value: fn(&Totals) -> [u64; 2]) -> Data {
        let points = self.series.iter().flat_map(|(key, totals)| {
            let [received, sent] = value(totals);
            [("receive", received), ("transmit", sent)].map(|(direction, value)| {
                let mut attributes = self.attributes(key);
                attributes.push(("network.io.direction".into(), Value::Str(direction.into())));
                NumberPoint {
                    resource: key.service.clone().unwrap_or_else(|| OTHER_SERVICES.into()),
                    attributes,
                    value: Number::Int(value),
                }
            })
        });
        Data::Counter(points.collect())
    }
}

impl Key {
    /// The series of what there is no room for: as many as there are roles, protocols and classes.
    fn overflow(traffic: &Traffic, protocol: Protocol) -> Self {
        Self {
            service: None,
            role: traffic.role,
            protocol,
            class: traffic.class,
            remote: Remote::Nameless,
        }
    }
}

impl Source for Udp {
    fn collect(&self, into: &mut Vec<Metric>) {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut add = |name: &'static str, unit: &'static str, description: &'static str, data| {
            into.push(Metric {
                name: name.into(),
                description: description.into(),
                unit,
                audience: Audience::All,
                data,
            });
        };
        add(
            "fathom.udp.io",
            "By",
            "Payload bytes of UDP datagrams",
            inner.points(|totals| totals.bytes),
        );
        add(
            "fathom.udp.packets",
            "{packet}",
            "UDP datagrams, as programs hand them to the kernel and take them from it",
            inner.points(|totals| totals.packets),
        );
    }
}

#[cfg(test)]
mod tests;
