//! Readings as metrics, twice: under the DCGM exporter's names for `/metrics`, and under OpenTelemetry's
//! hardware conventions (`hw.*`, status: development) for OTLP.

use std::borrow::Cow;

use super::{Device, Reading};
use crate::telemetry::metric::{Attributes, Audience, Data, Metric, Number, NumberPoint, Value};

const MIB: u64 = 1024 * 1024;

/// How a series' values are to be read.
#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    UpDownCounter,
}

/// One metric: its name and texts, and how a reading gives its value.
struct Definition {
    name: &'static str,
    description: &'static str,
    unit: &'static str,
    kind: Kind,
    value: fn(&Reading) -> Option<Number>,
}

fn int(value: Option<u32>) -> Option<Number> {
    value.map(|value| Number::Int(value.into()))
}

fn percent(value: Option<u32>) -> Option<Number> {
    value.map(|value| Number::Float(f64::from(value) / 100.0))
}

fn memory(reading: &Reading, part: fn(&super::nvml::MemoryReading) -> u64) -> Option<Number> {
    reading
        .memory
        .as_ref()
        .map(|memory| Number::Int(part(memory)))
}

fn mebibytes(reading: &Reading, part: fn(&super::nvml::MemoryReading) -> u64) -> Option<Number> {
    reading
        .memory
        .as_ref()
        .map(|memory| Number::Int(part(memory) / MIB))
}

fn thousandths(value: Option<u32>) -> Option<Number> {
    value.map(|value| Number::Float(f64::from(value) / 1000.0))
}

/// Names, types and help texts as the DCGM exporter's default counters have them, so that its dashboards work. Fields
/// that only DCGM's own profiling module can read are not served.
const DCGM: &[Definition] = &[
    Definition {
        name: "DCGM_FI_DEV_SM_CLOCK",
        description: "SM clock frequency (in MHz).",
        unit: "",
        kind: Kind::Gauge,
        value: |r| int(r.sm_clock),
    },
    Definition {
        name: "DCGM_FI_DEV_MEM_CLOCK",
        description: "Memory clock frequency (in MHz).",
        unit: "",
        kind: Kind::Gauge,
        value: |r| int(r.memory_clock),
    },
    Definition {
        name: "DCGM_FI_DEV_GPU_TEMP",
        description: "GPU temperature (in C).",
        unit: "",
        kind: Kind::Gauge,
        value: |r| int(r.temperature),
    },
    Definition {
        name: "DCGM_FI_DEV_POWER_USAGE",
        description: "Power draw (in W).",
        unit: "",
        kind: Kind::Gauge,
        value: |r| thousandths(r.power),
    },
    Definition {
        name: "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION",
        description: "Total energy consumption since boot (in mJ).",
        unit: "",
        kind: Kind::Counter,
        value: |r| r.energy.map(Number::Int),
    },
    Definition {
        name: "DCGM_FI_DEV_PCIE_REPLAY_COUNTER",
        description: "Total number of PCIe retries.",
        unit: "",
        kind: Kind::Counter,
        value: |r| int(r.pcie_replays),
    },
    Definition {
        name: "DCGM_FI_DEV_GPU_UTIL",
        description: "GPU utilization (in %).",
        unit: "",
        kind: Kind::Gauge,
        value: |r| int(r.utilization),
    },
    Definition {
        name: "DCGM_FI_DEV_MEM_COPY_UTIL",
        description: "Memory utilization (in %).",
        unit: "",
        kind: Kind::Gauge,
        value: |r| int(r.memory_utilization),
    },
    Definition {
        name: "DCGM_FI_DEV_ENC_UTIL",
        description: "Encoder utilization (in %).",
        unit: "",
        kind: Kind::Gauge,
        value: |r| int(r.encoder_utilization),
    },
    Definition {
        name: "DCGM_FI_DEV_DEC_UTIL",
        description: "Decoder utilization (in %).",
        unit: "",
        kind: Kind::Gauge,
        value: |r| int(r.decoder_utilization),
    },
    Definition {
        name: "DCGM_FI_DEV_FB_FREE",
        description: "Framebuffer memory free (in MiB).",
        unit: "",
        kind: Kind::Gauge,
        value: |r| mebibytes(r, |m| m.free),
    },
    Definition {
        name: "DCGM_FI_DEV_FB_USED",
        description: "Framebuffer memory used (in MiB).",
        unit: "",
        kind: Kind::Gauge,
        value: |r| mebibytes(r, |m| m.used),
    },
    Definition {
        name: "DCGM_FI_DEV_FB_RESERVED",
        description: "Framebuffer memory reserved (in MiB).",
        unit: "",
        kind: Kind::Gauge,
        value: |r| mebibytes(r, |m| m.reserved),
    },
];

/// OpenTelemetry's names; clocks have none there yet.
const OTEL: &[Definition] = &[
    Definition {
        name: "hw.gpu.utilization",
        description: "Fraction of time in which the GPU was busy",
        unit: "1",
        kind: Kind::Gauge,
        value: |r| percent(r.utilization),
    },
    Definition {
        name: "hw.gpu.memory.limit",
        description: "Size of the GPU's memory",
        unit: "By",
        kind: Kind::UpDownCounter,
        value: |r| memory(r, |m| m.total),
    },
    Definition {
        name: "hw.gpu.memory.usage",
        description: "GPU memory in use",
        unit: "By",
        kind: Kind::UpDownCounter,
        value: |r| memory(r, |m| m.used),
    },
    Definition {
        name: "hw.power",
        description: "Power that the GPU draws",
        unit: "W",
        kind: Kind::Gauge,
        value: |r| thousandths(r.power),
    },
    Definition {
        name: "hw.energy",
        description: "Energy that the GPU took since its driver was loaded",
        unit: "J",
        kind: Kind::Counter,
        value: |r| r.energy.map(|millijoules| Number::Int(millijoules / 1000)),
    },
    Definition {
        name: "hw.temperature",
        description: "Temperature of the GPU",
        unit: "Cel",
        kind: Kind::Gauge,
        value: |r| int(r.temperature),
    },
    Definition {
        name: "fathom.gpu.sm.clock",
        description: "Frequency of the streaming multiprocessors",
        unit: "Hz",
        kind: Kind::Gauge,
        value: |r| {
            r.sm_clock
                .map(|mhz| Number::Int(u64::from(mhz) * 1_000_000))
        },
    },
    Definition {
        name: "fathom.gpu.memory.clock",
        description: "Frequency of the GPU's memory",
        unit: "Hz",
        kind: Kind::Gauge,
        value: |r| {
            r.memory_clock
                .map(|mhz| Number::Int(u64::from(mhz) * 1_000_000))
        },
    },
];

pub(super) fn collect(
    devices: &[(Device, Reading)],
    driver: &str,
    hostname: &str,
    failed_calls: u64,
    into: &mut Vec<Metric>,
) {
    let dcgm = |device: &Device| dcgm_labels(device, driver, hostname);
    family(DCGM, Audience::Prometheus, devices, dcgm, into);
    let otel = |device: &Device| otel_attributes(device, driver);
    family(OTEL, Audience::Otlp, devices, otel, into);
    into.push(Metric {
        name: "fathom.gpu.failed_calls".into(),
        description:
            "Calls to NVML that failed, not counting values that a device does not support".into(),
        unit: "{call}",
        audience: Audience::All,
        data: Data::Counter(vec![NumberPoint {
            resource: "".into(),
            attributes: Vec::new(),
            value: Number::Int(failed_calls),
        }]),
    });
}

fn family(
    definitions: &[Definition],
    audience: Audience,
    devices: &[(Device, Reading)],
    attributes: impl Fn(&Device) -> Attributes,
    into: &mut Vec<Metric>,
) {
    for definition in definitions {
        let points: Vec<_> = devices
            .iter()
            .filter_map(|(device, reading)| {
                Some(NumberPoint {
                    resource: "".into(),
                    attributes: attributes(device),
                    value: (definition.value)(reading)?,
                })
            })
            .collect();
        if points.is_empty() {
            continue;
        }
        into.push(Metric {
            name: Cow::Borrowed(definition.name),
            description: Cow::Borrowed(definition.description),
            unit: definition.unit,
            audience,
            data: match definition.kind {
                Kind::Counter => Data::Counter(points),
                Kind::Gauge => Data::Gauge(points),
                Kind::UpDownCounter => Data::UpDownCounter(points),
            },
        });
    }
}

/// The DCGM exporter's labels.
fn dcgm_labels(device: &Device, driver: &str, hostname: &str) -> Attributes {
    texts([
        ("gpu", device.index.to_string()),
        ("UUID", device.uuid.clone()),
        ("pci_bus_id", device.pci_bus_id.clone()),
        ("device", format!("nvidia{}", device.minor)),
        ("modelName", device.name.clone()),
        ("Hostname", hostname.to_owned()),
        ("DCGM_FI_DRIVER_VERSION", driver.to_owned()),
    ])
}

/// The attributes of the semantic conventions for hardware.
fn otel_attributes(device: &Device, driver: &str) -> Attributes {
    let id = if device.uuid.is_empty() {
        &device.pci_bus_id
    } else {
        &device.uuid
    };
    texts([
        ("hw.id", id.clone()),
        ("hw.type", "gpu".to_owned()),
        ("hw.name", format!("nvidia{}", device.minor)),
        ("hw.model", device.name.clone()),
        ("hw.vendor", "NVIDIA".to_owned()),
        ("hw.driver_version", driver.to_owned()),
    ])
}

fn texts<const N: usize>(pairs: [(&'static str, String); N]) -> Attributes {
    pairs
        .into_iter()
        .map(|(key, value)| (Cow::Borrowed(key), Value::Str(Cow::Owned(value))))
        .collect()
}

#[cfg(test)]
mod tests;
