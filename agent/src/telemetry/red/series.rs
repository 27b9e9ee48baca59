//! The series of one service.

use std::{borrow::Cow, collections::HashMap, net::SocketAddr, sync::Arc};

use super::BOUNDS;
use crate::{
    l7::{
        exchange::{Exchange, Side},
        http1::KNOWN_METHODS,
    },
    telemetry::{
        metric::{Attributes, Exemplar, Value},
        route::{RouteId, Routes},
    },
};

/// How many of its parts a service may tell apart.
pub(super) struct ServiceLimits {
    pub(super) routes: usize,
    pub(super) destinations: usize,
}

/// One service's series, and the tables that its keys point into.
pub(super) struct Service {
    routes: Routes,
    destinations: HashMap<SocketAddr, u16>,
    addresses: Vec<SocketAddr>,
    limits: ServiceLimits,
    without_destination: u64,
    pub(super) series: HashMap<Key, Histogram>,
    pub(super) overflow: HashMap<Side, Histogram>,
}

/// What tells a service's series apart: small, so that finding one allocates nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) side: Side,
    /// An index into [`KNOWN_METHODS`]; none for any other method.
    method: Option<u8>,
    status: Option<u16>,
    version: &'static str,
    route: Option<RouteId>,
    destination: Option<u16>,
}

/// Counts over [`BOUNDS`], with the newest exemplar of each bucket.
#[derive(Default)]
pub(super) struct Histogram {
    pub(super) counts: [u64; BOUNDS.len() + 1],
    pub(super) sum: f64,
    pub(super) exemplars: Box<[Option<Exemplar>; BOUNDS.len() + 1]>,
}

impl Histogram {
    pub(super) fn add(&mut self, exemplar: Exemplar) {
        // A bucket's upper bound belongs to it.
        let bucket = BOUNDS.partition_point(|&bound| bound < exemplar.value);
        self.counts[bucket] += 1;
        self.sum += exemplar.value;
        self.exemplars[bucket] = Some(exemplar);
    }
}

impl Service {
    pub(super) fn new(limits: ServiceLimits) -> Self {
        Self {
            routes: Routes::new(limits.routes),
            destinations: HashMap::new(),
            addresses: Vec::new(),
            limits,
            without_destination: 0,
            series: HashMap::new(),
            overflow: HashMap::new(),
        }
    }

    pub(super) fn key(&mut self, exchange: &Exchange) -> (Key, Option<Arc<str>>) {
        let route = self.routes.of(&exchange.path);
        let key = Key {
            side: exchange.side,
            method: KNOWN_METHODS
                .iter()
                .position(|&known| known == exchange.method)
                .and_then(|at| u8::try_from(at).ok()),
            status: exchange.status.ok(),
            version: exchange.version,
            route,
            destination: match exchange.side {
                Side::Server => None,
                Side::Client => self.destination(exchange.remote),
            },
        };
        (
            key,
            route.and_then(|route| self.routes.template(route)).cloned(),
        )
    }

    fn destination(&mut self, address: SocketAddr) -> Option<u16> {
        if let Some(&destination) = self.destinations.get(&address) {
            return Some(destination);
        }
        if self.addresses.len() >= self.limits.destinations {
            self.without_destination += 1;
            return None;
        }
        let destination = u16::try_from(self.addresses.len()).ok()?;
        self.addresses.push(address);
        self.destinations.insert(address, destination);
        Some(destination)
    }

    pub(super) fn attributes(&self, key: &Key) -> Attributes {
        let method = key
            .method
            .and_then(|at| KNOWN_METHODS.get(usize::from(at)))
            .copied();
        let mut attributes: Attributes = vec![(
            "http.request.method".into(),
            Value::Str(method.unwrap_or("_OTHER").into()),
        )];
        if let Some(route) = key.route.and_then(|route| self.routes.template(route)) {
            let name = match key.side {
                Side::Server => "http.route",
                Side::Client => "url.template",
            };
            attributes.push((name.into(), Value::Str(Cow::Owned(route.to_string()))));
        }
        if let Some(status) = key.status {
            attributes.push((
                "http.response.status_code".into(),
                Value::Int(status.into()),
            ));
        }
        attributes.push(("url.scheme".into(), Value::Str("http".into())));
        attributes.push((
            "network.protocol.version".into(),
            Value::Str(key.version.into()),
        ));
        if let Some(address) = key
            .destination
            .and_then(|at| self.addresses.get(usize::from(at)))
        {
            attributes.push((
                "server.address".into(),
                Value::Str(address.ip().to_string().into()),
            ));
            attributes.push(("server.port".into(), Value::Int(address.port().into())));
        }
        if let Some(error) = error_type(key.side, key.status) {
            attributes.push(("error.type".into(), Value::Str(error)));
        }
        attributes
    }

    pub(super) fn without_route(&self) -> u64 {
        self.routes.overflowed()
    }

    pub(super) fn without_destination(&self) -> u64 {
        self.without_destination
    }
}

/// `error.type`: the status code where it is an error for this side, `closed` where there was no answer.
pub(in crate::telemetry) fn error_type(
    side: Side,
    status: Option<u16>,
) -> Option<Cow<'static, str>> {
    match (side, status) {
        (_, None) => Some("closed".into()),
        (Side::Server, Some(status @ 500..)) | (Side::Client, Some(status @ 400..)) => {
            Some(status.to_string().into())
        }
        _ => None,
    }
}
