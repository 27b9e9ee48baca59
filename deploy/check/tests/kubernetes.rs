//! The manifests are what the Kubernetes API takes: each document is read as its type of the API and written again;
//! a field that the type does not have, or a value of the wrong shape, does not come back.

use std::{fs, path::Path};

use k8s_openapi::{
    Resource,
    api::{
        apps::v1::DaemonSet,
        core::v1::{ConfigMap, Namespace, ServiceAccount},
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

fn manifest() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../daemonset.yaml");
    fs::read_to_string(path).expect("deploy/daemonset.yaml is there")
}

fn documents(text: &str) -> Vec<Value> {
    text.split("\n---\n")
        .map(|document| serde_saphyr::from_str(document).expect("a YAML document"))
        .collect()
}

fn same_after_reading<T: Resource + Serialize + DeserializeOwned>(document: &Value) -> T {
    let read: T = serde_json::from_value(document.clone())
        .unwrap_or_else(|error| panic!("{}: {error}", T::KIND));
    let written = serde_json::to_value(&read).expect("what was read can be written");
    assert_eq!(
        &written,
        document,
        "{}: a field that the API does not have, or another shape",
        T::KIND
    );
    read
}

fn daemon_set() -> DaemonSet {
    let text = manifest();
    let found = documents(&text)
        .into_iter()
        .find(|document| document["kind"] == "DaemonSet");
    same_after_reading(&found.expect("a DaemonSet"))
}

#[test]
fn every_document_is_what_the_api_takes() {
    let text = manifest();
    let mut kinds = Vec::new();
    for document in documents(&text) {
        let kind = document["kind"].as_str().expect("a kind").to_owned();
        match kind.as_str() {
            "Namespace" => drop(same_after_reading::<Namespace>(&document)),
            "ServiceAccount" => drop(same_after_reading::<ServiceAccount>(&document)),
            "ConfigMap" => drop(same_after_reading::<ConfigMap>(&document)),
            "DaemonSet" => drop(same_after_reading::<DaemonSet>(&document)),
            other => panic!("a kind that this test does not know: {other}"),
        }
        kinds.push(kind);
    }
    assert_eq!(
        kinds,
        ["Namespace", "ServiceAccount", "ConfigMap", "DaemonSet"]
    );
}

#[test]
#[should_panic(expected = "a field that the API does not have")]
fn a_misspelled_field_is_found() {
    let text = manifest().replace("hostPID:", "hostPid:");
    let found = documents(&text)
        .into_iter()
        .find(|document| document["kind"] == "DaemonSet");
    same_after_reading::<DaemonSet>(&found.expect("a DaemonSet"));
}

#[test]
fn the_pod_sees_the_host_and_is_probed() {
    let pod = daemon_set().spec.unwrap().template.spec.unwrap();
    assert_eq!(pod.host_pid, Some(true));
    let container = &pod.containers[0];
    let path = |probe: &Option<k8s_openapi::api::core::v1::Probe>| {
        let get = probe.as_ref()?.http_get.as_ref()?;
        get.path.clone()
    };
    assert_eq!(path(&container.readiness_probe).as_deref(), Some("/readyz"));
    assert_eq!(path(&container.startup_probe).as_deref(), Some("/readyz"));
    assert_eq!(path(&container.liveness_probe).as_deref(), Some("/healthz"));
    let mounts = container.volume_mounts.as_ref().unwrap();
    let volumes = pod.volumes.as_ref().unwrap();
    for mount in mounts {
        assert!(
            volumes.iter().any(|volume| volume.name == mount.name),
            "{}: a mount without a volume",
            mount.name
        );
    }
    let security = container.security_context.as_ref().unwrap();
    assert_ne!(security.privileged, Some(true));
    assert_eq!(security.read_only_root_filesystem, Some(true));
    let limits = container
        .resources
        .as_ref()
        .unwrap()
        .limits
        .as_ref()
        .unwrap();
    assert_eq!(limits["memory"].0, "192Mi");
}

/// The service and the DaemonSet grant the same capabilities: one list, said twice, that must not drift apart.
#[test]
fn the_service_grants_what_the_daemon_set_grants() {
    let pod = daemon_set().spec.unwrap().template.spec.unwrap();
    let security = pod.containers[0].security_context.clone().unwrap();
    let mut cluster: Vec<String> = security
        .capabilities
        .unwrap()
        .add
        .unwrap()
        .iter()
        .map(|name| format!("CAP_{name}"))
        .collect();
    let unit = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../fathom.service"))
        .expect("deploy/fathom.service is there");
    let mut service: Vec<&str> = unit
        .lines()
        .find_map(|line| line.strip_prefix("CapabilityBoundingSet="))
        .expect("a bounding set")
        .split(' ')
        .collect();
    cluster.sort();
    service.sort_unstable();
    assert_eq!(cluster, service);
}
