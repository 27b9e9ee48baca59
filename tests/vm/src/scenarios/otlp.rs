//! The whole way: nginx under wrk on this kernel, and what of it arrives in an OTLP receiver.

mod logs;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{
    agent::Agent,
    context::Context,
    metrics::Metrics,
    nginx::{Answer, Nginx, SECRET},
    receiver::Receiver,
    wrk::Wrk,
};

/// Requests whose spans must all arrive; two for each fit into the queue at once, however slow the receiver is.
const COUNTED: u64 = 900;

/// Keep-alive connections.
const CONNECTIONS: u64 = 16;

/// For how long nginx is kept busy for its stacks.
const BUSY: Duration = Duration::from_secs(4);

/// For how long what was sent may take to arrive.
const LIMIT: Duration = Duration::from_secs(30);

pub fn run(context: &mut Context) -> Result<()> {
    let receiver = Receiver::start(context.dir())?;
    let nginx = Nginx::start(context)?;
    nginx.forget()?;
    let config = context.dir().join("otlp.yaml");
    fs::write(
        &config,
        "profile:\n  interval: 1s\nflows:\n  logs:\n    - address: 127.0.0.77\n      state: [closed, failed]\notlp:\n  interval: 1s\n",
    )?;
    let config = config.to_string_lossy().into_owned();
    let agent = Agent::start(
        context,
        &["--config", &config, "--otlp-endpoint", &receiver.endpoint()],
    )?;

    let mut wrk = Wrk::start(context, &nginx, CONNECTIONS, Some(COUNTED))?;
    wrk.wait_for(&nginx, COUNTED, LIMIT)?;
    let truth = nginx.answers()?;
    until_it_holds(|| {
        let requests = receiver.requests("traces")?;
        same(
            &truth,
            &spans(&requests, "SPAN_KIND_SERVER", nginx.name(), "http.route")?,
        )?;
        same(
            &truth,
            &spans(&requests, "SPAN_KIND_CLIENT", wrk.name(), "url.template")?,
        )
    })?;
    until_it_holds(|| {
        let requests = receiver.requests("metrics")?;
        let last = requests.last().context("no metrics yet")?;
        let counted = points(last, "http.server.request.duration", nginx.name(), "count");
        ensure!(counted == COUNTED, "{counted} requests in the histogram");
        let connections = points(last, "fathom.tcp.connections", nginx.name(), "as_int");
        let theirs = points(last, "fathom.tcp.connections", wrk.name(), "as_int");
        // nginx was there before the agent: who accepted a connection is known when it is first read, and those that wrk has
        // opened for what it will never ask are not.
        ensure!(
            connections >= CONNECTIONS
                && (connections..=connections + CONNECTIONS).contains(&theirs),
            "{connections} connections of nginx, {theirs} of wrk"
        );
        Ok(())
    })?;
    let metrics = agent.metrics()?;
    // Neither its answers to scrapes nor its exports.
    let of_fathom = |line: &&str| {
        (line.starts_with("http_") || line.starts_with("fathom_tcp_"))
            && line.contains("service_name=\"fathom\"")
    };
    ensure!(
        !metrics.text().lines().any(|line| of_fathom(&line)),
        "fathom reports its own connections"
    );
    ensure!(
        lost(&metrics, "spans") == 0 && lost(&metrics, "metrics") == 0,
        "the exporter lost something of little"
    );
    wrk.stop()?;

    logs::compare(&receiver, &agent)?;

    // More than the receiver can take: what is lost is counted, and profiles have a way of their own.
    let wrk = Wrk::start(context, &nginx, CONNECTIONS, None)?;
    thread::sleep(BUSY);
    wrk.stop()?;
    let profiles = until_it_holds(|| {
        let profiles = Profiles::of(&receiver.requests("profiles")?)?;
        let nginx = profiles.by_service.get(nginx.name());
        let nginx = nginx.context("no profile of nginx")?;
        ensure!(nginx.samples >= 20, "{} samples of nginx", nginx.samples);
        for place in ["kernel", "native"] {
            ensure!(
                nginx.named.contains(place),
                "no function of nginx's stacks has a name in {place} code"
            );
        }
        Ok(profiles)
    })?;
    // A slow receiver takes its time with what waits in the queue.
    until_it_holds(|| {
        let metrics = &agent.metrics()?;
        let received = metrics.count("fathom_export_received_total", &[("signal", "spans")]);
        let exchanges = [("stage", "aggregator"), ("signal", "exchanges")];
        let made = metrics.count("fathom_events_total", &exchanges);
        ensure!(
            received == made,
            "{made} exchanges, {received} spans given to the exporter"
        );
        let ended = delivered(metrics, "spans") + lost(metrics, "spans");
        // The spans of these very scrapes wait for more to be sent with.
        ensure!(
            (ended..ended + 64).contains(&received),
            "{received} spans given to the exporter, {ended} accounted for"
        );
        ensure!(
            lost(metrics, "profiles") == 0,
            "profiles were lost to a flood of spans"
        );
        Ok(())
    })?;
    let metrics = agent.metrics()?;
    context.fact("spans", COUNTED * 2);
    context.fact("samples", profiles.samples());
    context.fact("services_profiled", profiles.by_service.len());
    context.fact("spans_lost_to_the_flood", lost(&metrics, "spans"));
    agent.stop()?;
    let all = Profiles::of(&receiver.requests("profiles")?)?;
    ensure!(
        all.samples() >= profiles.samples(),
        "the last profiles went missing at the end"
    );
    ensure!(
        !receiver.text()?.contains(SECRET),
        "a query string went out over OTLP"
    );
    Ok(())
}

/// Asks again and again until there is no error, or the time is up.
pub(super) fn until_it_holds<T>(mut holds: impl FnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + LIMIT;
    loop {
        match holds() {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => thread::sleep(Duration::from_millis(300)),
        }
    }
}

fn delivered(metrics: &Metrics, signal: &str) -> u64 {
    of_exporter(metrics, signal, &[("outcome", "delivered")])
}

fn lost(metrics: &Metrics, signal: &str) -> u64 {
    of_exporter(metrics, signal, &[]) - delivered(metrics, signal)
}

fn of_exporter(metrics: &Metrics, signal: &str, outcome: &[(&str, &str)]) -> u64 {
    let labels = [&[("stage", "exporter"), ("signal", signal)], outcome].concat();
    metrics.count("fathom_events_total", &labels)
}

fn same(truth: &BTreeMap<Answer, u64>, seen: &BTreeMap<Answer, u64>) -> Result<()> {
    ensure!(truth == seen, "logged {truth:?}, received {seen:?}");
    Ok(())
}

/// Items of a repeated field.
pub(super) fn items<'a>(of: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    of[field].as_array().into_iter().flatten()
}

/// An attribute's value as text.
pub(super) fn attribute(of: &Value, key: &str) -> Option<String> {
    let attribute = items(of, "attributes").find(|attribute| attribute["key"] == key)?;
    let value = attribute["value"].as_object()?.values().next()?;
    Some(
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned),
    )
}

pub(super) fn is_of(resource: &Value, service: &str) -> bool {
    attribute(resource, "service.name").as_deref() == Some(service)
}

/// A number, which JSON has as text where it has 64 bits.
pub(super) fn number(value: &Value) -> u64 {
    let text = value.as_str().map(str::to_owned);
    text.unwrap_or_else(|| value.to_string())
        .parse()
        .unwrap_or(0)
}

/// The spans of one kind and service, by method, route and status; `route` is the attribute that names it.
fn spans(
    requests: &[Value],
    kind: &str,
    service: &str,
    route: &str,
) -> Result<BTreeMap<Answer, u64>> {
    let mut answers = BTreeMap::new();
    let mut ids = BTreeSet::new();
    let resources = requests
        .iter()
        .flat_map(|request| items(request, "resource_spans"));
    for of_resource in resources.filter(|spans| is_of(&spans["resource"], service)) {
        let spans = items(of_resource, "scope_spans").flat_map(|scope| items(scope, "spans"));
        for span in spans.filter(|span| span["kind"] == kind) {
            let attribute = |key: &str| {
                attribute(span, key).with_context(|| format!("a span without {key}: {span}"))
            };
            let answer = (
                attribute("http.request.method")?,
                attribute(route)?,
                attribute("http.response.status_code")?.parse()?,
            );
            *answers.entry(answer).or_insert(0) += 1;
            // base64 of 16 and of 8 bytes.
            let id = |field: &str| span[field].as_str().unwrap_or_default().to_owned();
            ensure!(
                id("trace_id").len() == 24 && id("span_id").len() == 12,
                "a span without ids: {span}"
            );
            ensure!(ids.insert(id("span_id")), "two spans have one id: {span}");
        }
    }
    Ok(answers)
}

/// The sum of a field over a metric's points of one service.
fn points(request: &Value, metric: &str, service: &str, field: &str) -> u64 {
    items(request, "resource_metrics")
        .filter(|metrics| is_of(&metrics["resource"], service))
        .flat_map(|metrics| items(metrics, "scope_metrics"))
        .flat_map(|scope| items(scope, "metrics"))
        .filter(|found| found["name"] == metric)
        .flat_map(|found| {
            let data = found.get("histogram").or_else(|| found.get("sum"));
            data.into_iter().flat_map(|data| items(data, "data_points"))
        })
        .map(|point| number(&point[field]))
        .sum()
}

/// What the profiles say, by service.
#[derive(Default)]
struct Profiles {
    by_service: BTreeMap<String, OfService>,
}

#[derive(Default)]
struct OfService {
    samples: u64,
    /// The kinds of frames that have a function with a name.
    named: BTreeSet<String>,
}

impl Profiles {
    fn of(requests: &[Value]) -> Result<Self> {
        let mut profiles = Self::default();
        for request in requests {
            let dictionary = Dictionary(&request["dictionary"]);
            for of_resource in items(request, "resource_profiles") {
                let service = attribute(&of_resource["resource"], "service.name");
                let service = service.context("a profile without a service")?;
                let into = profiles.by_service.entry(service).or_default();
                let scopes = items(of_resource, "scope_profiles");
                let found = scopes.flat_map(|scope| items(scope, "profiles"));
                for sample in found.flat_map(|profile| items(profile, "samples")) {
                    into.samples += items(sample, "values").map(number).sum::<u64>();
                    dictionary.name_kinds(sample, &mut into.named)?;
                }
            }
        }
        Ok(profiles)
    }

    fn samples(&self) -> u64 {
        self.by_service
            .values()
            .map(|service| service.samples)
            .sum()
    }
}

/// What samples point into.
pub(super) struct Dictionary<'a>(pub(super) &'a Value);

impl<'a> Dictionary<'a> {
    /// The entry of `table` that an index names.
    pub(super) fn entry(&self, table: &str, index: &Value) -> Result<&'a Value> {
        let index = usize::try_from(number(index))?;
        self.0[table]
            .get(index)
            .with_context(|| format!("{table} has no {index}"))
    }

    /// Adds the kinds of those of a sample's frames that have a name.
    fn name_kinds(&self, sample: &Value, into: &mut BTreeSet<String>) -> Result<()> {
        let stack = self.entry("stack_table", &sample["stack_index"])?;
        for index in items(stack, "location_indices") {
            let location = self.entry("location_table", index)?;
            let Some(line) = items(location, "lines").next() else {
                continue;
            };
            let function = self.entry("function_table", &line["function_index"])?;
            let name = self.entry("string_table", &function["name_strindex"])?;
            ensure!(name != "", "a function without a name");
            for index in items(location, "attribute_indices") {
                let attribute = self.entry("attribute_table", index)?;
                let key = self.entry("string_table", &attribute["key_strindex"])?;
                if key == "profile.frame.type" {
                    let kind = attribute["value"]["string_value"].as_str();
                    into.insert(kind.unwrap_or_default().to_owned());
                }
            }
        }
        Ok(())
    }
}
