//! Whose request a sample was taken for, against servers whose functions say so: the samples of `burn_alpha` belong to spans of
//! `/alpha/…`, and to nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::otlp::{Dictionary, attribute, is_of, items, number, until_it_holds};
use crate::{
    agent::Agent,
    context::{Context, free_port},
    receiver::Receiver,
    subjects::{GoProgram, process::Running},
};

/// For how long each server is kept busy.
const BUSY: Duration = Duration::from_secs(8);

/// Connections; there are fewer CPUs, so that requests are under way at the same time and take turns.
const CONNECTIONS: usize = 6;

/// Of a hundred samples that name a span, so many must name the right one.
const RIGHT: f64 = 99.0;

/// So many samples must there be, and so many of one route in the shorter time in which that alone is looked at.
const LEAST: u64 = 100;
const LEAST_ROUTED: u64 = 30;

/// A server under test.
struct Subject {
    name: &'static str,
    /// What its two routes run.
    functions: [&'static str; 2],
    program: Program,
    /// Of a hundred samples of the two, so many must name a span: what runs when a profile goes out has none yet; of Go's, nor has what was asked before the
    /// process was known to be Go's, or where the goroutine that waits for the connection's end has read the first byte.
    linked: f64,
}

#[derive(Clone, Copy)]
enum Program {
    /// `tests/programs/joined_server.c`: a thread for each connection.
    Threads,
    /// `tests/subjects/joined_go.go`: goroutines on threads that all share.
    Go,
}

/// The routes, in the order of a subject's functions.
const ROUTES: [&str; 2] = ["/alpha/", "/beta/"];

const SUBJECTS: [Subject; 2] = [
    Subject {
        name: "threads",
        functions: ["burn_alpha", "burn_beta"],
        program: Program::Threads,
        linked: 85.0,
    },
    Subject {
        name: "go",
        functions: ["main.burnAlpha", "main.burnBeta"],
        program: Program::Go,
        linked: 60.0,
    },
];

pub fn run(context: &mut Context) -> Result<()> {
    let receiver = Receiver::start(context.dir())?;
    let servers = SUBJECTS
        .iter()
        .map(|subject| Server::start(subject, context))
        .collect::<Result<Vec<_>>>()?;
    let config = context.dir().join("joined.yaml");
    std::fs::write(&config, "profile:\n  interval: 1s\notlp:\n  interval: 1s\n")?;
    let config = config.to_string_lossy().into_owned();
    let agent = Agent::start(
        context,
        &["--config", &config, "--otlp-endpoint", &receiver.endpoint()],
    )?;
    let mut faults = Vec::new();
    for server in &servers {
        let asked = server.load()?;
        // Every span has arrived; the profiles of the same time are not later.
        until_it_holds(|| {
            let spans = spans(
                &receiver.requests_with("traces", &server.service)?,
                &server.service,
            )?;
            ensure!(
                spans.len() == asked,
                "{asked} requests, {} spans",
                spans.len()
            );
            Ok(())
        })?;
        thread::sleep(Duration::from_secs(3));
        let found = Found::of(&receiver, server)?;
        let name = server.subject.name;
        context.fact(name, found.facts(asked));
        faults.extend(
            found
                .faults(server.subject)
                .map(|fault| format!("{name}: {fault}")),
        );
    }
    agent.stop()?;
    for server in &servers {
        let name = server.subject.name;
        faults.extend(
            routed(context, server)?
                .into_iter()
                .map(|fault| format!("{name}, --route: {fault}")),
        );
    }
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

/// Has both routes asked for and one of them profiled: what is shown is that route's function alone.
fn routed(context: &mut Context, server: &Server) -> Result<Option<String>> {
    let folded = thread::scope(|scope| {
        let load = scope.spawn(|| server.load());
        // What is under way when sockets begin to be watched is not known.
        thread::sleep(BUSY / 8);
        let shown = Command::new(&context.fathom)
            .args(["profile", "--route", &format!("GET {}{{id}}", ROUTES[0])])
            .args(["-d", "4", "--format", "folded", "-o", "-"])
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .context("cannot start fathom profile")?;
        ensure!(
            shown.status.success(),
            "fathom profile ended with {}",
            shown.status
        );
        match load.join() {
            Ok(asked) => asked?,
            Err(_) => bail!("a client panicked"),
        };
        Ok(shown.stdout)
    })?;
    let mut samples = [0_u64; 2];
    for line in String::from_utf8_lossy(&folded).lines() {
        let (stack, count) = line
            .rsplit_once(' ')
            .with_context(|| format!("not a folded stack: {line}"))?;
        let at = (0..2).find(|&at| {
            stack
                .split(';')
                .any(|frame| frame == server.subject.functions[at])
        });
        if let Some(at) = at {
            samples[at] += count.parse::<u64>()?;
        }
    }
    let [right, wrong] = samples;
    context.fact(
        &format!("{}_routed", server.subject.name),
        json!({ "right": right, "wrong": wrong }),
    );
    let is_right = right >= LEAST_ROUTED && percent(right, right + wrong) >= RIGHT;
    Ok((!is_right).then(|| {
        format!("{right} samples in its function, {wrong} in the other route's; at least {LEAST_ROUTED} are needed")
    }))
}

/// A running subject.
struct Server {
    subject: &'static Subject,
    port: u16,
    service: String,
    _running: Running,
}

impl Server {
    fn start(subject: &'static Subject, context: &Context) -> Result<Self> {
        let port = free_port()?;
        let service = format!("joined-{}-{port}", subject.name);
        let program = match subject.program {
            Program::Threads => context.programs.join("joined_server"),
            Program::Go => GoProgram::Joined.path(&context.programs)?,
        };
        let mut command = Command::new(program);
        command
            .arg(port.to_string())
            .env("OTEL_SERVICE_NAME", &service)
            .stdin(Stdio::piped());
        let mut running = Running::start(command)?;
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if running.ended()?.is_some() || Instant::now() > deadline {
                bail!("the server {} does not listen", subject.name);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(Self {
            subject,
            port,
            service,
            _running: running,
        })
    }

    /// Asks on all connections at the same time, for both routes in turn; says how often.
    fn load(&self) -> Result<usize> {
        let port = self.port;
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|connection| thread::spawn(move || ask(port, connection)))
            .collect();
        let mut asked = 0;
        for client in clients {
            match client.join() {
                Ok(count) => asked += count.with_context(|| format!("of {}", self.service))?,
                Err(_) => bail!("a client panicked"),
            }
        }
        Ok(asked)
    }
}

fn ask(port: u16, connection: usize) -> Result<usize> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let begun = Instant::now();
    let mut asked = 0;
    let mut answer = Vec::new();
    while begun.elapsed() < BUSY {
        // Connections start with different routes.
        let route = ROUTES[(connection + asked) % ROUTES.len()];
        write!(
            stream,
            "GET {route}{asked} HTTP/1.1\r\nHost: subject\r\n\r\n"
        )?;
        answer.clear();
        while !answer.ends_with(b"\r\n\r\nok") {
            let mut bytes = [0; 1024];
            let got = stream.read(&mut bytes)?;
            ensure!(got > 0, "the server has closed a connection");
            answer.extend_from_slice(&bytes[..got]);
        }
        asked += 1;
    }
    Ok(asked)
}

/// The paths of a service's server spans, by trace and span id.
fn spans(requests: &[Value], service: &str) -> Result<BTreeMap<(String, String), String>> {
    let mut paths = BTreeMap::new();
    let resources = requests
        .iter()
        .flat_map(|request| items(request, "resource_spans"));
    for resource in resources.filter(|spans| is_of(&spans["resource"], service)) {
        let spans = items(resource, "scope_spans").flat_map(|scope| items(scope, "spans"));
        for span in spans.filter(|span| span["kind"] == "SPAN_KIND_SERVER") {
            let path = attribute(span, "url.path").context("a span without url.path")?;
            paths.insert((id(&span["trace_id"]), id(&span["span_id"])), path);
        }
    }
    Ok(paths)
}

fn id(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What a subject's samples say.
#[derive(Default)]
struct Found {
    /// Samples in either function.
    samples: u64,
    /// Of them: with a link.
    linked: u64,
    /// Of these: to a span of the function's route.
    right: u64,
    /// To a span that was not exported.
    unknown: u64,
    /// To one of another route, some of them.
    wrong: BTreeSet<String>,
    /// Samples of anything else of the process, and how many of those have a link.
    others: [u64; 2],
}

impl Found {
    fn of(receiver: &Receiver, server: &Server) -> Result<Self> {
        let service = &server.service;
        let spans = spans(&receiver.requests_with("traces", service)?, service)?;
        let mut found = Self::default();
        for request in receiver.requests_with("profiles", service)? {
            let dictionary = Dictionary(&request["dictionary"]);
            let resources = items(&request, "resource_profiles")
                .filter(|resource| is_of(&resource["resource"], service));
            let profiles = resources
                .flat_map(|resource| items(resource, "scope_profiles"))
                .flat_map(|scope| items(scope, "profiles"));
            for sample in profiles.flat_map(|profile| items(profile, "samples")) {
                found.add(&dictionary, sample, &spans, server.subject)?;
            }
        }
        Ok(found)
    }

    fn add(
        &mut self,
        dictionary: &Dictionary<'_>,
        sample: &Value,
        spans: &BTreeMap<(String, String), String>,
        subject: &Subject,
    ) -> Result<()> {
        let count: u64 = items(sample, "values").map(number).sum();
        let is_linked = number(&sample["link_index"]) != 0;
        let names = names(dictionary, sample)?;
        let at = subject
            .functions
            .iter()
            .position(|function| names.iter().any(|name| name == function));
        let Some(at) = at else {
            self.others[usize::from(is_linked)] += count;
            return Ok(());
        };
        self.samples += count;
        if !is_linked {
            return Ok(());
        }
        self.linked += count;
        let link = dictionary.entry("link_table", &sample["link_index"])?;
        match spans.get(&(id(&link["trace_id"]), id(&link["span_id"]))) {
            Some(path) if path.starts_with(ROUTES[at]) => self.right += count,
            Some(path) => {
                self.wrong
                    .insert(format!("{} for {path}", subject.functions[at]));
            }
            None => self.unknown += count,
        }
        Ok(())
    }

    fn faults(&self, subject: &Subject) -> impl Iterator<Item = String> {
        let few = (self.samples < LEAST)
            .then(|| format!("{} samples, at least {LEAST} are needed", self.samples));
        let wrong = (self.linked > 0 && percent(self.right, self.linked) < RIGHT).then(|| {
            format!(
                "{} of {} samples that name a span name the right one; {} name one that was not exported, and there is {:?}",
                self.right,
                self.linked,
                self.unknown,
                self.wrong.first()
            )
        });
        let bare = (percent(self.linked, self.samples) < subject.linked)
            .then(|| format!("{} of {} samples name a span", self.linked, self.samples));
        few.into_iter().chain(wrong).chain(bare)
    }

    fn facts(&self, asked: usize) -> Value {
        let rounded = |value: f64| (value * 10.0).round() / 10.0;
        json!({
            "requests": asked,
            "samples": self.samples,
            "linked_percent": rounded(percent(self.linked, self.samples)),
            "right_percent": rounded(percent(self.right, self.linked)),
            "not_exported": self.unknown,
            "others": self.others[0],
            "others_linked": self.others[1],
        })
    }
}

/// The functions of a sample's stack.
fn names(dictionary: &Dictionary<'_>, sample: &Value) -> Result<Vec<String>> {
    let stack = dictionary.entry("stack_table", &sample["stack_index"])?;
    let mut names = Vec::new();
    for index in items(stack, "location_indices") {
        let location = dictionary.entry("location_table", index)?;
        for line in items(location, "lines") {
            let function = dictionary.entry("function_table", &line["function_index"])?;
            names.push(id(
                dictionary.entry("string_table", &function["name_strindex"])?
            ));
        }
    }
    Ok(names)
}

fn percent(part: u64, whole: u64) -> f64 {
    let number = |count: u64| u32::try_from(count).map_or(f64::INFINITY, f64::from);
    number(part) * 100.0 / number(whole).max(1.0)
}
