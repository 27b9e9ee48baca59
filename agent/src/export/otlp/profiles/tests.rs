use fathom_abi::ConnectionId;

use super::*;
use crate::export::testing::{self, profile};

const EXCHANGE: ExchangeKey = ExchangeKey {
    connection: ConnectionId {
        sock: 1,
        born_ns: 2,
    },
    message: 3,
    part: 0,
};

fn requests(
    profiles: &[Profile],
    unix_ns: impl Fn(u64) -> u64,
    span: impl FnMut(&ExchangeKey) -> Option<SpanIds>,
) -> Vec<ExportProfilesServiceRequest> {
    let mut requests = Requests::new(unix_ns, span);
    let full: Vec<_> = profiles
        .iter()
        .filter_map(|profile| requests.add(profile))
        .collect();
    full.into_iter().chain(requests.finish()).collect()
}

fn one(profiles: &[Profile]) -> (ExportProfilesServiceRequest, otlp::ProfilesDictionary) {
    let span = |key: &ExchangeKey| (*key == EXCHANGE).then_some(([7; 16], [8; 8]));
    let mut requests = requests(profiles, |ns| ns + 5, span);
    assert_eq!(requests.len(), 1);
    let request = requests.remove(0);
    let dictionary = request.dictionary.clone().expect("every request has one");
    (request, dictionary)
}

fn attributes(dictionary: &otlp::ProfilesDictionary, indices: &[i32]) -> Vec<(String, Value)> {
    let attribute = |&index: &i32| {
        let attribute = &dictionary.attribute_table[usize::try_from(index).expect("not negative")];
        let key = usize::try_from(attribute.key_strindex).expect("not negative");
        let value = attribute.value.clone().and_then(|value| value.value);
        (
            dictionary.string_table[key].clone(),
            value.expect("has a value"),
        )
    };
    indices.iter().map(attribute).collect()
}

/// What the message's own comments ask for: the zero value first, and no index beyond its table.
#[test]
fn index_zero_is_none_and_nothing_dangles() {
    let (request, dictionary) = one(&[profile(), profile()]);
    assert_eq!(dictionary.mapping_table[0], otlp::Mapping::default());
    assert_eq!(dictionary.location_table[0], otlp::Location::default());
    assert_eq!(dictionary.function_table[0], otlp::Function::default());
    assert_eq!(dictionary.link_table[0], otlp::Link::default());
    assert_eq!(
        dictionary.attribute_table[0],
        otlp::KeyValueAndUnit::default()
    );
    assert_eq!(dictionary.stack_table[0], otlp::Stack::default());
    assert_eq!(dictionary.string_table[0], "");

    let within = |index: i32, length: usize| {
        assert!(usize::try_from(index).is_ok_and(|index| index < length))
    };
    let string = |index| within(index, dictionary.string_table.len());
    let attribute = |indices: &[i32]| {
        for &index in indices {
            within(index, dictionary.attribute_table.len());
            assert_ne!(index, 0);
        }
    };
    for mapping in &dictionary.mapping_table {
        string(mapping.filename_strindex);
        attribute(&mapping.attribute_indices);
    }
    for function in &dictionary.function_table {
        string(function.name_strindex);
        string(function.system_name_strindex);
    }
    for location in &dictionary.location_table {
        within(location.mapping_index, dictionary.mapping_table.len());
        attribute(&location.attribute_indices);
        for line in &location.lines {
            within(line.function_index, dictionary.function_table.len());
        }
    }
    for stack in &dictionary.stack_table {
        for &location in &stack.location_indices {
            within(location, dictionary.location_table.len());
            assert_ne!(location, 0);
        }
    }
    for entry in &dictionary.attribute_table {
        string(entry.key_strindex);
    }
    let scopes = request
        .resource_profiles
        .iter()
        .flat_map(|resource| &resource.scope_profiles);
    let profiles: Vec<_> = scopes.flat_map(|scope| &scope.profiles).collect();
    assert_eq!(profiles.len(), 2);
    for profile in profiles {
        for sample in &profile.samples {
            within(sample.stack_index, dictionary.stack_table.len());
            within(sample.link_index, dictionary.link_table.len());
            attribute(&sample.attribute_indices);
            assert_eq!(sample.values.len(), 1);
        }
    }
    assert_eq!(
        dictionary.stack_table.len(),
        3,
        "two profiles share what is equal"
    );
}

#[test]
fn a_profile_says_what_it_is_and_whose() {
    let (request, dictionary) = one(&[profile()]);
    let resource = &request.resource_profiles[0];
    let names: Vec<_> = resource
        .resource
        .iter()
        .flat_map(|resource| &resource.attributes)
        .map(|attribute| attribute.key.as_str())
        .collect();
    assert!(
        names.contains(&"service.name") && names.contains(&"process.pid"),
        "{names:?}"
    );
    let profile = &resource.scope_profiles[0].profiles[0];
    let kind = |kind: Option<otlp::ValueType>| {
        let kind = kind.expect("there");
        let text = |index: i32| {
            dictionary.string_table[usize::try_from(index).expect("not negative")].as_str()
        };
        (
            text(kind.type_strindex).to_owned(),
            text(kind.unit_strindex).to_owned(),
        )
    };
    assert_eq!(
        kind(profile.sample_type),
        ("samples".into(), "count".into())
    );
    assert_eq!(
        kind(profile.period_type),
        ("cpu".into(), "nanoseconds".into())
    );
    assert_eq!(
        (profile.period, profile.time_unix_nano),
        (10_000_000, 1_000_000_005)
    );
    assert_eq!(profile.duration_nano, 10_000_000_000);
    assert_eq!(profile.profile_id.len(), 16);
    assert_eq!(profile.samples[0].values, [3]);
    let of_thread = attributes(&dictionary, &profile.samples[0].attribute_indices);
    assert_eq!(of_thread[0], ("thread.id".into(), Value::IntValue(43)));
    assert_eq!(
        of_thread[1],
        ("thread.name".into(), Value::StringValue("worker".into()))
    );
    let of_mapping = attributes(&dictionary, &dictionary.mapping_table[1].attribute_indices);
    let build_id = Value::StringValue("abcd".into());
    assert_eq!(
        of_mapping,
        [("process.executable.build_id.gnu".into(), build_id)]
    );
}

#[test]
fn a_sample_of_an_exchange_links_to_its_span() {
    let mut linked = profile();
    linked.stacks[0].exchange = Some(EXCHANGE);
    linked.stacks[1].exchange = Some(ExchangeKey {
        message: 4,
        ..EXCHANGE
    });
    let (request, dictionary) = one(&[linked]);
    let samples = &request.resource_profiles[0].scope_profiles[0].profiles[0].samples;
    let links: Vec<_> = samples.iter().map(|sample| sample.link_index).collect();
    assert_eq!(links, [1, 0], "an exchange that nobody knows has no link");
    assert_eq!(dictionary.link_table[1].trace_id, [7; 16]);
    assert_eq!(dictionary.link_table[1].span_id, [8; 8]);
}

#[test]
fn many_profiles_are_several_requests_that_each_stand_alone() {
    let mut large = profile();
    for number in 0..20_000_u32 {
        large
            .functions
            .push(testing::function(&format!("{number:0>100}")));
        large.locations.push(testing::location(
            number.into(),
            Origin::Native,
            Some(0),
            Some(number + 4),
        ));
    }
    let requests = requests(
        &[large.clone(), large.clone(), profile()],
        |ns| ns,
        |_| None,
    );
    assert_eq!(requests.len(), 3);
    for request in &requests {
        use prost::Message as _;
        assert!(request.encoded_len() < 4 << 20);
        assert_eq!(request.resource_profiles.len(), 1);
        assert!(request.dictionary.is_some());
    }
    assert!(self::requests(&[], |ns| ns, |_| None).is_empty());
}

#[test]
fn what_waits_is_the_message_and_takes_its_bytes() {
    use prost::Message as _;

    use crate::export::otlp::queue::Item as _;

    let (request, _) = one(&[profile(), profile()]);
    let encoded = Encoded::from(request.clone());
    assert_eq!(encoded.weight(), request.encoded_len());
    assert_eq!(encoded.events(), 2);
    assert_eq!(encoded.decode().expect("whole"), request);
}

#[test]
fn inlined_functions_come_with_their_lines() {
    let (_, dictionary) = one(&[profile()]);
    let text = |index: i32| {
        dictionary.string_table[usize::try_from(index).expect("not negative")].as_str()
    };
    let location = dictionary
        .location_table
        .iter()
        .find(|location| location.lines.len() == 2)
        .expect("one has an inlined function");
    let lines: Vec<_> = location
        .lines
        .iter()
        .map(|line| {
            let function = usize::try_from(line.function_index).expect("not negative");
            let function = &dictionary.function_table[function];
            let file = text(function.filename_strindex);
            (text(function.name_strindex), file, line.line, line.column)
        })
        .collect();
    assert_eq!(
        lines,
        [
            ("copy", "/src/copy.h", 7, 2),
            ("a;b\n", "/src/shop.c", 40, 5)
        ]
    );
}

/// An exchange that nobody knows is no difference between two samples.
#[test]
fn samples_that_have_become_the_same_are_one() {
    let mut profile = profile();
    let mut other = profile.stacks[0].clone();
    other.exchange = Some(ExchangeKey {
        message: 9,
        ..EXCHANGE
    });
    other.count = 2;
    profile.stacks.push(other);
    let (request, _) = one(&[profile]);
    let samples = &request.resource_profiles[0].scope_profiles[0].profiles[0].samples;
    let values: Vec<_> = samples
        .iter()
        .map(|sample| sample.values.as_slice())
        .collect();
    assert_eq!(values, [[5], [1]]);
}
