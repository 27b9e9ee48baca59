//! The maps of a loaded object: taking them out by name, and what they cost.

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
};

use aya::{
    Ebpf,
    maps::{Map, MapError, RingBuf},
};

use super::{Error, ring::RingReader};

/// Takes a map out of an object.
pub(super) fn take(object: &'static str, ebpf: &mut Ebpf, map: &'static str) -> Result<Map, Error> {
    ebpf.take_map(map)
        .ok_or(Error::Foreign { object, part: map })
}

/// Takes a ring buffer out of an object.
pub(super) fn ring(
    object: &'static str,
    ebpf: &mut Ebpf,
    map: &'static str,
) -> Result<RingReader, Error> {
    RingBuf::try_from(take(object, ebpf, map)?)
        .map(RingReader::new)
        .map_err(map_error(map))
}

/// Names the map that an error is about.
pub(super) fn map_error(map: &'static str) -> impl FnOnce(MapError) -> Error {
    move |error| Error::Map {
        map,
        error: Box::new(error),
    }
}

/// Bytes that an object's maps take: the kernel's own figure for each (`memlock` in its fdinfo). Those of `without` are another
/// object's.
pub(super) fn map_bytes(ebpf: &Ebpf, without: &[&str]) -> u64 {
    ebpf.maps()
        .filter(|(name, _)| !without.contains(name))
        .filter_map(|(_, map)| {
            let fd = map_fd(map)?;
            let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
            let line = info.lines().find(|line| line.starts_with("memlock:"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        })
        .sum()
}

fn map_fd(map: &Map) -> Option<i32> {
    let data = match map {
        Map::RingBuf(data) | Map::HashMap(data) | Map::PerCpuArray(data) | Map::Array(data) => data,
        _ => return None,
    };
    Some(data.fd().as_fd().as_raw_fd())
}
