//! The maps of a loaded object: taking them out by name, and what they cost.

use std::os::fd::{AsFd as _, AsRawFd as _};

use aya::{
    Ebpf,
    maps::{Map, MapError, RingBuf},
};

use super::{Error, fdinfo, ring::RingReader};

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
    let taken = take(object, ebpf, map)?;
    let bytes = map_fd(&taken).and_then(|fd| fdinfo(fd, "max_entries:"));
    let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok());
    let ring = RingBuf::try_from(taken).map_err(map_error(map))?;
    RingReader::new(ring, bytes.unwrap_or(0))
        .map_err(|error| map_error(map)(MapError::IoError(error)))
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
        .filter_map(|(_, map)| fdinfo(map_fd(map)?, "memlock:"))
        .sum()
}

fn map_fd(map: &Map) -> Option<i32> {
    let data = match map {
        Map::RingBuf(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data)
        | Map::Array(data) => data,
        _ => return None,
    };
    Some(data.fd().as_fd().as_raw_fd())
}
