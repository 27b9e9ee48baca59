//! Profiles as OTLP messages (`opentelemetry.proto.profiles.v1development`).
//!
//! Each request has one dictionary, in which everything is once and index 0 is "none". A profile's sample type is
//! `samples/count` with a period of CPU nanoseconds; a sample carries `thread.id`, `thread.name`, `fathom.stack.quality` (how much of the stack
//! could be read), and a link to the span of the exchange that its thread was serving. The process's `process.pid` is on the resource. Names are
//! those of the semantic conventions for profiles.
//!
//! Locations keep their address, and mappings their build id and file offset, so that a backend can find out by itself what is not here.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
    sync::Arc,
};

use opentelemetry_proto::tonic::{
    collector::profiles::v1development::ExportProfilesServiceRequest,
    common::v1::{AnyValue, any_value::Value},
    profiles::v1development as otlp,
    resource::v1::Resource,
};

pub use self::encoded::Encoded;
use super::convert::{key_values, scope, text};
use crate::{
    l7::exchange::ExchangeKey,
    profile::{self, Origin, Profile},
    telemetry::{links::SpanIds, spans::resource},
};

mod encoded;

/// About as many encoded bytes as a request has at most: well below the 4 MiB that receivers take by default. In memory one that is made or sent takes several times
/// as many.
const REQUEST_BYTES: usize = 256 << 10;

/// Profiles to requests of about 256 KiB, one profile after the other.
pub struct Requests<Unix, Span> {
    builder: Builder,
    unix_ns: Unix,
    span: Span,
}

impl<Unix, Span> Requests<Unix, Span>
where
    Unix: Fn(u64) -> u64,
    Span: FnMut(&ExchangeKey) -> Option<SpanIds>,
{
    /// None yet. `unix_ns` turns `CLOCK_MONOTONIC` into Unix time; `span` names the span of an exchange, or gives none when it is not known.
    pub fn new(unix_ns: Unix, span: Span) -> Self {
        Self {
            builder: Builder::default(),
            unix_ns,
            span,
        }
    }

    /// Adds a profile; a request that is full with it.
    pub fn add(&mut self, profile: &Profile) -> Option<ExportProfilesServiceRequest> {
        self.builder.add(profile, &self.unix_ns, &mut self.span);
        (self.builder.bytes >= REQUEST_BYTES).then(|| std::mem::take(&mut self.builder).finish())
    }

    /// The last request, if anything is left for it.
    pub fn finish(self) -> Option<ExportProfilesServiceRequest> {
        (!self.builder.resources.is_empty()).then(|| self.builder.finish())
    }
}

/// Things of one kind, all but "none", in the order of their first use, each once.
struct Table<K> {
    ids: HashMap<K, i32>,
}

impl<K: Eq + Hash> Table<K> {
    /// The index of a thing, and whether it is new.
    fn index(&mut self, key: K) -> (i32, bool) {
        // Index 0 stands for none.
        let next = index(self.ids.len() + 1);
        let id = *self.ids.entry(key).or_insert(next);
        (id, id == next)
    }
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self {
            ids: HashMap::new(),
        }
    }
}

/// An attribute that a table holds.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Attribute {
    BuildId(String),
    FrameType(&'static str),
    Quality(&'static str),
    ThreadId(u32),
    ThreadName(Arc<str>),
}

/// What makes two mappings the same in a dictionary: what its messages have.
#[derive(PartialEq, Eq, Hash)]
struct Mapping {
    start: u64,
    end: u64,
    offset: u64,
    name: Arc<str>,
    build_id: Option<Arc<[u8]>>,
}

/// What makes two locations the same in a dictionary.
#[derive(PartialEq, Eq, Hash)]
struct Location {
    mapping: i32,
    address: u64,
    origin: Origin,
    /// Function, line, column.
    lines: Box<[(i32, u32, u32)]>,
}

/// What makes two samples of a profile the same; the message asks for such to be one.
#[derive(PartialEq, Eq, Hash)]
struct Identity {
    stack: i32,
    attributes: [i32; 3],
    link: i32,
}

struct Builder {
    dictionary: otlp::ProfilesDictionary,
    resources: Vec<otlp::ResourceProfiles>,
    strings: Table<String>,
    mappings: Table<Mapping>,
    functions: Table<profile::Function>,
    locations: Table<Location>,
    stacks: Table<Vec<i32>>,
    links: Table<SpanIds>,
    attributes: Table<Attribute>,
    /// Roughly, encoded.
    bytes: usize,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            dictionary: otlp::ProfilesDictionary {
                mapping_table: vec![otlp::Mapping::default()],
                location_table: vec![otlp::Location::default()],
                function_table: vec![otlp::Function::default()],
                link_table: vec![otlp::Link::default()],
                string_table: vec![String::new()],
                attribute_table: vec![otlp::KeyValueAndUnit::default()],
                stack_table: vec![otlp::Stack::default()],
            },
            resources: Vec::new(),
            strings: Table::default(),
            mappings: Table::default(),
            functions: Table::default(),
            locations: Table::default(),
            stacks: Table::default(),
            links: Table::default(),
            attributes: Table::default(),
            bytes: 0,
        }
    }
}

impl Builder {
    fn finish(self) -> ExportProfilesServiceRequest {
        ExportProfilesServiceRequest {
            resource_profiles: self.resources,
            dictionary: Some(self.dictionary),
        }
    }

    fn add(
        &mut self,
        profile: &Profile,
        unix_ns: impl Fn(u64) -> u64,
        span: &mut impl FnMut(&ExchangeKey) -> Option<SpanIds>,
    ) {
        let locations: Vec<i32> = profile
            .locations
            .iter()
            .map(|location| self.location(profile, location))
            .collect();
        let samples = self.samples(&profile.stacks, &locations, span);
        let message = otlp::Profile {
            sample_type: Some(self.value_type("samples", "count")),
            samples,
            time_unix_nano: unix_ns(profile.start_ns),
            duration_nano: profile.duration_ns,
            period_type: Some(self.value_type("cpu", "nanoseconds")),
            period: i64::try_from(profile.period_ns).unwrap_or(i64::MAX),
            profile_id: random_id(),
            ..otlp::Profile::default()
        };
        let process = resource(&profile.process);
        let mut attributes = vec![text("service.name", &process.service_name)];
        attributes.extend(key_values(&process.attributes));
        self.bytes += 512;
        self.resources.push(otlp::ResourceProfiles {
            resource: Some(Resource {
                attributes,
                ..Resource::default()
            }),
            scope_profiles: vec![otlp::ScopeProfiles {
                scope: Some(scope()),
                profiles: vec![message],
                schema_url: String::new(),
            }],
            schema_url: String::new(),
        });
    }

    fn samples(
        &mut self,
        stacks: &[profile::Stack],
        locations: &[i32],
        span: &mut impl FnMut(&ExchangeKey) -> Option<SpanIds>,
    ) -> Vec<otlp::Sample> {
        let mut samples: Vec<otlp::Sample> = Vec::with_capacity(stacks.len());
        // Exchanges that nobody knows make samples the same that were kept apart until here.
        let mut known: HashMap<Identity, usize> = HashMap::with_capacity(stacks.len());
        for stack in stacks {
            let identity = self.identity(stack, locations, span);
            let count = i64::try_from(stack.count).unwrap_or(i64::MAX);
            match known.entry(identity) {
                Entry::Occupied(entry) => {
                    let value = &mut samples[*entry.get()].values[0];
                    *value = value.saturating_add(count);
                }
                Entry::Vacant(entry) => {
                    let identity = entry.key();
                    samples.push(otlp::Sample {
                        stack_index: identity.stack,
                        attribute_indices: identity.attributes.to_vec(),
                        link_index: identity.link,
                        values: vec![count],
                        timestamps_unix_nano: Vec::new(),
                    });
                    entry.insert(samples.len() - 1);
                    self.bytes += 32;
                }
            }
        }
        samples
    }

    fn identity(
        &mut self,
        stack: &profile::Stack,
        locations: &[i32],
        span: &mut impl FnMut(&ExchangeKey) -> Option<SpanIds>,
    ) -> Identity {
        let frames = stack
            .locations
            .iter()
            .map(|&location| locations[location as usize]);
        let span = stack.exchange.as_ref().and_then(span);
        Identity {
            stack: self.stack(frames.collect()),
            attributes: [
                self.attribute(Attribute::ThreadId(stack.tid)),
                self.attribute(Attribute::ThreadName(stack.comm.clone())),
                self.attribute(Attribute::Quality(stack.quality.name())),
            ],
            link: span.map_or(0, |span| self.link(span)),
        }
    }

    fn stack(&mut self, location_indices: Vec<i32>) -> i32 {
        if location_indices.is_empty() {
            return 0;
        }
        let (index, new) = self.stacks.index(location_indices.clone());
        if new {
            self.bytes += 4 + 3 * location_indices.len();
            self.dictionary
                .stack_table
                .push(otlp::Stack { location_indices });
        }
        index
    }

    fn link(&mut self, (trace_id, span_id): SpanIds) -> i32 {
        let (index, new) = self.links.index((trace_id, span_id));
        if new {
            self.bytes += 32;
            self.dictionary.link_table.push(otlp::Link {
                trace_id: trace_id.to_vec(),
                span_id: span_id.to_vec(),
            });
        }
        index
    }

    fn location(&mut self, profile: &Profile, location: &profile::Location) -> i32 {
        let mapping = location.mapping.map_or(0, |mapping| {
            self.mapping(&profile.mappings[mapping as usize])
        });
        let lines = location.lines.iter().map(|line| {
            let function = self.function(&profile.functions[line.function as usize]);
            (function, line.line, line.column)
        });
        let key = Location {
            mapping,
            address: location.address,
            origin: location.origin,
            lines: lines.collect(),
        };
        let message = otlp::Location {
            mapping_index: mapping,
            address: location.address,
            lines: key
                .lines
                .iter()
                .map(|&(function_index, line, column)| otlp::Line {
                    function_index,
                    line: line.into(),
                    column: column.into(),
                })
                .collect(),
            attribute_indices: Vec::new(),
        };
        let (index, new) = self.locations.index(key);
        if new {
            self.bytes += 24 + 8 * message.lines.len();
            let frame_type = self.attribute(Attribute::FrameType(location.origin.frame_type()));
            self.dictionary.location_table.push(otlp::Location {
                attribute_indices: vec![frame_type],
                ..message
            });
        }
        index
    }

    fn mapping(&mut self, mapping: &profile::Mapping) -> i32 {
        let (index, new) = self.mappings.index(Mapping {
            start: mapping.start,
            end: mapping.end,
            offset: mapping.offset,
            name: Arc::clone(&mapping.name),
            build_id: mapping.build_id.clone(),
        });
        if new {
            self.bytes += 48;
            let build_id = mapping.build_id.as_deref().map(hex);
            let build_id = build_id.map(|id| self.attribute(Attribute::BuildId(id)));
            let message = otlp::Mapping {
                memory_start: mapping.start,
                memory_limit: mapping.end,
                file_offset: mapping.offset,
                filename_strindex: self.string(&mapping.name),
                attribute_indices: build_id.into_iter().collect(),
            };
            self.dictionary.mapping_table.push(message);
        }
        index
    }

    fn function(&mut self, function: &profile::Function) -> i32 {
        let (index, new) = self.functions.index(function.clone());
        if new {
            self.bytes += 16;
            let message = otlp::Function {
                name_strindex: self.string(&function.name),
                system_name_strindex: self.string(&function.system_name),
                filename_strindex: self.string(function.file.as_deref().unwrap_or_default()),
                start_line: 0,
            };
            self.dictionary.function_table.push(message);
        }
        index
    }

    fn attribute(&mut self, attribute: Attribute) -> i32 {
        let (index, new) = self.attributes.index(attribute.clone());
        if new {
            self.bytes += 48;
            let (key, value) = match attribute {
                Attribute::BuildId(id) => {
                    ("process.executable.build_id.gnu", Value::StringValue(id))
                }
                Attribute::FrameType(kind) => {
                    ("profile.frame.type", Value::StringValue(kind.to_owned()))
                }
                Attribute::Quality(kind) => {
                    ("fathom.stack.quality", Value::StringValue(kind.to_owned()))
                }
                Attribute::ThreadId(tid) => ("thread.id", Value::IntValue(tid.into())),
                Attribute::ThreadName(name) => {
                    ("thread.name", Value::StringValue((*name).to_owned()))
                }
            };
            let message = otlp::KeyValueAndUnit {
                key_strindex: self.string(key),
                value: Some(AnyValue { value: Some(value) }),
                unit_strindex: 0,
            };
            self.dictionary.attribute_table.push(message);
        }
        index
    }

    fn value_type(&mut self, name: &str, unit: &str) -> otlp::ValueType {
        otlp::ValueType {
            type_strindex: self.string(name),
            unit_strindex: self.string(unit),
        }
    }

    fn string(&mut self, text: &str) -> i32 {
        if text.is_empty() {
            return 0;
        }
        let (index, new) = self.strings.index(text.to_owned());
        if new {
            self.bytes += text.len() + 4;
            self.dictionary.string_table.push(text.to_owned());
        }
        index
    }
}

/// A request is far smaller than what this can count.
fn index(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The id is optional: without random numbers there is none.
fn random_id() -> Vec<u8> {
    let mut id = vec![0; 16];
    match getrandom::fill(&mut id) {
        Ok(()) => id,
        Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
