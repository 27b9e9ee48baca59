//! pprof: all profiles of a window as one gzipped `profile.proto`, for `go tool pprof` and whatever reads its format.

use std::{
    collections::HashMap,
    fmt::Write as _,
    io::{self, Write as _},
    path::Path,
    sync::Arc,
};

use flate2::{Compression, write::GzEncoder};
use prost::Message as _;

use crate::{
    l7::exchange::ExchangeKey,
    profile::{self, Profile},
};

pub mod proto;

/// What a thread was serving, as far as that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// The trace.
    pub trace_id: Option<[u8; 16]>,
    /// The span that was made of it.
    pub span_id: Option<[u8; 8]>,
    /// The route of the request, as the span's `http.route` has it.
    pub route: Option<Arc<str>>,
}

/// Writes the profiles. `unix_ns` turns `CLOCK_MONOTONIC` into Unix time; `served` says what is known of an exchange.
///
/// # Errors
/// What `out` returns.
pub fn write(
    profiles: &[Profile],
    unix_ns: impl Fn(u64) -> u64,
    served: impl FnMut(&ExchangeKey) -> Served,
    out: impl io::Write,
) -> io::Result<()> {
    let mut gzip = GzEncoder::new(out, Compression::default());
    gzip.write_all(&message(profiles, unix_ns, served).encode_to_vec())?;
    gzip.finish()?.flush()
}

/// The profiles as one message: sample types `samples/count` and `cpu/nanoseconds`, and on each sample the labels `pid`, `tid`, `comm`,
/// `service`, `quality` and, where a request was served that is known, `trace_id`, `span_id` (in hexadecimal) and `http.route`.
pub fn message(
    profiles: &[Profile],
    unix_ns: impl Fn(u64) -> u64,
    mut served: impl FnMut(&ExchangeKey) -> Served,
) -> proto::Profile {
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
    if let [profile] = profiles {
        builder.name_main(profile);
    }
    for profile in profiles {
        builder.add(profile, &mut served);
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

    /// Puts the executable's mapping first, which readers take for what was profiled.
    fn name_main(&mut self, profile: &Profile) {
        let executable = profile.process.executable.as_deref();
        let is_main = |mapping: &&profile::Mapping| Some(Path::new(&*mapping.name)) == executable;
        if let Some(main) = profile.mappings.iter().find(is_main) {
            self.mapping(main);
        }
    }

    fn add(&mut self, profile: &Profile, served: &mut impl FnMut(&ExchangeKey) -> Served) {
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
            let lines = location.lines.iter().map(|line| proto::Line {
                function_id: functions[line.function as usize],
                line: line.line.into(),
                column: line.column.into(),
            });
            self.profile.location.push(proto::Location {
                id,
                mapping_id: location
                    .mapping
                    .map_or(0, |mapping| mappings[mapping as usize]),
                address: location.address,
                line: lines.collect(),
            });
        }
        for stack in &profile.stacks {
            let served = stack.exchange.as_ref().map(&mut *served);
            let label = self.labels(profile, stack, &served.unwrap_or_default());
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

    fn labels(
        &mut self,
        profile: &Profile,
        stack: &profile::Stack,
        served: &Served,
    ) -> Vec<proto::Label> {
        let mut labels = Vec::with_capacity(8);
        for (key, number) in [("pid", profile.process.pid), ("tid", stack.tid)] {
            labels.push(proto::Label {
                key: self.string(key),
                str: 0,
                num: number.into(),
            });
        }
        let trace_id = served.trace_id.map(|id| hex(&id));
        let span_id = served.span_id.map(|id| hex(&id));
        let texts = [
            ("comm", Some(&*stack.comm)),
            ("service", Some(&*profile.process.service)),
            ("quality", Some(stack.quality.name())),
            ("trace_id", trace_id.as_deref()),
            ("span_id", span_id.as_deref()),
            ("http.route", served.route.as_deref()),
        ];
        for (key, text) in texts {
            let Some(text) = text else { continue };
            labels.push(proto::Label {
                key: self.string(key),
                str: self.string(text),
                num: 0,
            });
        }
        labels
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
            has_functions: mapping.known.functions,
            has_filenames: mapping.known.files,
            has_line_numbers: mapping.known.lines,
            has_inline_frames: mapping.known.inlined,
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
            filename: self.string(function.file.as_deref().unwrap_or_default()),
            start_line: 0,
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
