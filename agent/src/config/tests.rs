use std::io::Write as _;

use super::*;
use crate::telemetry::flow_logs::Share;

fn load(text: &str, variables: &[(&str, &str)], flags: &Overrides) -> Result<Config, ConfigError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let env = |name: &str| {
        let found = variables.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    Config::load(Some(file.path()), env, flags)
}

fn from_file(text: &str) -> Result<Config, ConfigError> {
    load(text, &[], &Overrides::default())
}

#[test]
fn nothing_given_is_the_default() {
    for text in [
        "",
        "# only a comment\n",
        "---\n",
        "{}",
        "otlp:\n",
        "listen:\n",
    ] {
        let config = from_file(text).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:9464", "{text:?}");
        assert_eq!(config.memory_limit, 64 << 20);
        assert_eq!(config.tap, None);
        assert_eq!(config.profile_frequency, 100);
        let Capabilities {
            net,
            tls,
            profile,
            gpu,
        } = config.capabilities;
        assert!(net && tls && profile && gpu);
        assert!(config.otlp.is_off());
        assert_eq!(config.trace_contexts, None);
        assert_eq!(config.flow_interval, Duration::from_secs(10));
        assert!(config.flow_logs.is_empty());
    }
}

#[test]
fn trace_contexts_go_where_a_bpf_file_system_is() {
    let config = from_file("profile:\n  trace_contexts: /sys/fs/bpf\n").unwrap();
    assert_eq!(config.trace_contexts, Some("/sys/fs/bpf".into()));
}

/// The documented example holds the defaults, and every key that there is.
#[test]
fn the_example_is_the_default() {
    let example = include_str!("../../../deploy/config.yaml");
    let shown = format!("{:?}", from_file(example).unwrap());
    assert_eq!(shown, format!("{:?}", from_file("").unwrap()));
    for key in [
        "capabilities",
        "tap",
        "listen",
        "memory_limit",
        "http",
        "head_limit",
        "routes",
        "profile",
        "frequency",
        "trace_contexts",
        "flows",
        "logs",
        "slower_than",
        "sample",
    ] {
        assert!(example.contains(&format!("{key}:")), "{key}");
    }
    for key in ["endpoint", "headers", "interval", "timeout", "compression"] {
        assert!(example.contains(&format!("  {key}:")), "otlp.{key}");
    }
}

#[test]
fn every_key_has_an_effect() {
    let config = from_file(
        "capabilities:\n  - net\n  - gpu\ntap: kprobe\nlisten: '[::1]:1'\nmemory_limit: 1Gi\nhttp:\n  head_limit: 16KiB\n  routes:\n    - /users/{name}\n    - '/*'\nprofile:\n  frequency: 97\n  interval: 30s\n\
         otlp:\n  endpoint: http://collector:4317\n  headers:\n    api-key: secret\n    number: '007'\n  interval: 1m\n  timeout: 500ms\n  compression: gzip\n",
    )
    .unwrap();
    assert_eq!(
        config.capabilities,
        Capabilities {
            net: true,
            tls: false,
            profile: false,
            gpu: true
        }
    );
    assert_eq!(config.tap, Some(Tap::Kprobe));
    assert_eq!(config.listen.to_string(), "[::1]:1");
    assert_eq!(config.memory_limit, 1 << 30);
    assert_eq!(config.head_limit, 16 << 10);
    assert_eq!(config.routes.find("/users/ann"), Some("/users/{name}"));
    assert_eq!(config.routes.find("/x/y"), Some("/*"));
    assert_eq!(config.profile_frequency, 97);
    assert_eq!(config.profile_interval, Duration::from_secs(30));
    assert_eq!(config.otlp.interval, Duration::from_secs(60));
    let traces = config.otlp.traces.unwrap();
    assert_eq!(traces.endpoint.to_string(), "http://collector:4317/");
    assert_eq!(traces.timeout, Duration::from_millis(500));
    assert!(traces.gzip);
    let headers = [("api-key", "secret"), ("number", "007")];
    assert_eq!(
        traces.headers,
        headers.map(|(k, v)| (k.to_owned(), v.to_owned()))
    );
}

#[test]
fn flags_override_variables_which_override_the_file() {
    let text = "tap: kprobe\nlisten: 127.0.0.1:1\nmemory_limit: 32MiB\ncapabilities: [net]\notlp:\n  endpoint: http://file:1\n  interval: 5s\n";
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://variable:2"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "7000"),
    ];
    let endpoint = |config: &Config| config.otlp.traces.clone().unwrap().endpoint.to_string();
    let config = load(text, &variables, &Overrides::default()).unwrap();
    assert_eq!(endpoint(&config), "http://variable:2/");
    assert_eq!(config.otlp.interval, Duration::from_secs(7));
    assert_eq!(config.memory_limit, 32 << 20);
    let flags = Overrides {
        capabilities: Some(vec!["profile".into(), "gpu".into()]),
        tap: Some("auto".into()),
        listen: Some("localhost:3".into()),
        memory_limit: Some("65536KiB".into()),
        otlp_endpoint: Some("http://flag:3".into()),
    };
    let config = load(text, &variables, &flags).unwrap();
    assert_eq!(endpoint(&config), "http://flag:3/");
    assert_eq!(config.tap, None);
    assert_eq!(config.listen.to_string(), "127.0.0.1:3");
    assert_eq!(config.memory_limit, 64 << 20);
    assert!(!config.capabilities.net && config.capabilities.profile);
}

/// Addresses leave the node only where rules ask for it.
#[test]
fn records_of_flows_go_out_by_rules_and_not_without() {
    let endpoint = "otlp:\n  endpoint: http://collector:4317\n";
    let without = from_file(endpoint).unwrap();
    assert!(without.otlp.logs.is_none() && without.otlp.metrics.is_some());
    let config = from_file(&format!(
        "{endpoint}flows:\n  interval: 30s\n  logs:\n    - state: [failed, reset]\n      slower_than: 500ms\n      sample: 0.5\n    - process: nginx\n      port: [80, 443]\n      address: 10.0.0.0/8\n      pid: 7\n      failed: true\n    - sample: 0\n"
    ))
    .unwrap();
    assert!(config.otlp.logs.is_some());
    assert_eq!(config.flow_interval, Duration::from_secs(30));
    let [first, second, third] = &*config.flow_logs else {
        panic!("{:?}", config.flow_logs);
    };
    assert_eq!(first.filter.states.len(), 2);
    assert_eq!(first.filter.slower_than, Some(Duration::from_millis(500)));
    assert_eq!(first.share, Share::new(0.5).unwrap());
    assert_eq!(second.filter.processes, ["nginx"]);
    assert_eq!(second.filter.ports, [80, 443]);
    assert_eq!(second.filter.pids, [7]);
    assert_eq!(second.filter.addresses.len(), 1);
    assert!(second.filter.failed);
    assert_eq!(second.share, Share::ALL);
    assert_eq!(third.filter, Default::default());
    assert_eq!(third.share, Share::new(0.0).unwrap());
}

#[test]
fn there_are_only_so_many_rules() {
    let text = format!("flows:\n  logs:\n{}", "    - port: 1\n".repeat(65));
    let error = from_file(&text).unwrap_err();
    assert_eq!(error.place.unwrap().1, 67);
    assert_eq!(error.wrong, "there are more than 64");
}

/// Text, the line that is to be named, and the beginning of what is said of it.
const BAD: &[(&str, u64, &str)] = &[
    (
        "tap: auto\nlisten_on: x\n",
        2,
        "listen_on: there is no such key; accepted is one of capabilities, tap, listen, memory_limit, http, profile, flows, otlp",
    ),
    (
        "\n\notlp:\n  endpont: http://h:1\n",
        4,
        "otlp.endpont: there is no such key; accepted is one of endpoint",
    ),
    (
        "profile:\n  frequency: 0\n",
        2,
        "profile.frequency: \"0\" is no such number",
    ),
    (
        "profile:\n  trace_contexts: off\n",
        2,
        "profile.trace_contexts: \"false\" is neither; accepted is none, or where a BPF",
    ),
    (
        "profile: 100\n",
        1,
        "profile: \"100\" where keys should be; accepted is one of frequency, interval",
    ),
    (
        "tap: [fentry]\n",
        1,
        "tap: a list where one value should be; accepted is auto",
    ),
    (
        "tap: ebpf\n",
        1,
        "tap: there is no tap \"ebpf\"; accepted is auto, raw-tracepoint, fentry",
    ),
    (
        "listen: 9464\n",
        1,
        "listen: \"9464\" is no address with a port; accepted is ADDRESS:PORT",
    ),
    (
        "memory_limit: 1MiB\n",
        1,
        "memory_limit: \"1MiB\" is too little",
    ),
    (
        "memory_limit: 64MB\n",
        1,
        "memory_limit: \"64MB\" is no size",
    ),
    ("memory_limit: -5\n", 1, "memory_limit: \"-5\" is no size"),
    (
        "memory_limit: 99999999999999999999TiB\n",
        1,
        "memory_limit: ",
    ),
    (
        "http:\n  route: [/a]\n",
        2,
        "http.route: there is no such key; accepted is one of head_limit, routes",
    ),
    (
        "http:\n  head_limit: 1MiB\n",
        2,
        "http.head_limit: \"1MiB\" is out of range; accepted is a size from 1KiB to 32KiB, such as 8KiB",
    ),
    (
        "http:\n  head_limit: long\n",
        2,
        "http.head_limit: \"long\" is no size",
    ),
    (
        "http:\n  routes: /a\n",
        2,
        "http.routes: \"/a\" where a list should be; accepted is a list of at most 256 paths with placeholders, such as /users/{name}",
    ),
    (
        "http:\n  routes:\n    - /a\n    - users/{id}\n",
        4,
        "http.routes: \"users/{id}\" does not start with a slash; accepted is a list of",
    ),
    (
        "http:\n  routes:\n    - /a?b\n",
        3,
        "http.routes: \"/a?b\" has '?', which no path has",
    ),
    (
        "http:\n  routes:\n    - /a/{b}\n    - /c\n    - /a/{b}\n",
        5,
        "http.routes: \"/a/{b}\" is there twice",
    ),
    (
        "http:\n  routes:\n    - /a\n    - 7\n",
        4,
        "http.routes: \"7\" where a pattern should be",
    ),
    (
        "http:\n  routes: [\"/a/*/b\"]\n",
        2,
        "http.routes: \"/a/*/b\" has a star that is not its last segment",
    ),
    (
        "capabilities: [tls, gpu]\n",
        1,
        "capabilities: tls is there without net, which it is a part of",
    ),
    (
        "capabilities:\n  - net\n  - cpu\n",
        3,
        "capabilities: there is no capability \"cpu\"",
    ),
    (
        "capabilities: []\n",
        1,
        "capabilities: nothing would be watched",
    ),
    (
        "capabilities:\n  net: true\n",
        2,
        "capabilities: a mapping where a list should be",
    ),
    (
        "otlp:\n  interval: 10\n",
        2,
        "otlp.interval: \"10\" is no such time; accepted is a time",
    ),
    (
        "otlp:\n  endpoint: ftp://h\n",
        2,
        "otlp.endpoint: \"ftp://h\" has the scheme \"ftp\"; accepted is http://",
    ),
    (
        "otlp:\n  endpoint: http://h:4318/v1/traces\n",
        2,
        "otlp.endpoint: ",
    ),
    (
        "otlp:\n  compression: zip\n",
        2,
        "otlp.compression: there is no compression \"zip\"",
    ),
    (
        "otlp:\n  endpoint: http://h:1\n  headers: secret\n",
        3,
        "otlp.headers: is no mapping",
    ),
    (
        "otlp:\n  headers:\n    a: 007\n",
        3,
        "otlp.headers.a: the value is no text; accepted is text, in quotes",
    ),
    (
        "otlp:\n  headers:\n    a: [secret]\n",
        3,
        "otlp.headers.a: the value is no text",
    ),
    (
        "otlp:\n  endpoint: http://h:1\n  headers:\n    a b: secret\n",
        4,
        "otlp.headers: \"a b\" is no header name",
    ),
    (
        "flows:\n  interval: 10ms\n",
        2,
        "flows.interval: \"10ms\" is too short; accepted is a time from 1s to 24h",
    ),
    (
        "flows:\n  logs: all\n",
        2,
        "flows.logs: \"all\" where a list should be; accepted is a list of at most 64 rules",
    ),
    (
        "flows:\n  logs:\n    - states: [reset]\n",
        3,
        "flows.logs.states: there is no such key; accepted is one of pid, process, port, address, state, slower_than, failed, sample",
    ),
    (
        "flows:\n  logs:\n    - reset\n",
        3,
        "flows.logs: \"reset\" where keys should be; accepted is one of pid",
    ),
    (
        "flows:\n  logs:\n    - state:\n        - reset\n        - shut\n",
        5,
        "flows.logs.state: there is no state \"shut\"; accepted is open, closed, failed",
    ),
    (
        "flows:\n  logs:\n    - port: [80, http]\n",
        3,
        "flows.logs.port: \"http\" is no port; accepted is a number from 1 to 65535",
    ),
    (
        "flows:\n  logs:\n    - port: []\n",
        3,
        "flows.logs.port: the list is empty; accepted is at least one value",
    ),
    (
        "flows:\n  logs:\n    - address: 10.0.0.0/40\n",
        3,
        "flows.logs.address: \"10.0.0.0/40\" is no address",
    ),
    (
        "flows:\n  logs:\n    - slower_than: soon\n",
        3,
        "flows.logs.slower_than: \"soon\" is no such time",
    ),
    (
        "flows:\n  logs:\n    - failed: maybe\n",
        3,
        "flows.logs.failed: \"maybe\" is neither; accepted is true or false",
    ),
    (
        "flows:\n  logs:\n    - state: reset\n      sample: 2\n",
        4,
        "flows.logs.sample: \"2\" is no share; accepted is a number from 0 to 1",
    ),
    ("tap: auto\ntap: fentry\n", 2, ""),
    ("tap: auto\n  listen: x\n", 2, ""),
    ("tap: 'auto\n", 2, ""),
    ("- tap\n", 1, "a list where keys should be"),
    ("just words\n", 1, "\"just words\" where keys should be"),
];

#[test]
fn what_is_wrong_is_one_line_with_file_line_and_key() {
    for (text, line, message) in BAD {
        let error = from_file(text).expect_err(text);
        let (path, found) = error.place.clone().unwrap_or_else(|| panic!("{error}"));
        let shown = error.to_string();
        assert_eq!(found, *line, "{text:?}: {shown}");
        let start = format!("{}:{line}: {message}", path.display());
        assert!(shown.starts_with(&start), "{shown}\nis not\n{start}");
        assert!(
            !shown.contains('\n') && !shown.contains("secret"),
            "{shown}"
        );
    }
}

#[test]
fn there_are_only_so_many_routes() {
    use std::fmt::Write as _;
    let mut text = "http:\n  routes:\n".to_owned();
    for number in 0..256 {
        writeln!(text, "    - /r{number}").unwrap();
    }
    assert_eq!(from_file(&text).unwrap().routes.len(), 256);
    text.push_str("    - /one-more\n");
    let error = from_file(&text).unwrap_err();
    assert_eq!(error.place.unwrap().1, 259);
    assert_eq!(error.wrong, "there are more than 256");
}

#[test]
fn bad_flags_and_variables_are_named() {
    let flags = |change: fn(&mut Overrides)| {
        let mut flags = Overrides::default();
        change(&mut flags);
        load("", &[], &flags).unwrap_err().to_string()
    };
    let line = flags(|flags| flags.tap = Some("x".into()));
    assert!(
        line.starts_with("--tap: there is no tap \"x\"; accepted is auto"),
        "{line}"
    );
    let line = flags(|flags| flags.listen = Some("x".into()));
    assert!(line.starts_with("--listen: "), "{line}");
    let line = flags(|flags| flags.memory_limit = Some("x".into()));
    assert!(line.starts_with("--memory-limit: "), "{line}");
    let line = flags(|flags| flags.capabilities = Some(vec!["x".into()]));
    assert!(line.starts_with("--capabilities: "), "{line}");
    let line = flags(|flags| flags.otlp_endpoint = Some("x://y".into()));
    assert!(line.starts_with("--otlp-endpoint: "), "{line}");
    let variable = [("OTEL_METRIC_EXPORT_INTERVAL", "soon")];
    let line = load("", &variable, &Overrides::default())
        .unwrap_err()
        .to_string();
    assert!(
        line.starts_with("OTEL_METRIC_EXPORT_INTERVAL: \"soon\" is no such number"),
        "{line}"
    );
}

#[test]
fn a_file_that_is_not_there_or_no_text_is_said() {
    let none = |_: &str| None;
    let path = Path::new("/nonexistent/config.yaml");
    let error = Config::load(Some(path), none, &Overrides::default()).unwrap_err();
    let line = error.to_string();
    assert!(
        line.starts_with("/nonexistent/config.yaml: can't be read: "),
        "{line}"
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"tap: auto\nlisten: \xff\n").unwrap();
    let error = Config::load(Some(file.path()), none, &Overrides::default()).unwrap_err();
    assert_eq!(error.place.unwrap().1, 2);
}
