//! Whose child a client's span is, against servers that say so themselves: each handler that receives `/in/ID` asks nginx for `/users/ID`.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::otlp::{attribute, is_of, items, until_it_holds};
use crate::{
    agent::Agent,
    context::{Context, free_port},
    metrics::Metrics,
    nginx::{Nginx, named_copy},
    receiver::{Receiver, interpreter},
    subjects::GoProgram,
};

/// Requests on each connection that come first and are not counted: a process has to be proven to give each request a thread.
const FIRST: u64 = 30;
/// Requests on each that are.
const COUNTED: u64 = 80;
/// How long each waits between two: the exporter's queue is to lose nothing.
const PAUSE: Duration = Duration::from_millis(35);

/// What a subject runs.
#[derive(Clone, Copy)]
enum Program {
    /// `tests/python/parents_subject.py`, as this kind.
    Python(&'static str),
    /// `tests/subjects/parents_go.go`, as this kind.
    Go(&'static str),
    /// nginx as a proxy.
    Proxy,
}

/// A server whose handlers ask another one.
struct Subject {
    name: &'static str,
    program: Program,
    /// Connections, each with one request after the other.
    connections: u64,
    /// In percent, how many of its client spans must have a parent.
    floor: u64,
}

const SUBJECTS: [Subject; 8] = [
    Subject {
        name: "threads",
        program: Program::Python("threads"),
        connections: 8,
        floor: 99,
    },
    Subject {
        name: "loop",
        program: Program::Python("loop"),
        connections: 8,
        floor: 0,
    },
    Subject {
        name: "loops",
        program: Program::Python("loops"),
        connections: 8,
        floor: 0,
    },
    // Each loop has one request at a time, as if it were a thread for it.
    Subject {
        name: "pairs",
        program: Program::Python("loops"),
        connections: 2,
        floor: 0,
    },
    // It passes a `traceparent` on, which half of the requests have.
    Subject {
        name: "proxy",
        program: Program::Proxy,
        connections: 8,
        floor: 49,
    },
    // A goroutine for each request, on threads that all share.
    Subject {
        name: "go",
        program: Program::Go("handler"),
        connections: 8,
        floor: 99,
    },
    Subject {
        name: "go-tls",
        program: Program::Go("tls"),
        connections: 8,
        floor: 99,
    },
    // Who asks is a goroutine that the handler has started.
    Subject {
        name: "go-started",
        program: Program::Go("started"),
        connections: 8,
        floor: 0,
    },
];

pub fn run(context: &mut Context) -> Result<()> {
    let receiver = Receiver::start(context.dir())?;
    let backend = Nginx::start(context)?;
    let servers = SUBJECTS
        .iter()
        .map(|subject| Server::start(subject, context, &backend))
        .collect::<Result<Vec<_>>>()?;
    let config = context.dir().join("parents.yaml");
    std::fs::write(&config, "otlp:\n  interval: 1s\n")?;
    let config = config.to_string_lossy().into_owned();
    let agent = Agent::start(
        context,
        &["--config", &config, "--otlp-endpoint", &receiver.endpoint()],
    )?;
    let mut parented = 0;
    for server in &servers {
        server.load()?;
        let found = until_it_holds(|| Found::of(&receiver.requests("traces")?, server));
        let found = found.with_context(|| {
            let of = |stage, signal| {
                agent.metrics().map_or(0, |metrics| lost(&metrics, stage, signal))
            };
            format!(
                "{} spans were lost by the exporter, {} records by the ring, {} exchanges by the decoder",
                of("exporter", "spans"),
                of("tap", "messages"),
                of("correlator", "exchanges"),
            )
        })?;
        let name = server.subject.name;
        context.fact(&format!("{name}_right"), found.right);
        context.fact(&format!("{name}_none"), found.none);
        let all = found.right + found.none;
        ensure!(
            found.wrong.is_empty(),
            "{name}: {} wrong parents of {all}, such as {:?}",
            found.wrong.len(),
            found.wrong.first()
        );
        ensure!(
            found.right * 100 >= all * server.subject.floor,
            "{name}: {} of {all} have their parent",
            found.right
        );
        parented += found.right;
    }
    let metrics = agent.metrics()?;
    let count = |signal, outcome| {
        let labels = [
            ("stage", "correlator"),
            ("signal", signal),
            ("outcome", outcome),
        ];
        metrics.count("fathom_events_total", &labels)
    };
    ensure!(
        count("client_parents", "parented") >= parented,
        "{parented} spans have a parent, /metrics counts {}",
        count("client_parents", "parented")
    );
    agent.stop()
}

/// What a stage took in of a signal and did not hand on.
fn lost(metrics: &Metrics, stage: &str, signal: &str) -> u64 {
    let of = |labels: &[(&str, &str)]| metrics.count("fathom_events_total", labels);
    let all = [("stage", stage), ("signal", signal)];
    of(&all) - of(&[&all[..], &[("outcome", "delivered")]].concat())
}

/// A running subject.
struct Server<'a> {
    subject: &'a Subject,
    child: Child,
    port: u16,
    service: String,
}

impl<'a> Server<'a> {
    fn start(subject: &'a Subject, context: &Context, backend: &Nginx) -> Result<Self> {
        let port = free_port()?;
        let service = format!("parents-{}-{port}", subject.name);
        let mut command = match subject.program {
            Program::Proxy => proxy(&service, context.dir(), port, backend.port())?,
            Program::Python(kind) => {
                let program =
                    Path::new(env!("CARGO_MANIFEST_DIR")).join("../python/parents_subject.py");
                let mut command = Command::new(interpreter()?);
                command.arg(program).arg(kind);
                command.args([port.to_string(), backend.port().to_string()]);
                command
            }
            Program::Go(kind) => {
                let mut command = Command::new(GoProgram::Parents.path(context.dir())?);
                command.args([kind.to_owned(), port.to_string()]);
                command.arg(format!("127.0.0.1:{}", backend.port()));
                command
            }
        };
        let child = command
            .env("OTEL_SERVICE_NAME", &service)
            .stdin(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start the server {}", subject.name))?;
        let mut server = Self {
            subject,
            child,
            port,
            service,
        };
        let deadline = Instant::now() + Duration::from_secs(20) * context.patience;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            ensure!(
                server.child.try_wait()?.is_none() && Instant::now() < deadline,
                "the server {} does not listen",
                subject.name
            );
            thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// Asks it on all connections at the same time.
    fn load(&self) -> Result<()> {
        let port = self.port;
        let clients: Vec<_> = (0..self.subject.connections)
            .map(|connection| thread::spawn(move || Client::connect(port)?.ask(connection)))
            .collect();
        for client in clients {
            match client.join() {
                Ok(result) => result.with_context(|| format!("of {}", self.service))?,
                Err(_) => bail!("a client panicked"),
            }
        }
        Ok(())
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        // nginx has one process here; the others end with it or with their standard input.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An nginx of one process, which asks `backend`.
fn proxy(name: &str, dir: &Path, port: u16, backend: u16) -> Result<Command> {
    let dir = dir.join(name);
    std::fs::create_dir(&dir)?;
    let config = dir.join("nginx.conf");
    let path = dir.display();
    let text = format!(
        "daemon off;
master_process off;
user root root;
pid {path}/nginx.pid;
error_log {path}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {path}/body;
    proxy_temp_path {path}/proxy;
    fastcgi_temp_path {path}/fastcgi;
    uwsgi_temp_path {path}/uwsgi;
    scgi_temp_path {path}/scgi;
    keepalive_requests 1000000;
    upstream backend {{ server 127.0.0.1:{backend}; keepalive 4; }}
    server {{
        listen 127.0.0.1:{port};
        location /in/ {{
            proxy_pass http://backend/users/;
            proxy_http_version 1.1;
            proxy_set_header Connection '';
        }}
    }}
}}
"
    );
    std::fs::write(&config, text)?;
    let mut command = Command::new(named_copy("nginx", name, &dir)?);
    command.arg("-p").arg(&dir).arg("-c").arg(&config);
    command.arg("-e").arg(dir.join("error.log"));
    Ok(command)
}

/// One connection to a subject.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(port: u16) -> Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self(BufReader::new(stream)))
    }

    fn ask(mut self, connection: u64) -> Result<()> {
        for number in 0..FIRST + COUNTED {
            let id = Id::new(connection, number);
            let context = id.context().map_or(String::new(), |context| {
                let Sent { trace, span } = context;
                format!(
                    "traceparent: 00-{trace}-{span}-01\r\ntracestate: of={}\r\n",
                    id.name()
                )
            });
            let request = format!(
                "GET /in/{} HTTP/1.1\r\nHost: subject\r\n{context}\r\n",
                id.name()
            );
            self.0.get_mut().write_all(request.as_bytes())?;
            self.answer()?;
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn answer(&mut self) -> Result<()> {
        let mut length = 0;
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        ensure!(line.contains(" 200 "), "answered {line:?}");
        loop {
            line.clear();
            self.0.read_line(&mut line)?;
            let line = line.trim_ascii_end();
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').context("no field")?;
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse()?;
            }
        }
        self.0.read_exact(&mut vec![0; length])?;
        Ok(())
    }
}

/// A request's name, which is in the paths of both exchanges.
#[derive(Clone, Copy)]
struct Id {
    number: u64,
    counts: bool,
}

/// The context that a request brings along, in hexadecimal.
struct Sent {
    trace: String,
    span: String,
}

impl Id {
    fn new(connection: u64, number: u64) -> Self {
        Self {
            number: 100_000 + connection * 10_000 + number,
            counts: number >= FIRST,
        }
    }

    fn name(self) -> String {
        let kind = if self.counts { "c" } else { "f" };
        format!("{kind}{}", self.number)
    }

    /// Every other one has a context.
    fn context(self) -> Option<Sent> {
        self.number.is_multiple_of(2).then(|| Sent {
            trace: format!("{:032x}", u128::from(self.number) << 64 | 1),
            span: format!("{:016x}", self.number),
        })
    }
}

/// What became of the client spans of one subject.
#[derive(Default)]
struct Found {
    right: u64,
    none: u64,
    wrong: Vec<String>,
}

impl Found {
    /// An error as long as not all spans are here.
    fn of(requests: &[Value], server: &Server<'_>) -> Result<Self> {
        let mut of_servers = BTreeMap::new();
        let mut of_clients = BTreeMap::new();
        let resources = requests
            .iter()
            .flat_map(|request| items(request, "resource_spans"))
            .filter(|spans| is_of(&spans["resource"], &server.service));
        let spans = resources
            .flat_map(|spans| items(spans, "scope_spans"))
            .flat_map(|scope| items(scope, "spans"));
        for span in spans {
            let (name, into) = if span["kind"] == "SPAN_KIND_SERVER" {
                ("url.path", &mut of_servers)
            } else {
                ("url.full", &mut of_clients)
            };
            let path = attribute(span, name).with_context(|| format!("no {name}: {span}"))?;
            let id = path.rsplit('/').next().unwrap_or_default().to_owned();
            ensure!(into.insert(id, span).is_none(), "two spans of {path}");
        }
        let mut found = Self::default();
        for connection in 0..server.subject.connections {
            for number in 0..FIRST + COUNTED {
                let id = Id::new(connection, number);
                let name = id.name();
                let of_server = of_servers
                    .get(&name)
                    .with_context(|| format!("no server span of {name}"))?;
                let of_client = of_clients
                    .get(&name)
                    .with_context(|| format!("no client span of {name}"))?;
                check_context(of_server, id)?;
                found.add(of_server, of_client, id);
            }
        }
        Ok(found)
    }

    fn add(&mut self, of_server: &Value, of_client: &Value, id: Id) {
        let has_parent = of_client["parent_span_id"] != "";
        let is_right = of_client["parent_span_id"] == of_server["span_id"]
            && of_client["trace_id"] == of_server["trace_id"]
            && of_client["trace_state"] == of_server["trace_state"]
            && of_client["span_id"] != of_server["span_id"];
        if has_parent && !is_right {
            self.wrong.push(format!("{of_client} and {of_server}"));
        } else if id.counts {
            *(if has_parent {
                &mut self.right
            } else {
                &mut self.none
            }) += 1;
        }
    }
}

/// A server's span continues the trace that its request brought along.
fn check_context(span: &Value, id: Id) -> Result<()> {
    let Some(Sent {
        trace,
        span: parent,
    }) = id.context()
    else {
        ensure!(
            span["parent_span_id"] == "",
            "a parent from nowhere: {span}"
        );
        return Ok(());
    };
    let found = ["trace_id", "parent_span_id"].map(|field| hex(&span[field]));
    ensure!(
        found == [trace, parent] && span["trace_state"] == format!("of={}", id.name()),
        "not where the request put it: {span}"
    );
    Ok(())
}

/// base64 (RFC 4648 section 4) as hexadecimal.
fn hex(value: &Value) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let text = value.as_str().unwrap_or_default().trim_end_matches('=');
    let mut bits = 0_u32;
    let mut held = 0;
    let mut hex = String::new();
    for byte in text.bytes() {
        let digit = ALPHABET
            .iter()
            .position(|&other| other == byte)
            .unwrap_or(0);
        bits = bits << 6 | u32::try_from(digit).unwrap_or(0);
        held += 6;
        if held >= 8 {
            held -= 8;
            hex.push_str(&format!("{:02x}", bits >> held & 0xff));
        }
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read() {
        assert_eq!(hex(&"AAECAwQFBgc=".into()), "0001020304050607");
        assert_eq!(hex(&"/+8=".into()), "ffef");
    }
}
