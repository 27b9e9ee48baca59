use std::io::Read as _;

use super::*;
use crate::export::testing::profile;

fn text(message: &proto::Profile, id: i64) -> &str {
    &message.string_table[usize::try_from(id).expect("not negative")]
}

#[test]
fn what_is_written_is_gzip_over_the_message() {
    let mut out = Vec::new();
    write(&[profile()], |ns| ns + 5, |_| Served::default(), &mut out).expect("a Vec takes all");
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(&out[..])
        .read_to_end(&mut bytes)
        .expect("gzip");
    let read = proto::Profile::decode(&bytes[..]).expect("a profile");
    assert_eq!(
        read,
        message(&[profile()], |ns| ns + 5, |_| Served::default())
    );
    assert_eq!(read.time_nanos, 1_000_000_005);
    assert_eq!(read.duration_nanos, 10_000_000_000);
    assert_eq!(read.period, 10_000_000);
}

#[test]
fn values_labels_and_build_ids_are_there() {
    let message = message(&[profile()], |ns| ns, |_| Served::default());
    let types = message.sample_type.iter();
    let types: Vec<_> = types
        .map(|kind| (text(&message, kind.r#type), text(&message, kind.unit)))
        .collect();
    assert_eq!(types, [("samples", "count"), ("cpu", "nanoseconds")]);
    assert_eq!(message.sample[0].value, [3, 30_000_000]);
    let labels = message.sample[0].label.iter();
    let labels: Vec<_> = labels
        .map(|label| {
            (
                text(&message, label.key),
                text(&message, label.str),
                label.num,
            )
        })
        .collect();
    assert_eq!(
        labels,
        [
            ("pid", "", 42),
            ("tid", "", 43),
            ("comm", "worker", 0),
            ("service", "shop", 0),
            ("quality", "whole", 0)
        ]
    );
    assert_eq!(text(&message, message.mapping[0].build_id), "abcd");
    assert_eq!(text(&message, message.mapping[0].filename), "/usr/bin/shop");
}

/// The rules of profile.proto: ids start at 1 and name something, strings start with the empty one.
#[test]
fn nothing_dangles() {
    let message = message(&[profile(), profile()], |ns| ns, |_| Served::default());
    assert_eq!(message.string_table[0], "");
    let string =
        |id: i64| assert!(usize::try_from(id).is_ok_and(|id| id < message.string_table.len()));
    for (id, mapping) in (1..).zip(&message.mapping) {
        assert_eq!(mapping.id, id);
        string(mapping.filename);
        string(mapping.build_id);
    }
    for (id, function) in (1..).zip(&message.function) {
        assert_eq!(function.id, id);
        string(function.name);
        string(function.filename);
    }
    for (id, location) in (1..).zip(&message.location) {
        assert_eq!(location.id, id);
        assert!(location.mapping_id <= message.mapping.len() as u64);
        for line in &location.line {
            assert!((1..=message.function.len() as u64).contains(&line.function_id));
        }
    }
    for sample in &message.sample {
        assert_eq!(sample.value.len(), message.sample_type.len());
        assert!(
            sample
                .location_id
                .iter()
                .all(|id| (1..=message.location.len() as u64).contains(id))
        );
    }
    assert_eq!(message.mapping.len(), 2, "equal mappings are one");
}

#[test]
fn a_location_has_its_inlined_functions_with_their_lines() {
    let message = message(&[profile()], |ns| ns, |_| Served::default());
    let function = |id: u64| &message.function[usize::try_from(id - 1).expect("fits")];
    let lines: Vec<_> = message.location[1]
        .line
        .iter()
        .map(|line| {
            let function = function(line.function_id);
            let name = text(&message, function.name);
            (
                name,
                text(&message, function.filename),
                line.line,
                line.column,
            )
        })
        .collect();
    assert_eq!(
        lines,
        [
            ("copy", "/src/copy.h", 7, 2),
            ("a;b\n", "/src/shop.c", 40, 5)
        ]
    );
    let of = |mapping: &proto::Mapping| {
        [
            mapping.has_functions,
            mapping.has_filenames,
            mapping.has_line_numbers,
            mapping.has_inline_frames,
        ]
    };
    assert_eq!(of(&message.mapping[0]), [true; 4]);
    assert_eq!(of(&message.mapping[1]), [true, false, false, false]);
    for location in message
        .location
        .iter()
        .filter(|location| location.mapping_id > 0)
    {
        let mapping = &message.mapping[usize::try_from(location.mapping_id - 1).expect("fits")];
        assert!(
            (mapping.memory_start..mapping.memory_limit).contains(&location.address),
            "go tool pprof takes an address outside of its mapping for a broken profile"
        );
    }
}

#[test]
fn what_a_thread_served_is_in_its_labels() {
    let mut profile = profile();
    profile.stacks[0].exchange = Some(ExchangeKey {
        connection: fathom_abi::ConnectionId {
            sock: 1,
            born_ns: 2,
        },
        message: 3,
        part: 0,
    });
    let served = |_: &ExchangeKey| Served {
        trace_id: Some([0xab; 16]),
        span_id: Some([0xcd; 8]),
        route: Some("/cart/{id}".into()),
    };
    let message = message(&[profile], |ns| ns, served);
    let labels = |sample: &proto::Sample| -> Vec<_> {
        let labels = sample.label.iter();
        labels
            .map(|label| {
                (
                    text(&message, label.key).to_owned(),
                    text(&message, label.str).to_owned(),
                )
            })
            .collect()
    };
    let first = labels(&message.sample[0]);
    for (key, value) in [
        ("trace_id", "ab".repeat(16)),
        ("span_id", "cd".repeat(8)),
        ("http.route", "/cart/{id}".to_owned()),
    ] {
        assert!(first.contains(&(key.to_owned(), value)), "{key}: {first:?}");
    }
    assert!(
        !labels(&message.sample[1])
            .iter()
            .any(|(key, _)| key == "trace_id")
    );
}

#[test]
fn the_executable_comes_first() {
    let mut profile = profile();
    profile.mappings.swap(0, 1);
    for location in &mut profile.locations {
        location.mapping = location.mapping.map(|mapping| 1 - mapping);
    }
    let message = message(&[profile], |ns| ns, |_| Served::default());
    assert_eq!(text(&message, message.mapping[0].filename), "/usr/bin/shop");
}
