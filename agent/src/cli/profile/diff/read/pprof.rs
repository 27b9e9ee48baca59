//! `profile.proto`, of fathom or of any other program.

use std::{collections::HashMap, sync::Arc};

use prost::Message as _;

use super::{Content, Frames, Stacks};
use crate::{
    export::{
        calltree::Frame,
        pprof::proto::{Location, Mapping, Profile, Sample, ValueType},
    },
    profile::Origin,
};

/// Why it is no profile.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes are no message.
    #[error("not its protobuf: {0}")]
    NoProtobuf(#[from] prost::DecodeError),
    /// What is counted is not said.
    #[error("it has no sample types")]
    NoTypes,
    /// A number names nothing.
    #[error("{what} refers to {kind} {number}, which is not there")]
    Missing {
        /// What refers.
        what: &'static str,
        /// To what.
        kind: &'static str,
        /// Which.
        number: i128,
    },
    /// A sample has not one value for each type.
    #[error("a sample has {values} values of {types} types")]
    Values {
        /// How many values.
        values: usize,
        /// How many types.
        types: usize,
    },
    /// Counts below zero: it is the difference of two profiles already.
    #[error("a sample counts {0}; a difference of two profiles can't be compared with a profile")]
    Negative(i64),
    /// A small file can say of its samples that each is a million calls deep.
    #[error("its stacks have more than {MAX_FRAMES} frames in all")]
    TooDeep,
}

/// The most frames of all stacks.
const MAX_FRAMES: usize = 1 << 26;

/// The type that fathom's own and Go's CPU profiles have, and which counts what others only weigh.
const SAMPLES: (&str, &str) = ("samples", "count");
/// The label that holds the thread's name, which folded stacks begin with.
const COMM: &str = "comm";

/// Reads the message. Of several sample types the counts of samples are taken, else the profile's default, else the last, as
/// `go tool pprof` does.
pub(super) fn parse(bytes: &[u8]) -> Result<Stacks, Error> {
    let profile = Profile::decode(bytes)?;
    Reader::new(&profile)?.read()
}

struct Reader<'a> {
    profile: &'a Profile,
    /// Which of the values counts.
    value: usize,
    mappings: HashMap<u64, &'a Mapping>,
    /// What a location is, from its caller's side: the function first, what is inlined in it after.
    locations: HashMap<u64, Vec<u32>>,
    frames: Frames,
    /// How many frames of stacks there may still be.
    left: usize,
}

impl<'a> Reader<'a> {
    fn new(profile: &'a Profile) -> Result<Self, Error> {
        let mappings = profile.mapping.iter();
        Ok(Self {
            profile,
            value: value(profile)?,
            mappings: mappings.map(|mapping| (mapping.id, mapping)).collect(),
            locations: HashMap::new(),
            frames: Frames::default(),
            left: MAX_FRAMES,
        })
    }

    fn read(mut self) -> Result<Stacks, Error> {
        self.read_locations()?;
        let samples = self.profile.sample.iter();
        let stacks = samples
            .map(|sample| self.stack(sample))
            .collect::<Result<Vec<_>, _>>()?;
        let kind = self.profile.sample_type[self.value];
        let [name, unit] = self.names(kind)?;
        let unit = match unit {
            "count" | "" => name.to_owned(),
            unit => format!("{unit} of {name}"),
        };
        Ok(Stacks {
            content: Content::Pprof,
            frames: self.frames.all,
            stacks,
            unit: Some(unit),
        })
    }

    fn names(&self, kind: ValueType) -> Result<[&'a str; 2], Error> {
        Ok([
            string(self.profile, kind.r#type)?,
            string(self.profile, kind.unit)?,
        ])
    }

    fn read_locations(&mut self) -> Result<(), Error> {
        let functions: HashMap<u64, i64> = self
            .profile
            .function
            .iter()
            .map(|function| (function.id, function.name))
            .collect();
        for location in &self.profile.location {
            let (origin, file) = self.place(location)?;
            let mut ids = Vec::with_capacity(location.line.len().max(1));
            for line in location.line.iter().rev() {
                let name = functions
                    .get(&line.function_id)
                    .ok_or_else(|| missing("a location", "function", line.function_id))?;
                let name = string(self.profile, *name)?;
                ids.push(self.frames.id(frame(name.into(), Some(origin))));
            }
            if ids.is_empty() {
                let name = match file {
                    "" => "[unknown]".into(),
                    file => format!("[{}]", file.trim_matches(['[', ']'])).into(),
                };
                ids.push(self.frames.id(frame(name, Some(origin))));
            }
            self.locations.insert(location.id, ids);
        }
        Ok(())
    }

    /// What kind of code a location is, and the last name of its file's path.
    fn place(&self, location: &Location) -> Result<(Origin, &'a str), Error> {
        let path = match location.mapping_id {
            0 => "",
            id => {
                let mapping = self.mappings.get(&id);
                let mapping = mapping.ok_or_else(|| missing("a location", "mapping", id))?;
                string(self.profile, mapping.filename)?
            }
        };
        let origin = if path.starts_with("[kernel") {
            Origin::Kernel
        } else if location.mapping_id != 0 && (path.is_empty() || path.starts_with("[anon")) {
            Origin::Jit
        } else {
            Origin::Native
        };
        Ok((origin, path.rsplit('/').next().unwrap_or_default()))
    }

    fn stack(&mut self, sample: &Sample) -> Result<(Vec<u32>, u64), Error> {
        let types = self.profile.sample_type.len();
        let value = match sample.value.get(self.value) {
            Some(&value) if sample.value.len() == types => value,
            _ => {
                return Err(Error::Values {
                    values: sample.value.len(),
                    types,
                });
            }
        };
        let count = u64::try_from(value).map_err(|_| Error::Negative(value))?;
        let mut frames = Vec::with_capacity(sample.location_id.len() + 1);
        for label in &sample.label {
            if label.str != 0 && string(self.profile, label.key)? == COMM {
                let comm = string(self.profile, label.str)?;
                frames.push(self.frames.id(frame(comm.into(), None)));
            }
        }
        for id in sample.location_id.iter().rev() {
            let location = self.locations.get(id);
            let location = location.ok_or_else(|| missing("a sample", "location", *id))?;
            self.left = self
                .left
                .checked_sub(location.len())
                .ok_or(Error::TooDeep)?;
            frames.extend(location);
        }
        Ok((frames, count))
    }
}

/// Which of a sample's values counts.
fn value(profile: &Profile) -> Result<usize, Error> {
    let types = &profile.sample_type;
    let last = types.len().checked_sub(1).ok_or(Error::NoTypes)?;
    let mut default = None;
    for (index, kind) in types.iter().enumerate() {
        let names = (string(profile, kind.r#type)?, string(profile, kind.unit)?);
        if names == SAMPLES {
            return Ok(index);
        }
        if profile.default_sample_type != 0 && kind.r#type == profile.default_sample_type {
            default = Some(index);
        }
    }
    Ok(default.unwrap_or(last))
}

fn string(profile: &Profile, id: i64) -> Result<&str, Error> {
    let found = usize::try_from(id)
        .ok()
        .and_then(|id| profile.string_table.get(id));
    match found {
        Some(text) => Ok(text),
        // The first string is the empty one; some writers leave a table without any out.
        None if id == 0 => Ok(""),
        None => Err(missing("something", "string", id)),
    }
}

fn missing(what: &'static str, kind: &'static str, number: impl Into<i128>) -> Error {
    Error::Missing {
        what,
        kind,
        number: number.into(),
    }
}

fn frame(name: Arc<str>, origin: Option<Origin>) -> Frame {
    Frame {
        name,
        module: "".into(),
        origin,
        inlined: false,
    }
}
