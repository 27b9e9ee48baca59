use super::*;

fn resolve(given: &Given, variables: &[(&str, &str)]) -> Result<Settings, BadSetting> {
    let env = |name: &str| {
        let found = variables.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    Settings::resolve(given, env, "node-1")
}

fn endpoints(given: &Given, variables: &[(&str, &str)]) -> [Option<String>; 3] {
    let settings = resolve(given, variables).expect("good settings");
    [settings.metrics, settings.traces, settings.profiles]
        .map(|target| target.map(|target| target.endpoint.to_string()))
}

fn all(endpoint: &str) -> [Option<String>; 3] {
    [(); 3].map(|()| Some(endpoint.to_owned()))
}

#[test]
fn without_an_endpoint_nothing_is_exported() {
    let settings = resolve(&Given::default(), &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]);
    assert!(settings.unwrap().is_off());
}

#[test]
fn flags_override_variables_which_override_the_file() {
    let file = Given {
        endpoint: Some("http://file:4317".into()),
        ..Given::default()
    };
    assert_eq!(endpoints(&file, &[]), all("http://file:4317/"));
    let variable = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://variable:4317")];
    assert_eq!(endpoints(&file, &variable), all("http://variable:4317/"));
    let flag = Given {
        endpoint_flag: Some("http://flag:4317".into()),
        ..file
    };
    assert_eq!(endpoints(&flag, &variable), all("http://flag:4317/"));
}

#[test]
fn a_signal_can_have_its_own_endpoint_or_none() {
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4317"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces:4317"),
        ("OTEL_METRICS_EXPORTER", "prometheus"),
        ("OTEL_PROFILES_EXPORTER", "otlp"),
    ];
    assert_eq!(
        endpoints(&Given::default(), &variables),
        [
            None,
            Some("https://traces:4317/".into()),
            Some("http://all:4317/".into())
        ]
    );
    let off = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4317"),
        ("OTEL_SDK_DISABLED", "TRUE"),
    ];
    assert!(resolve(&Given::default(), &off).unwrap().is_off());
}

#[test]
fn an_address_without_a_scheme_is_secure_unless_told_otherwise() {
    let bare = ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317");
    assert_eq!(
        endpoints(&Given::default(), &[bare]),
        all("https://collector:4317/")
    );
    let insecure = ("OTEL_EXPORTER_OTLP_INSECURE", "true");
    assert_eq!(
        endpoints(&Given::default(), &[bare, insecure]),
        all("http://collector:4317/")
    );
}

#[test]
fn headers_are_percent_decoded_and_never_printed() {
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4317"),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            " api-key = s%3Dc%2Cret , tenant=1",
        ),
    ];
    let settings = resolve(&Given::default(), &variables).unwrap();
    let target = settings.traces.unwrap();
    let expected = [("api-key", "s=c,ret"), ("tenant", "1")];
    let headers: Vec<_> = target
        .headers
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    assert_eq!(headers, expected);
    assert!(!format!("{target:?}").contains("s=c,ret"));
}

#[test]
fn fathoms_own_service_name_is_not_said_of_others() {
    let variables = [(
        "OTEL_RESOURCE_ATTRIBUTES",
        "service.name=mine,service.version=3,k8s.node.name=n%201,host.name=h",
    )];
    let settings = resolve(&Given::default(), &variables).unwrap();
    assert_eq!(settings.service_name, "mine");
    let expected = [("k8s.node.name", "n 1"), ("host.name", "h")];
    let expected = expected.map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(settings.resource, expected);
}

/// Each names the variable and says what would be right, and none of them shows a secret.
#[test]
fn bad_values_are_named() {
    let cases = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://h:1"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:4318/v1/traces"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:secret@h:4317"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "h h"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "://"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "secret"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=secret%zz"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=secret%+1"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a b=secret"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=secret%0A"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "lz4"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_EXPORTER_OTLP_INSECURE", "1"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/key.pem"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "0"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "-5"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
        ("OTEL_BSP_SCHEDULE_DELAY", "99999999999999999999"),
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_RESOURCE_ATTRIBUTES", "secret"),
        ("OTEL_SDK_DISABLED", "yes"),
    ];
    let file = Given {
        endpoint: Some("http://file:4317".into()),
        ..Given::default()
    };
    for (name, value) in cases {
        let error = resolve(&file, &[(name, value)]).expect_err(value);
        let line = error.to_string();
        assert!(line.contains(name), "{line}");
        assert!(line.contains("; accepted is "), "{line}");
        assert!(!line.contains("secret"), "{line}");
        assert!(!line.contains('\n'), "{line}");
    }
}
