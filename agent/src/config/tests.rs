use std::{fs, path::PathBuf};

use super::*;

fn load(text: &str) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fathom.yaml");
    fs::write(&path, text).unwrap();
    Config::load(Some(&path), |_| None, &Overrides::default()).map_err(|error| {
        error
            .to_string()
            .replace(&format!("{}/", folder.path().display()), "")
    })
}

fn defaults() -> Config {
    Config::load(None, |_| None, &Overrides::default()).unwrap()
}

#[test]
fn the_documented_file_says_the_defaults() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/config.yaml");
    let documented = Config::load(Some(&path), |_| None, &Overrides::default()).unwrap();
    assert_eq!(format!("{documented:?}"), format!("{:?}", defaults()));
    let text = fs::read_to_string(path).unwrap();
    for key in [
        "capabilities",
        "tap",
        "listen",
        "memory_limit",
        "otlp",
        "endpoint",
        "headers",
        "interval",
        "timeout",
        "compression",
        "profile",
        "frequency",
    ] {
        assert!(text.contains(&format!("{key}:")), "{key} is not documented");
    }
}

#[test]
fn what_is_wrong_is_one_line_with_file_line_and_key() {
    for (text, expected) in [
        (
            "listen: 127.0.0.1:9464\ntapp: auto\n",
            "fathom.yaml:2: tapp: ",
        ),
        (
            "tap: ebpf\n",
            "fathom.yaml:1: tap: no tap \"ebpf\"; accepted is auto, fentry",
        ),
        (
            "otlp:\n  endpoint: http://127.0.0.1:4317\n  interval: soon\n",
            "fathom.yaml:3: interval: \"soon\" is no duration; accepted is",
        ),
        (
            "memory_limit: 1MiB\n",
            "fathom.yaml:1: memory_limit: \"1MiB\" is too little; accepted is",
        ),
        ("memory_limit: [1]\n", "fathom.yaml:1: memory_limit: "),
        (
            "profile:\n  frequency: fast\n",
            "fathom.yaml:2: frequency: ",
        ),
        (
            "profile:\n  frequency: 100000\n",
            "fathom.yaml:2: frequency: 100000 samples a second; accepted is 1 to 1000",
        ),
        (
            "listen: nowhere\n",
            "fathom.yaml:1: listen: \"nowhere\" is no address; accepted is",
        ),
        (
            "capabilities: [net, sound]\n",
            "fathom.yaml:1: capabilities: no capability \"sound\"",
        ),
        ("tap: auto\ntap: auto\n", "fathom.yaml:2: tap: "),
    ] {
        let error = load(text).unwrap_err();
        assert!(
            error.starts_with(expected),
            "{text:?}\n got {error}\nwant {expected}"
        );
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn flags_stand_above_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fathom.yaml");
    fs::write(
        &path,
        "tap: kprobe\nlisten: 127.0.0.1:1\ncapabilities: [gpu]\n",
    )
    .unwrap();
    let flags = Overrides {
        tap: Some("syscall".to_owned()),
        capabilities: Some(vec!["net".to_owned()]),
        memory_limit: Some("1GiB".to_owned()),
        ..Overrides::default()
    };
    let config = Config::load(Some(&path), |_| None, &flags).unwrap();
    assert_eq!(config.tap, Some(Tap::Syscall));
    assert_eq!(config.listen.port(), 1);
    assert!(config.capabilities.net && !config.capabilities.gpu);
    assert_eq!(config.memory_limit, 1 << 30);
}

#[test]
fn a_wrong_flag_names_itself() {
    let flags = Overrides {
        listen: Some("here".to_owned()),
        ..Overrides::default()
    };
    let error = Config::load(None, |_| None, &flags).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("--listen: \"here\" is no address"),
        "{error}"
    );
}

#[test]
fn a_file_that_is_not_there_is_said_so() {
    let error = Config::load(
        Some(Path::new("/nonexistent.yaml")),
        |_| None,
        &Overrides::default(),
    )
    .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("/nonexistent.yaml: can't be read: No such file"),
        "{error}"
    );
}
