//! The series of one service.

use std::{borrow::Cow, collections::HashMap, net::SocketAddr, sync::Arc};

use super::{BOUNDS, OTHER};
use crate::{
    l7::{
        exchange::{Exchange, Side},
        grpc::Call,
        http1::KNOWN_METHODS,
    },
    telemetry::{
        failure::Failure,
        metric::{Attributes, Exemplar, Value},
        names::{Claim, Names, Number},
        route::{Patterns, Route, Routes},
        rpc::{self, Code},
    },
};

/// How many of its parts a service may tell apart.
pub(super) struct ServiceLimits {
    pub(super) routes: usize,
    pub(super) methods: usize,
    pub(super) destinations: usize,
}

/// One service's series, and the tables that its keys point into.
pub(super) struct Service {
    routes: Routes,
    methods: Names,
    destinations: HashMap<SocketAddr, u16>,
    addresses: Vec<SocketAddr>,
    limits: ServiceLimits,
    without_destination: u64,
    /// Reused, so that a known method allocates nothing.
    method: String,
    pub(super) series: HashMap<Key, Histogram>,
    pub(super) overflow: HashMap<Instrument, Histogram>,
}

/// One of the histograms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Instrument {
    HttpServer,
    HttpClient,
    RpcServer,
    RpcClient,
}

impl Instrument {
    pub(super) const ALL: [Self; 4] = [
        Self::HttpServer,
        Self::HttpClient,
        Self::RpcServer,
        Self::RpcClient,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::HttpServer => "http.server.request.duration",
            Self::HttpClient => "http.client.request.duration",
            Self::RpcServer => "rpc.server.call.duration",
            Self::RpcClient => "rpc.client.call.duration",
        }
    }

    pub(super) const fn description(self) -> &'static str {
        match self {
            Self::HttpServer => "Duration of HTTP server requests.",
            Self::HttpClient => "Duration of HTTP client requests.",
            Self::RpcServer => "Measures the duration of an incoming Remote Procedure Call (RPC).",
            Self::RpcClient => "Measures the duration of an outgoing Remote Procedure Call (RPC).",
        }
    }
}

/// What tells a service's series apart: small, so that finding one allocates nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    side: Side,
    what: What,
    failure: Option<Failure>,
    destination: Option<u16>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum What {
    Http {
        /// An index into [`KNOWN_METHODS`]; none for any other method.
        method: Option<u8>,
        status: Option<u16>,
        version: &'static str,
        tls: bool,
        route: Option<Route>,
    },
    Rpc {
        method: Option<Number>,
        code: Option<Code>,
    },
}

impl Key {
    pub(super) fn instrument(&self) -> Instrument {
        match (&self.what, self.side) {
            (What::Http { .. }, Side::Server) => Instrument::HttpServer,
            (What::Http { .. }, Side::Client) => Instrument::HttpClient,
            (What::Rpc { .. }, Side::Server) => Instrument::RpcServer,
            (What::Rpc { .. }, Side::Client) => Instrument::RpcClient,
        }
    }
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
    pub(super) fn new(limits: ServiceLimits, patterns: Arc<Patterns>) -> Self {
        Self {
            routes: Routes::new(limits.routes, patterns),
            methods: Names::new(limits.methods),
            destinations: HashMap::new(),
            addresses: Vec::new(),
            limits,
            without_destination: 0,
            method: String::new(),
            series: HashMap::new(),
            overflow: HashMap::new(),
        }
    }

    /// The exchange's series, and its route or RPC method where the service has room for it.
    pub(super) fn key(&mut self, exchange: &Exchange) -> (Key, Option<Arc<str>>) {
        let (what, name) = match exchange.rpc.as_deref() {
            Some(call) => self.rpc(exchange, call),
            None => self.http(exchange),
        };
        let key = Key {
            side: exchange.side,
            what,
            failure: Failure::of(exchange),
            destination: match exchange.side {
                Side::Server => None,
                Side::Client => self.destination(exchange.remote),
            },
        };
        (key, name)
    }

    fn http(&mut self, exchange: &Exchange) -> (What, Option<Arc<str>>) {
        let claim = match exchange.status {
            Ok(404) => Claim::Doubtful,
            _ => Claim::Likely,
        };
        let route = self.routes.of(&exchange.path, claim);
        let what = What::Http {
            method: KNOWN_METHODS
                .iter()
                .position(|&known| known == exchange.method)
                .and_then(|at| u8::try_from(at).ok()),
            status: exchange.status.ok(),
            version: exchange.version,
            tls: exchange.tls,
            route,
        };
        (
            what,
            route.and_then(|route| self.routes.template(route)).cloned(),
        )
    }

    fn rpc(&mut self, exchange: &Exchange, call: &Call) -> (What, Option<Arc<str>>) {
        let code = Code::of(exchange, call);
        let claim = match code {
            Some(code) if code.is_unimplemented() => Claim::Doubtful,
            _ => Claim::Likely,
        };
        self.method.clear();
        rpc::write_method(call, &mut self.method);
        let method = self.methods.number(&self.method, claim);
        (
            What::Rpc { method, code },
            method.and_then(|method| self.methods.name(method)).cloned(),
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
        let mut attributes = match key.what {
            What::Http {
                method,
                status,
                version,
                tls,
                route,
            } => {
                let method = method
                    .and_then(|at| KNOWN_METHODS.get(usize::from(at)))
                    .copied();
                let mut attributes: Attributes =
                    vec![("http.request.method".into(), fixed(method.unwrap_or(OTHER)))];
                if let Some(route) = route {
                    let name = match key.side {
                        Side::Server => "http.route",
                        Side::Client => "url.template",
                    };
                    attributes.push((name.into(), text_or_other(self.routes.template(route))));
                }
                if let Some(status) = status {
                    attributes.push((
                        "http.response.status_code".into(),
                        Value::Int(status.into()),
                    ));
                }
                attributes.push((
                    "url.scheme".into(),
                    fixed(if tls { "https" } else { "http" }),
                ));
                attributes.push(("network.protocol.version".into(), fixed(version)));
                attributes
            }
            What::Rpc { method, code } => {
                let name = method.and_then(|method| self.methods.name(method));
                let mut attributes: Attributes = vec![
                    ("rpc.system.name".into(), fixed("grpc")),
                    ("rpc.method".into(), text_or_other(name)),
                ];
                if let Some(code) = code {
                    attributes.push((rpc::STATUS_CODE.into(), Value::Str(code.name())));
                }
                attributes
            }
        };
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
        if let Some(failure) = key.failure {
            attributes.push(("error.type".into(), Value::Str(failure.name())));
        }
        attributes
    }

    pub(super) fn without_route(&self) -> u64 {
        self.routes.refused()
    }

    pub(super) fn without_method(&self) -> u64 {
        self.methods.refused()
    }

    pub(super) fn without_destination(&self) -> u64 {
        self.without_destination
    }
}

fn fixed(text: &'static str) -> Value {
    Value::Str(Cow::Borrowed(text))
}

fn text_or_other(name: Option<&Arc<str>>) -> Value {
    Value::Str(name.map_or(OTHER.into(), |name| name.to_string().into()))
}
