use super::{fields::trace_parent, *};

const CURL: &[u8] = b"GET /a/b?x=1 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n";
const NGINX: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 03:00:00 GMT\r\nContent-Type: text/plain\r\n\
Content-Length: 12\r\nConnection: keep-alive\r\n\r\nhello world\n";

fn whole(bytes: &[u8]) -> Request<'_> {
    request(bytes).expect("a request")
}

#[test]
fn a_whole_request_is_read() {
    let head = whole(CURL);
    assert_eq!(
        (head.method, head.target, head.version),
        ("GET", b"/a/b?x=1".as_slice(), Some("1.1"))
    );
    assert_eq!(head.length, Some(CURL.len()));
    assert_eq!(head.total(), Some(CURL.len() as u64));
    assert_eq!(path(head.method, head.target), "/a/b");
}

#[test]
fn a_whole_response_is_read() {
    let head = response(NGINX).expect("a response");
    assert_eq!(
        (head.status, head.version, head.fields.body),
        (200, "1.1", Body::Length(12))
    );
    assert_eq!(head.total("GET"), Some(NGINX.len() as u64));
    assert_eq!(head.total("HEAD"), Some(NGINX.len() as u64 - 12));
}

#[test]
fn a_head_cut_anywhere_is_never_something_else() {
    for length in 0..CURL.len() {
        match request(&CURL[..length]) {
            Ok(head) => {
                assert_eq!(head.method, "GET");
                assert!(b"/a/b?x=1".starts_with(head.target), "{length}");
                assert_eq!(head.length, None, "{length}");
            }
            Err(refused) => assert_eq!((refused, length <= 4), (Refused::Short, true), "{length}"),
        }
    }
    let head_length = NGINX.len() - 12;
    for length in 0..head_length {
        match response(&NGINX[..length]) {
            Ok(head) => assert_eq!((head.status, head.length), (200, None), "{length}"),
            Err(refused) => assert_eq!((refused, length < 12), (Refused::Short, true), "{length}"),
        }
    }
}

#[test]
fn the_four_forms_of_a_target_have_their_paths() {
    for (method, target, expected) in [
        ("GET", "/", "/"),
        ("GET", "/a/b?token=secret#frag", "/a/b"),
        ("GET", "/a#frag?x", "/a"),
        ("GET", "http://user:pass@host:80/a?b", "/a"),
        ("GET", "http://host", "/"),
        ("GET", "http://host?x=/y", "/"),
        ("CONNECT", "db.internal:5432", ""),
        ("OPTIONS", "*", "*"),
        ("GET", "//double//slash", "//double//slash"),
        ("GET", "/caf\u{e9}", "/caf%C3%A9"),
        ("GET", "/a b", "/a%20b"),
    ] {
        assert_eq!(
            path(method, target.as_bytes()),
            expected,
            "{method} {target}"
        );
    }
}

#[test]
fn request_lines_that_are_none_are_refused() {
    for line in [
        "GET\r\n",
        "GET /\x01 HTTP/1.1\r\n",
        " GET / HTTP/1.1\r\n",
        "G(T / HTTP/1.1\r\n",
        "GET / HTTP/2.0\r\n",
        "GET / HTTP/1.\r\n",
        "FOO /old\r\n",
        "*1\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET  HTTP/1.1\r\n",
        "GET / HTTP/1.1x\r\n",
        "\x16\x03\x01",
        "AVERYLONGMETHODTHATNOBODYWOULDEVERSENDANYWHERE / HTTP/1.1\r\n",
    ] {
        assert_eq!(request(line.as_bytes()), Err(Refused::NotHttp), "{line:?}");
    }
}

#[test]
fn status_lines_that_are_none_are_refused() {
    for line in [
        "HTTP/2 200\r\n",
        "HTTP/1.1 99 \r\n",
        "HTTP/1.1 2000\r\n",
        "HTTP/1.1  200\r\n",
        "HTTP/1.1 099 No\r\n",
        "ICY 200 OK\r\n",
        "http/1.1 200 OK\r\n",
    ] {
        assert_eq!(response(line.as_bytes()), Err(Refused::NotHttp), "{line:?}");
    }
    assert_eq!(
        response(b"HTTP/1.1 200\r\n\r\n").map(|head| head.length),
        Ok(Some(16)),
        "no reason phrase, and no space"
    );
}

#[test]
fn unusual_requests_that_servers_take_are_read() {
    assert_eq!(whole(b"\r\n\r\nGET / HTTP/1.1\r\n\r\n").length, Some(22));
    assert_eq!(whole(b"GET / HTTP/1.1\n\n").length, Some(16), "bare LF");
    assert_eq!(whole(b"PROPFIND /dav HTTP/1.1\r\n\r\n").method, "PROPFIND");
    assert_eq!(whole(b"GET /old\r\n").version, Some("0.9"));
    assert_eq!(whole(b"GET /a b HTTP/1.1\r\n\r\n").target, b"/a b");
    assert_eq!(whole(b"GET / HTTP/1.7\r\n\r\n").version, Some("1.1"));
}

#[test]
fn framing_fields_are_read_as_rfc_9112_says() {
    for (fields, expected) in [
        ("", Body::Unsaid),
        ("Content-Length: 7\r\n", Body::Length(7)),
        ("content-length:7\r\n", Body::Length(7)),
        (
            "Content-Length: 7\r\nContent-Length: 7\r\n",
            Body::Length(7),
        ),
        ("Content-Length: 7, 7\r\n", Body::Length(7)),
        (
            "Content-Length: 7\r\nContent-Length: 8\r\n",
            Body::Contradictory,
        ),
        ("Content-Length: 7, 8\r\n", Body::Contradictory),
        ("Content-Length: +7\r\n", Body::Contradictory),
        (
            "Content-Length: 99999999999999999999\r\n",
            Body::Contradictory,
        ),
        ("Content-Length: \r\n", Body::Contradictory),
        ("Transfer-Encoding: chunked\r\n", Body::Chunked),
        ("Transfer-Encoding: gzip, Chunked\r\n", Body::Chunked),
        ("Transfer-Encoding: gzip\r\n", Body::OtherCoding),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 7\r\n",
            Body::Chunked,
        ),
        (
            "Content-Length: 7\r\nTransfer-Encoding: chunked\r\n",
            Body::Chunked,
        ),
        ("X-Content-Length: 7\r\n", Body::Unsaid),
        ("Content-Length : 7\r\n", Body::Unsaid),
    ] {
        let head = format!("POST / HTTP/1.1\r\n{fields}\r\n");
        assert_eq!(whole(head.as_bytes()).fields.body, expected, "{fields:?}");
    }
}

#[test]
fn a_length_that_overflows_is_no_total() {
    let head = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", u64::MAX);
    assert_eq!(whole(head.as_bytes()).total(), None);
}

#[test]
fn traceparents_are_read_strictly() {
    let valid = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let parent = trace_parent(valid.as_bytes()).expect("the example of the specification");
    assert_eq!(
        (
            parent.trace_id[0],
            parent.trace_id[15],
            parent.span_id[7],
            parent.flags
        ),
        (0x0a, 0x9c, 0x31, 1)
    );
    assert!(
        trace_parent(format!("cc{}-what-comes", &valid[2..]).as_bytes()).is_some(),
        "a later version may be longer"
    );
    for invalid in [
        "",
        "00",
        &valid[..54],
        &format!("{valid}-more"),
        &valid.to_uppercase(),
        &format!("ff{}", &valid[2..]),
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x",
    ] {
        assert_eq!(trace_parent(invalid.as_bytes()), None, "{invalid}");
    }
    let twice = format!("GET / HTTP/1.1\r\ntraceparent: {valid}\r\nTraceparent: {valid}\r\n\r\n");
    assert_eq!(whole(twice.as_bytes()).fields.parent, None);
    let thrice = format!(
        "GET / HTTP/1.1\r\ntraceparent: {valid}\r\ntraceparent: {valid}\r\ntraceparent: {valid}\r\n\r\n"
    );
    assert_eq!(whole(thrice.as_bytes()).fields.parent, None);
}

#[test]
fn chunked_bodies_are_measured_only_where_they_are_whole() {
    let body = b"5;ext=\"x\"\r\nhello\r\nA\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n";
    assert_eq!(chunked_length(body), Some(body.len()));
    assert_eq!(
        chunked_length(&[body, b"GET /".as_slice()].concat()),
        Some(body.len())
    );
    for length in 0..body.len() {
        assert_eq!(chunked_length(&body[..length]), None, "{length}");
    }
    for bad in [
        "x\r\n",
        "\r\n",
        "5\r\nhelloX\r\n",
        "ffffffffffffffff\r\n",
        "fffffffffffffff\r\nabc",
        "-1\r\n",
    ] {
        assert_eq!(chunked_length(bad.as_bytes()), None, "{bad:?}");
    }
}

#[test]
fn requests_in_a_row_are_counted() {
    let post = b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc".as_slice();
    let chunked =
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".as_slice();
    assert_eq!(count_requests(b""), 0);
    assert_eq!(count_requests(b"\r\n"), 0);
    assert_eq!(count_requests(&[CURL, post, chunked, CURL].concat()), 4);
    assert_eq!(
        count_requests(&[CURL, &post[..20]].concat()),
        2,
        "the last is cut"
    );
    assert_eq!(count_requests(&[CURL, b"binary\0"].concat()), 1);
}

/// Another implementation's opinion, on real heads with every byte changed to a few others.
#[test]
fn httparse_agrees_wherever_it_reads_a_whole_head() {
    let mut compared = 0_u32;
    let mut differ = Vec::new();
    for at in 0..CURL.len() {
        for byte in [b' ', b'\r', b'\n', b':', b'/', b'0', b'A', 0, 0x7f, 0xc3] {
            let mut bytes = CURL.to_vec();
            bytes[at] = byte;
            let mut fields = [httparse::EMPTY_HEADER; 16];
            let mut theirs = httparse::Request::new(&mut fields);
            let Ok(httparse::Status::Complete(length)) = theirs.parse(&bytes) else {
                continue;
            };
            compared += 1;
            let ours = request(&bytes);
            let same = ours.as_ref().is_ok_and(|ours| {
                ours.length == Some(length)
                    && Some(ours.method) == theirs.method
                    && theirs.path.map(str::as_bytes) == Some(ours.target)
            });
            if !same {
                differ.push((
                    String::from_utf8_lossy(&bytes).into_owned(),
                    ours.map(|head| head.length),
                    length,
                ));
            }
        }
    }
    assert!(compared > 300, "{compared} heads");
    assert!(differ.is_empty(), "{differ:#?}");
    for at in 0..NGINX.len() - 12 {
        for byte in [b' ', b'\r', b'\n', b':', b'0', b'A', 0] {
            let mut bytes = NGINX.to_vec();
            bytes[at] = byte;
            let mut fields = [httparse::EMPTY_HEADER; 16];
            let mut theirs = httparse::Response::new(&mut fields);
            let Ok(httparse::Status::Complete(length)) = theirs.parse(&bytes) else {
                continue;
            };
            if theirs.code < Some(100) {
                // Three digits to them; no status code by RFC 9110 section 15.
                assert_eq!(response(&bytes), Err(Refused::NotHttp));
                continue;
            }
            let ours = response(&bytes).unwrap_or_else(|refused| {
                panic!("{refused:?}: {}", String::from_utf8_lossy(&bytes))
            });
            assert_eq!(
                (ours.length, Some(ours.status)),
                (Some(length), theirs.code),
                "{}",
                String::from_utf8_lossy(&bytes)
            );
        }
    }
}

/// Bytes that a fuzzer would try first: no input makes a parser panic, or read past what is there.
#[test]
fn no_bytes_do_harm() {
    let mut state = 1_u64;
    let mut random = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize
    };
    let parts: [&[u8]; 16] = [
        b"GET ",
        b"/a",
        b" HTTP/1.1",
        b"\r\n",
        b"\n",
        b"\r",
        b"Content-Length: ",
        b"18446744073709551615",
        b"Transfer-Encoding: chunked",
        b"HTTP/1.1 ",
        b"200",
        b"0\r\n\r\n",
        b"fffffffffffffff\r\n",
        b"traceparent: 00-",
        b"\0\xff",
        b"://",
    ];
    for _ in 0..200_000 {
        let bytes: Vec<u8> = (0..random() % 12)
            .flat_map(|_| parts[random() % parts.len()])
            .copied()
            .collect();
        if let Ok(head) = request(&bytes) {
            let path = path(head.method, head.target);
            assert!(path.bytes().all(|byte| byte.is_ascii_graphic()), "{path:?}");
            assert!(!path.contains('?'), "{path:?}");
            assert!(head.length.is_none_or(|length| length <= bytes.len()));
        }
        if let Ok(head) = response(&bytes) {
            assert!(head.length.is_none_or(|length| length <= bytes.len()));
        }
        assert!(chunked_length(&bytes).is_none_or(|length| length <= bytes.len()));
        assert!(count_requests(&bytes) <= bytes.len() as u64);
    }
}

#[test]
fn a_tracestate_is_kept_beside_its_traceparent() {
    let parent = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";
    let kept = |fields: &str| {
        let head = format!("GET / HTTP/1.1\r\n{fields}\r\n");
        whole(head.as_bytes())
            .fields
            .kept_trace_state()
            .map(|state| state.to_string())
    };
    assert_eq!(
        kept(&format!("{parent}tracestate: a=1\r\nTraceState:b=2 \r\n")).as_deref(),
        Some("a=1,b=2"),
        "several are one list"
    );
    assert_eq!(kept("tracestate: a=1\r\n"), None, "of no trace");
    assert_eq!(kept(&format!("{parent}tracestate: \r\n")), None);
    assert_eq!(kept(&format!("{parent}tracestate: a=\u{fc}\r\n")), None);
    let long = format!("{parent}tracestate: a={}\r\n", "x".repeat(600));
    assert_eq!(kept(&long), None);
}
