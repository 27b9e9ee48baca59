//! pprof: all profiles of a window as one gzipped `profile.proto`, for `go tool pprof` and whatever reads its format.

use std::{
    collections::HashMap,
    fmt::Write as _,
    io::{self, Write as _},
};

use flate2::{Compression, write::GzEncoder};
use prost::Message as _;

use crate::profile::{self, Profile};

pub mod proto;

/// Writes the profiles. `unix_ns` turns `CLOCK_MONOTONIC` into Unix time.
///
/// # Errors
/// What `out` returns.
pub fn write(
    profiles: &[Profile],
    unix_ns: impl Fn(u64) -> u64,
    out: impl io::Write,
) -> io::Result<()> {
    let mut gzip = GzEncoder::new(out, Compression::default());
    gzip.write_all(&message(profiles, unix_ns).encode_to_vec())?;
    gzip.finish()?.flush()
}

/// The profiles as one message: sample types `samples/count` and `cpu/nanoseconds`, and on each sample the labels
/// `pid`, `tid`, `comm` and `service`.
pub fn message(profiles: &[Profile], unix_ns: impl Fn(u64) -> u64) -> proto::Profile {
    let mut builder = Builder::default();
    builder.string("");
    let samples = builder.value_type("samples", "count");
    let cpu = builder.value_type("cpu", "nanoseconds");
    let start_ns = profiles.iter().map(|profile| profile.start_ns).min();
    let end_ns = profiles
        .iter()
        .map(|profile| profile.start_ns + profile.duration_ns)
        .max();
    let period_ns = profiles.first().map_or(0, |profile| profile.period_ns);
    builder.profile = proto::Profile {
        sample_type: vec![samples, cpu],
        time_nanos: signed(start_ns.map_or(0, unix_ns)),
        duration_nanos: signed(end_ns.unwrap_or(0) - start_ns.unwrap_or(0)),
        period_type: Some(cpu),
        period: signed(period_ns),
        default_sample_type: cpu.r#type,
        ..proto::Profile::default()
    };
    for profile in profiles {
        builder.add(profile);
    }
    builder.profile.string_table = builder.strings;
    builder.profile
}

#[derive(Default)]
struct Builder {
    profile: proto::Profile,
    strings: Vec<String>,
    string_ids: HashMap<String, i64>,
    /// Equal mappings and functions of several processes are one; a location is one only within a process's space.
    mappings: HashMap<profile::Mapping, u64>,
    functions: HashMap<profile::Function, u64>,
}

impl Builder {
    fn string(&mut self, text: &str) -> i64 {
        if let Some(&id) = self.string_ids.get(text) {
            return id;
        }
        let id = signed(self.strings.len() as u64);
        self.strings.push(text.to_owned());
        self.string_ids.insert(text.to_owned(), id);
        id
    }

    fn value_type(&mut self, name: &str, unit: &str) -> proto::ValueType {
        proto::ValueType {
            r#type: self.string(name),
            unit: self.string(unit),
        }
    }

    fn add(&mut self, profile: &Profile) {
        let mappings: Vec<u64> = profile
            .mappings
            .iter()
            .map(|mapping| self.mapping(mapping))
            .collect();
        let functions: Vec<u64> = profile
            .functions
            .iter()
            .map(|function| self.function(function))
            .collect();
        let first_location = self.profile.location.len() as u64 + 1;
        for (id, location) in (first_location..).zip(&profile.locations) {
            let function = location
                .function
                .map(|function| functions[function as usize]);
            self.profile.location.push(proto::Location {
                id,
                mapping_id: location
                    .mapping
                    .map_or(0, |mapping| mappings[mapping as usize]),
                address: location.address,
                line: function
                    .map(|function_id| proto::Line { function_id })
                    .into_iter()
                    .collect(),
            });
        }
        for stack in &profile.stacks {
            let label = self.labels(profile, stack);
            let count = signed(stack.count);
            let locations = stack.locations.iter();
            self.profile.sample.push(proto::Sample {
                location_id: locations
                    .map(|&location| first_location + u64::from(location))
                    .collect(),
                value: vec![count, count.saturating_mul(signed(profile.period_ns))],
                label,
            });
        }
    }

    fn labels(&mut self, profile: &Profile, stack: &profile::Stack) -> Vec<proto::Label> {
        let number = |key, num: u32| proto::Label {
            key,
            str: 0,
            num: i64::from(num),
        };
        let string = |key, str| proto::Label { key, str, num: 0 };
        let pid = number(self.string("pid"), profile.process.pid);
        let tid = number(self.string("tid"), stack.tid);
        let comm = string(self.string("comm"), self.string(&stack.comm));
        let service = string(
            self.string("service"),
            self.string(&profile.process.service),
        );
        vec![pid, tid, comm, service]
    }

    fn mapping(&mut self, mapping: &profile::Mapping) -> u64 {
        if let Some(&id) = self.mappings.get(mapping) {
            return id;
        }
        let id = self.profile.mapping.len() as u64 + 1;
        let build_id = mapping.build_id.as_deref().map(hex).unwrap_or_default();
        let message = proto::Mapping {
            id,
            memory_start: mapping.start,
            memory_limit: mapping.end,
            file_offset: mapping.offset,
            filename: self.string(&mapping.name),
            build_id: self.string(&build_id),
            has_functions: mapping.has_functions,
        };
        self.profile.mapping.push(message);
        self.mappings.insert(mapping.clone(), id);
        id
    }

    fn function(&mut self, function: &profile::Function) -> u64 {
        if let Some(&id) = self.functions.get(function) {
            return id;
        }
        let id = self.profile.function.len() as u64 + 1;
        let message = proto::Function {
            id,
            name: self.string(&function.name),
            system_name: self.string(&function.system_name),
        };
        self.profile.function.push(message);
        self.functions.insert(function.clone(), id);
        id
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The format has signed numbers for what is never negative.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
