//! What clients are told to ask for.

use serde::Serialize;

/// A request.
#[derive(Clone, Debug, Serialize)]
pub struct Ask {
    /// Its method.
    pub method: &'static str,
    /// Its path, with a number of its own where it names a thing.
    pub path: String,
    /// The length of its body.
    pub body: usize,
    /// Whether it has a new connection.
    pub fresh: bool,
}

/// How many slow requests there are.
const SLOW: usize = 15;

/// Workers, and what each asks for, one after the other.
pub type Plan = Vec<Vec<Ask>>;

/// One round over HTTP: method, path, length of the body. `tests/subjects/README.md` says what is answered.
const HTTP: [(&str, &str, usize); 14] = [
    ("GET", "/small", 0),
    ("GET", "/users/", 0),
    ("POST", "/upload", 0),
    ("GET", "/medium", 0),
    ("HEAD", "/small", 0),
    ("GET", "/empty", 0),
    ("POST", "/upload", 100),
    ("GET", "/large", 0),
    ("GET", "/moved", 0),
    ("GET", "/chunked", 0),
    ("POST", "/upload", 5000),
    ("GET", "/missing", 0),
    ("POST", "/upload", 100_000),
    ("GET", "/error", 0),
];

/// One round over gRPC: every kind of call, and one that ends with NOT_FOUND.
const GRPC: [&str; 5] = ["Unary", "Missing", "ServerStream", "ClientStream", "Both"];

/// The mix over HTTP, as far as it has these methods.
pub fn http(workers: usize, rounds: usize, methods: &[&str]) -> Plan {
    let mix = HTTP.iter().filter(|(method, ..)| methods.contains(method));
    plan(workers, rounds, |at| {
        mix.clone()
            .map(|&(method, path, body)| Ask {
                method,
                path: if path.ends_with('/') {
                    format!("{path}{at}")
                } else {
                    path.to_owned()
                },
                body,
                fresh: false,
            })
            .collect()
    })
}

/// What nginx takes its time for.
pub fn slow() -> Plan {
    let ask = Ask {
        method: "GET",
        path: "/slow".to_owned(),
        body: 0,
        fresh: false,
    };
    vec![vec![ask; SLOW]]
}

/// The mix over gRPC.
pub fn grpc(workers: usize, rounds: usize) -> Plan {
    plan(workers, rounds, |_| {
        GRPC.iter()
            .map(|rpc| Ask {
                method: "POST",
                path: format!("/subjects.Echo/{rpc}"),
                body: 100,
                fresh: false,
            })
            .collect()
    })
}

/// Every third round of a worker, from the second on, starts on a new connection.
fn plan(workers: usize, rounds: usize, round: impl Fn(usize) -> Vec<Ask>) -> Plan {
    (0..workers)
        .map(|worker| {
            (0..rounds)
                .flat_map(|at| {
                    let mut asks = round(worker * rounds + at);
                    asks[0].fresh = at % 3 == 1;
                    asks
                })
                .collect()
        })
        .collect()
}

/// A worker's plan, a part for each connection.
pub fn connections(plan: &[Ask]) -> impl Iterator<Item = &[Ask]> {
    plan.chunk_by(|_, next| !next.fresh)
}

#[cfg(test)]
mod tests {
    use super::{connections, http};

    #[test]
    fn a_part_for_each_connection() {
        let plan = http(2, 5, &["GET", "HEAD", "POST"]);
        let parts: Vec<usize> = connections(&plan[1]).map(<[_]>::len).collect();
        assert_eq!(parts, [14, 3 * 14, 14]);
        assert_eq!(plan[1][1].path, "/users/5");
    }

    #[test]
    fn a_plan_has_only_the_methods_that_a_client_knows() {
        let plan = http(1, 1, &["GET"]);
        assert!(plan[0].len() == 9 && plan[0].iter().all(|ask| ask.method == "GET"));
    }
}
