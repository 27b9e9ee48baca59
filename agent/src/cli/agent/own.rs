//! fathom's own metrics: what it takes, and what of it is off.

use std::{
    borrow::Cow,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::{
    cli::usage::{cpu_seconds, resident_bytes},
    telemetry::metric::{Attributes, Audience, Data, Metric, Number, NumberPoint, Source, Value},
};

/// What the agent says of itself.
#[derive(Debug)]
pub struct Own {
    limit: u64,
    map_bytes: AtomicU64,
    /// What of the maps this process has mapped: the rings, each twice.
    mapped_bytes: AtomicU64,
    /// The capabilities by name, and why one is off.
    capabilities: Mutex<Vec<(&'static str, Option<String>)>>,
    tap: Mutex<Option<&'static str>>,
}

impl Own {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            map_bytes: AtomicU64::new(0),
            mapped_bytes: AtomicU64::new(0),
            capabilities: Mutex::default(),
            tap: Mutex::default(),
        }
    }

    /// Adds the maps of one object, of which `mapped` bytes are in this process's address space.
    pub(super) fn add_maps(&self, bytes: u64, mapped: u64) {
        self.map_bytes.fetch_add(bytes, Relaxed);
        self.mapped_bytes.fetch_add(mapped, Relaxed);
    }

    /// A capability works.
    pub(super) fn on(&self, capability: &'static str) {
        self.note(capability, None);
    }

    /// A capability was asked for and does not work.
    pub(super) fn off(&self, capability: &'static str, why: String) {
        self.note(capability, Some(why));
    }

    fn note(&self, capability: &'static str, why: Option<String>) {
        let mut all = self
            .capabilities
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        all.push((capability, why));
    }

    /// The tap that was taken.
    pub(super) fn tap(&self, name: &'static str) {
        *self.tap.lock().unwrap_or_else(PoisonError::into_inner) = Some(name);
    }
}

impl Source for Own {
    fn collect(&self, into: &mut Vec<Metric>) {
        // The kernel counts a mapped ring as resident as well.
        let resident = resident_bytes().saturating_sub(self.mapped_bytes.load(Relaxed));
        into.push(one(
            "fathom.memory.usage",
            "Memory that fathom takes: its resident pages without those of its BPF maps, and the maps in the kernel",
            "By",
            vec![
                point("kind", "resident", Number::Int(resident)),
                point("kind", "maps", Number::Int(self.map_bytes.load(Relaxed))),
            ],
        ));
        into.push(one(
            "fathom.memory.limit",
            "What fathom may take, heap and BPF maps together",
            "By",
            vec![plain(Number::Int(self.limit))],
        ));
        let capabilities = self
            .capabilities
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        into.push(one(
            "fathom.capability",
            "1 for a capability that works, 0 for one that was asked for and does not",
            "{capability}",
            capabilities
                .iter()
                .map(|(name, why)| point("capability", name, Number::Int(u64::from(why.is_none()))))
                .collect(),
        ));
        if let Some(tap) = *self.tap.lock().unwrap_or_else(PoisonError::into_inner) {
            into.push(one(
                "fathom.tap",
                "1 for the tap that watches the sockets",
                "{tap}",
                vec![point("tap", tap, Number::Int(1))],
            ));
        }
        // Under the names that every Prometheus client library has for a process.
        into.push(Metric {
            name: "process_cpu_seconds_total".into(),
            description: "Total user and system CPU time spent in seconds.".into(),
            unit: "",
            audience: Audience::Prometheus,
            data: Data::Counter(vec![plain(Number::Float(cpu_seconds()))]),
        });
    }
}

fn one(
    name: &'static str,
    description: &'static str,
    unit: &'static str,
    points: Vec<NumberPoint>,
) -> Metric {
    Metric {
        name: name.into(),
        description: description.into(),
        unit,
        audience: Audience::All,
        data: Data::UpDownCounter(points),
    }
}

fn plain(value: Number) -> NumberPoint {
    NumberPoint {
        resource: "".into(),
        attributes: Attributes::new(),
        value,
    }
}

fn point(key: &'static str, label: &'static str, value: Number) -> NumberPoint {
    NumberPoint {
        attributes: vec![(key.into(), Value::Str(Cow::Borrowed(label)))],
        ..plain(value)
    }
}
