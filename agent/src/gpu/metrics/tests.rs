use std::{collections::HashMap, fs, path::Path};

use super::*;
use crate::gpu::nvml::MemoryReading;

fn device() -> Device {
    Device {
        index: 0,
        uuid: "GPU-1".to_owned(),
        name: "Stand-in".to_owned(),
        pci_bus_id: "00000000:01:00.0".to_owned(),
        minor: 3,
    }
}

fn full() -> Reading {
    Reading {
        utilization: Some(50),
        memory_utilization: Some(20),
        encoder_utilization: Some(1),
        decoder_utilization: Some(2),
        memory: Some(MemoryReading {
            total: 80 * 1024 * MIB,
            reserved: MIB,
            free: 70 * 1024 * MIB,
            used: 10 * 1024 * MIB - MIB,
        }),
        power: Some(350_500),
        energy: Some(1_234_567),
        temperature: Some(61),
        sm_clock: Some(1980),
        memory_clock: Some(2619),
        pcie_replays: Some(0),
        failed_calls: 0,
    }
}

fn collected(reading: Reading) -> Vec<Metric> {
    let mut into = Vec::new();
    collect(&[(device(), reading)], "555.1", "node", 0, &mut into);
    into
}

/// Each field of the DCGM exporter that we serve has its name, type and help text, letter by letter.
#[test]
fn dcgm_definitions_equal_the_exporters_default_counters() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/dcgm/default-counters.csv");
    let Ok(csv) = fs::read_to_string(&path) else {
        eprintln!(
            "skipped: dcgm_definitions_equal_the_exporters_default_counters: no ../shared/data/dcgm beside the project"
        );
        return;
    };
    let theirs: HashMap<&str, (&str, &str)> = csv
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let mut fields = line.splitn(3, ',').map(str::trim);
            Some((fields.next()?, (fields.next()?, fields.next()?)))
        })
        .collect();
    assert!(theirs.len() > 20, "the CSV file was read");
    for ours in DCGM {
        let (kind, help) = theirs[ours.name];
        let our_kind = match ours.kind {
            Kind::Counter => "counter",
            Kind::Gauge | Kind::UpDownCounter => "gauge",
        };
        assert_eq!((our_kind, ours.description), (kind, help), "{}", ours.name);
    }
}

#[test]
fn a_full_reading_has_every_metric_with_both_audiences() {
    let metrics = collected(full());
    for definition in DCGM.iter().chain(OTEL) {
        assert!(
            metrics.iter().any(|metric| metric.name == definition.name),
            "{}",
            definition.name
        );
    }
    let watts = metrics
        .iter()
        .find(|metric| metric.name == "DCGM_FI_DEV_POWER_USAGE")
        .unwrap();
    assert_eq!(watts.audience, Audience::Prometheus);
    let Data::Gauge(points) = &watts.data else {
        panic!("a gauge")
    };
    assert_eq!(points[0].value, Number::Float(350.5));
    assert!(
        points[0]
            .attributes
            .contains(&("device".into(), Value::Str("nvidia3".into())))
    );
}

#[test]
fn what_a_device_does_not_support_is_absent_and_not_zero() {
    let metrics = collected(Reading {
        temperature: Some(40),
        ..Reading::default()
    });
    let names: Vec<_> = metrics.iter().map(|metric| metric.name.as_ref()).collect();
    assert_eq!(
        names,
        [
            "DCGM_FI_DEV_GPU_TEMP",
            "hw.temperature",
            "fathom.gpu.failed_calls"
        ]
    );
}
