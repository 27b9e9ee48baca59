use std::io::Read as _;

use super::*;
use crate::export::folded::tests::profile;

fn text(message: &proto::Profile, id: i64) -> &str {
    &message.string_table[usize::try_from(id).expect("not negative")]
}

#[test]
fn what_is_written_is_gzip_over_the_message() {
    let mut out = Vec::new();
    write(&[profile()], |ns| ns + 5, &mut out).expect("a Vec takes all");
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(&out[..])
        .read_to_end(&mut bytes)
        .expect("gzip");
    let read = proto::Profile::decode(&bytes[..]).expect("a profile");
    assert_eq!(read, message(&[profile()], |ns| ns + 5));
    assert_eq!(read.time_nanos, 1_000_000_005);
    assert_eq!(read.duration_nanos, 10_000_000_000);
    assert_eq!(read.period, 10_000_000);
}

#[test]
fn values_labels_and_build_ids_are_there() {
    let message = message(&[profile()], |ns| ns);
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
            ("service", "shop", 0)
        ]
    );
    assert_eq!(text(&message, message.mapping[0].build_id), "abcd");
    assert_eq!(text(&message, message.mapping[0].filename), "/usr/bin/shop");
}

/// The rules of profile.proto: ids start at 1 and name something, strings start with the empty one.
#[test]
fn nothing_dangles() {
    let message = message(&[profile(), profile()], |ns| ns);
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
