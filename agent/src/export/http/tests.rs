use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Instant,
};

use super::*;
use crate::telemetry::metric::{Audience, Data, Metric, Number, NumberPoint};

struct One;

impl Source for One {
    fn collect(&self, into: &mut Vec<Metric>) {
        into.push(Metric {
            name: "a".into(),
            description: "".into(),
            unit: "",
            audience: Audience::All,
            data: Data::Gauge(vec![NumberPoint {
                resource: "".into(),
                attributes: Vec::new(),
                value: Number::Int(1),
            }]),
        });
    }
}

struct Broken;

impl Source for Broken {
    fn collect(&self, _: &mut Vec<Metric>) {
        panic!("a source that fails, on purpose");
    }
}

fn start(source: Arc<dyn Source>) -> (SocketAddr, Arc<AtomicBool>) {
    let server = Server::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = server.address();
    let ready = Arc::new(AtomicBool::new(false));
    let state = State {
        sources: Arc::new([source]),
        ready: Arc::clone(&ready),
    };
    tokio::spawn(server.serve(state));
    (address, ready)
}

fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    // A server that closes early may reset the connection: what came before counts.
    let _ = stream.read_to_string(&mut answer);
    answer
}

fn get(address: SocketAddr, path: &str, headers: &str) -> String {
    ask(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn each_path_says_what_it_should() {
    let (address, ready) = start(Arc::new(One));
    tokio::task::spawn_blocking(move || {
        let metrics = get(address, "/metrics", "");
        assert!(metrics.starts_with("HTTP/1.1 200 "), "{metrics}");
        assert!(
            metrics.contains("content-type: application/openmetrics-text; version=1.0.0"),
            "{metrics}"
        );
        assert!(
            metrics.contains("\na 1\n") && metrics.ends_with("# EOF\n"),
            "{metrics}"
        );
        let text = get(address, "/metrics?x=1", "Accept: text/plain\r\n");
        assert!(
            text.contains("content-type: text/plain; version=0.0.4"),
            "{text}"
        );
        let head = ask(address, "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(
            head.starts_with("HTTP/1.1 200 ") && !head.contains("# TYPE"),
            "{head}"
        );
        assert!(get(address, "/healthz", "").starts_with("HTTP/1.1 200 "));
        assert!(get(address, "/readyz", "").starts_with("HTTP/1.1 503 "));
        ready.store(true, Ordering::Release);
        assert!(get(address, "/readyz", "").starts_with("HTTP/1.1 200 "));
        let missing = get(address, "/", "");
        assert!(missing.starts_with("HTTP/1.1 404 "), "{missing}");
        for path in ["/metrics", "/healthz", "/readyz"] {
            assert!(missing.contains(path), "{missing}");
        }
        let posted = ask(
            address,
            "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        );
        assert!(
            posted.starts_with("HTTP/1.1 405 ") && posted.contains("allow: GET, HEAD"),
            "{posted}"
        );
        assert!(ask(address, "nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_panics_takes_down_its_page_only() {
    let (address, _) = start(Arc::new(Broken));
    tokio::task::spawn_blocking(move || {
        for _ in 0..3 {
            assert!(get(address, "/metrics", "").starts_with("HTTP/1.1 500 "));
            assert!(get(address, "/healthz", "").starts_with("HTTP/1.1 200 "));
        }
    })
    .await
    .unwrap();
}

/// As many silent clients as there are places: the next one is served when the first ones' time is up.
#[tokio::test(flavor = "multi_thread")]
async fn silent_clients_hold_their_places_for_seconds_only() {
    let (address, _) = start(Arc::new(One));
    tokio::task::spawn_blocking(move || {
        let silent: Vec<_> = (0..CONNECTIONS)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        let begun = Instant::now();
        assert!(get(address, "/healthz", "").starts_with("HTTP/1.1 200 "));
        let waited = begun.elapsed();
        assert!(waited >= HEAD / 2 && waited < HEAD * 2, "{waited:?}");
        drop(silent);
    })
    .await
    .unwrap();
}

#[test]
fn a_taken_port_is_named_with_what_to_do() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap();
    let line = Server::bind(address).unwrap_err().to_string();
    assert!(
        line.starts_with(&format!("can't listen on {address}: ")),
        "{line}"
    );
    assert!(
        line.contains(&format!("`ss -ltnp sport = :{}`", address.port())),
        "{line}"
    );
    assert!(line.contains("--listen ADDRESS:PORT"), "{line}");
    let nowhere = "192.0.2.1:0".parse().unwrap();
    let line = Server::bind(nowhere).unwrap_err().to_string();
    assert!(line.contains("this machine has no such address"), "{line}");
}
