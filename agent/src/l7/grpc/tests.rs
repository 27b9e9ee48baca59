use super::*;

fn message(length: usize) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend(u32::try_from(length).expect("small").to_be_bytes());
    bytes.extend(vec![7; length]);
    bytes
}

#[test]
fn messages_are_counted_however_they_are_cut() {
    let data = [message(3), message(0), message(300), message(1)].concat();
    for size in 1..data.len() {
        let mut walker = Walker::default();
        for part in data.chunks(size) {
            walker.seen(part);
        }
        let expected = Messages {
            count: Some(4),
            bytes: data.len() as u64,
        };
        assert_eq!(walker.messages(), expected, "{size}");
    }
}

#[test]
fn a_hole_within_a_message_is_no_loss() {
    let mut walker = Walker::default();
    walker.seen(&message(300)[..20]);
    walker.unseen(285);
    walker.seen(&message(2));
    assert_eq!(walker.messages().count, Some(2));
    walker.seen(&message(300)[..20]);
    assert_eq!(walker.messages().count, Some(2));
}

#[test]
fn a_hole_over_a_prefix_ends_the_count() {
    for (seen, unseen) in [(20, 286), (3, 1), (0, 1)] {
        let mut walker = Walker::default();
        walker.seen(&message(300)[..seen]);
        walker.unseen(unseen);
        walker.seen(&message(2));
        let expected = Messages {
            count: None,
            bytes: seen as u64 + unseen + 7,
        };
        assert_eq!(walker.messages(), expected);
    }
}

#[test]
fn what_is_no_prefix_ends_the_count() {
    let mut walker = Walker::default();
    walker.seen(b"<html></html>");
    assert_eq!(walker.messages().count, None);
    assert_eq!(walker.messages().bytes, 13);
}

#[test]
fn texts() {
    for (value, expected) in [
        ("application/grpc", true),
        ("application/grpc+proto", true),
        ("Application/gRPC; charset=utf-8", true),
        ("application/grpc-web", false),
        ("application/grpcx", false),
        ("application/json", false),
        ("", false),
    ] {
        assert_eq!(is_content_type(value.as_bytes()), expected, "{value}");
    }
    assert_eq!(status(b"0"), Some(0));
    assert_eq!(status(b"14"), Some(14));
    assert_eq!(status(b"+1"), None);
    assert_eq!(status(b""), None);
    assert_eq!(status(b"99999999999"), None);
    assert_eq!(
        service_and_method("/helloworld.Greeter/SayHello"),
        ("helloworld.Greeter", "SayHello")
    );
    assert_eq!(service_and_method("/base/a.B/C"), ("base/a.B", "C"));
    assert_eq!(service_and_method("/plain"), ("plain", ""));
    assert_eq!(service_and_method(""), ("", ""));
}
