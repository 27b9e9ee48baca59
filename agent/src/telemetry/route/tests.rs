use super::*;

fn routes(limit: usize) -> Routes {
    Routes::new(limit, Arc::default())
}

fn user(patterns: &[&str]) -> Arc<Patterns> {
    let mut list = Patterns::default();
    for text in patterns {
        list.push(Pattern::parse(text).expect(text)).expect(text);
    }
    Arc::new(list)
}

fn check(cases: &[(&str, &str)]) {
    let wrong: Vec<_> = cases
        .iter()
        .map(|(path, expected)| (path, template(path), expected))
        .filter(|(_, found, expected)| found != *expected)
        .collect();
    assert!(wrong.is_empty(), "(path, found, expected): {wrong:#?}");
}

#[test]
fn numbers_and_ids_become_placeholders() {
    check(&[
        ("/users/42", "/users/{id}"),
        ("/users/42/orders/7", "/users/{id}/orders/{id}"),
        ("/users/42/", "/users/{id}/"),
        ("/articles/981723.html", "/articles/{id}.html"),
        ("/item-1234/x", "/item-{id}/x"),
        ("/item_12_34", "/item_{id}_{id}"),
        ("/SKU12345", "/SKU{id}"),
        ("/user123/posts", "/user{id}/posts"),
        ("/invoices/INV-2024-0042", "/invoices/INV-{id}-{id}"),
        ("/v1/projects/123:cancel", "/v1/projects/{id}:cancel"),
        ("/img/640x480/cat.jpg", "/img/{id}/cat.jpg"),
        ("/geo/48.137,-11.575", "/geo/{id}"),
        ("/hosts/10.0.0.1", "/hosts/{id}"),
        ("/hosts/fe80::1:2", "/hosts/{id}"),
        ("/nics/00:1a:2b:3c:4d:5e", "/nics/{id}"),
        ("/left-pad/1.3.0", "/left-pad/{id}"),
        (
            "/@angular/core/-/core-17.3.0.tgz",
            "/@{name}/core/-/core-{id}.tgz",
        ),
        ("/compare/1.70.0...1.71.0", "/compare/{id}"),
        ("/logstash-2024.05.01/_search", "/logstash-{id}/_search"),
        (
            "/odata/Customers(42)/Orders",
            "/odata/Customers({id})/Orders",
        ),
        ("/odata/Customers('ALFKI')", "/odata/Customers({id})"),
        ("/t/year=2024/month=05", "/t/year={value}/month={value}"),
    ]);
}

#[test]
fn dates_emails_and_names_become_placeholders() {
    check(&[
        ("/d/2024-05-01", "/d/{date}"),
        ("/d/2024-05-01T12:30:00.5Z", "/d/{date}"),
        ("/2024/05/01/title", "/{id}/{id}/{id}/title"),
        ("/mail/ann@example.org", "/mail/{email}"),
        ("/mail/ann.b+c%40example.org", "/mail/{email}"),
        ("/@ann/status", "/@{name}/status"),
        ("/~ann/x", "/~{name}/x"),
        ("/%7Eann/x", "/~{name}/x"),
    ]);
}

#[test]
fn uuids_and_hashes_become_placeholders() {
    check(&[
        ("/o/550e8400-e29b-41d4-a716-446655440000", "/o/{uuid}"),
        ("/o/550E8400-E29B-41D4-A716-446655440000/x", "/o/{uuid}/x"),
        (
            "/o/550e8400-e29b-41d4-a716-446655440000.pdf",
            "/o/{uuid}.pdf",
        ),
        (
            "/order-550e8400-e29b-41d4-a716-446655440000",
            "/order-{uuid}",
        ),
        (
            "/git/da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "/git/{hash}",
        ),
        ("/git/da39a3e1", "/git/{hash}"),
        ("/mongo/507f1f77bcf86cd799439011", "/mongo/{hash}"),
        ("/js/app.3f2a9c.js", "/js/app.{hash}.js"),
        ("/css/main.8f7d9a2b.chunk.css", "/css/main.{hash}.chunk.css"),
        ("/_next/_app-1a2b3c4d5e6f7a8b.js", "/_next/_app-{hash}.js"),
        (
            "/v2/a/blobs/sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "/v2/a/blobs/sha256:{hash}",
        ),
        (
            "/api/v1/pods/nginx-7d8b49557c-x2x5z/log",
            "/api/v1/pods/nginx-{hash}-{token}/log",
        ),
    ]);
}

#[test]
fn random_ids_become_placeholders() {
    check(&[
        ("/t/dGhpcyBpcyBhIHRva2Vu", "/t/{token}"),
        ("/t/dGhpcyBpcyBhIHRva2VuIQ==", "/t/{token}"),
        ("/t/01ARZ3NDEKTSV4RRFFQ69G5FAV", "/t/{token}"),
        ("/t/B07XJ8C8F5", "/t/{token}"),
        ("/t/V1StGXR8_Z5jdHi6B-myT", "/t/{token}"),
        ("/t/cus_NffrFeUfNV2Hib", "/t/cus_{token}"),
        ("/t/pi_3MtwBwLkdIwHu7ix28a3tqPa", "/t/pi_{token}"),
        ("/watch/dQw4w9WgXcQ", "/watch/{token}"),
        (
            "/t/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
            "/t/{token}.{token}.{token}",
        ),
        ("/iban/GB29NWBK60161331926819", "/iban/{token}"),
    ]);
}

#[test]
fn titles_and_encoded_text_become_placeholders() {
    check(&[
        ("/blog/how-to-write-a-good-title", "/blog/{slug}"),
        (
            "/questions/11227809/why-is-it-faster-to-sort",
            "/questions/{id}/{slug}",
        ),
        (
            "/articles/360012345678-How-to-reset",
            "/articles/{id}-{slug}",
        ),
        ("/wiki/caf%C3%A9", "/wiki/{text}"),
        ("/search/hello%20world", "/search/{text}"),
        (
            "/projects/group%2Fproject/issues",
            "/projects/{text}/issues",
        ),
        ("/100%", "/{text}"),
        ("/login;jsessionid=1F2E3D4C5B6A/x", "/login/x"),
        ("/map;lat=1;lon=2", "/map"),
    ]);
}

/// Paths of real APIs and sites, which have no value in them.
#[test]
fn words_stay() {
    let paths = [
        "/",
        "//a//",
        "/index.html",
        "/api/v1/users",
        "/apis/apps/v1beta1/deployments",
        "/v1.41/containers/json",
        "/1.1/statuses/home_timeline.json",
        "/en-US/docs/Web/HTTP",
        "/zh-Hans/about",
        "/es-419/ayuda",
        "/oauth2/token",
        "/.well-known/openid-configuration",
        "/.env",
        "/wp-login.php",
        "/static/js/bootstrap.min.js",
        "/internationalization/settings",
        "/user-preferences/notifications",
        "/reset-my-password",
        "/twirp/example.haberdasher.Haberdasher/MakeHat",
        "/GetCustomerOrdersByDateAndStatus",
        "/GetS3ObjectV2Metadata",
        "/XMLHttpRequest/getURLAsJSON",
        "/get_user_by_id_and_name",
        "/ec2/describeInstances",
        "/i18n/k8s/log4j/a11y",
        "/debug/pprof/goroutine",
        "/actuator/health/readiness",
        "/dists/stable/main/binary-amd64/Packages.gz",
        "/x86_64/utf-8/sha256",
        "/robots.txt",
        "/favicon.ico",
        "/checkout/step-two",
        "/graphql",
        "/v2/_catalog",
        "/metadata/instance:getAll",
        "/Service.svc",
        "/path..with...dots",
    ];
    let cases: Vec<_> = paths.iter().map(|path| (*path, *path)).collect();
    check(&cases);
}

#[test]
fn long_paths_are_cut() {
    let long = template(&"/a".repeat(50));
    assert_eq!(long, format!("{}/…", "/a".repeat(12)));
    assert_eq!(template(&format!("/{}", "word".repeat(100))), "/{token}");
}

/// Paths out of what paths are made of, and out of anything.
fn paths(count: u32) -> impl Iterator<Item = String> {
    const ATOMS: &[&str] = &[
        "/",
        "/",
        "/",
        "-",
        "_",
        ".",
        "~",
        ",",
        ":",
        ";",
        "=",
        "==",
        "(",
        ")",
        "@",
        "%",
        "%2F",
        "%40",
        "%7E",
        "%ff",
        "+",
        "!",
        "{",
        "}",
        "{id}",
        "{uuid}",
        "…",
        "é",
        "\u{0}",
        "a",
        "users",
        "v1",
        "GetUser",
        "x86_64",
        "sha256",
        "42",
        "7",
        "2024-05-01",
        "T12:00:00Z",
        "3f2a9c",
        "550e8400-e29b-41d4-a716-446655440000",
        "dGhpcyBpcyBh",
        "01ARZ3NDEK",
        "ann@example.org",
        "x2x5z",
        "abcd",
        "SKU123",
        "deadbeefdeadbeef",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap_or(0)
    };
    (0..count).map(move |_| {
        let atoms = random(24);
        let path: String = (0..atoms).map(|_| ATOMS[random(ATOMS.len())]).collect();
        format!("/{path}")
    })
}

#[test]
fn a_template_is_short_and_its_own_template() {
    for path in paths(200_000) {
        let once = template(&path);
        assert!(once.len() <= 12 * 41 + "/…".len(), "{path}: {once}");
        assert!(once.starts_with('/'));
        assert_eq!(template(&once), once, "{path}");
    }
}

/// A service whose ids have any of these forms has few routes.
#[test]
fn ids_do_not_make_routes() {
    let mut state = 88_172_645_463_325_252_u64;
    let mut bytes = |count: usize| -> Vec<u8> {
        (0..count)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 32) as u8
            })
            .collect()
    };
    let mut of = |alphabet: &[u8], count: usize| -> String {
        bytes(count)
            .into_iter()
            .map(|byte| char::from(alphabet[usize::from(byte) % alphabet.len()]))
            .collect()
    };
    const BASE62: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    const BASE32: &[u8] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (name, alphabet, length, most) in [
        ("MongoDB", &b"0123456789abcdef"[..], 24, 5),
        ("git, short", b"0123456789abcdef", 8, 25),
        ("ULID", BASE32, 26, 10),
        ("nanoid", BASE64, 21, 80),
        ("base62 of 22", BASE62, 22, 40),
        ("base64 of 16 bytes", BASE64, 22, 80),
        ("number", b"0123456789", 7, 1),
    ] {
        let templates: std::collections::HashSet<String> = (0..1000)
            .map(|_| template(&format!("/things/{}", of(alphabet, length))))
            .collect();
        assert!(
            templates.len() <= most,
            "{name}: {} of 1000",
            templates.len()
        );
    }
}

#[test]
fn a_service_has_no_more_routes_than_it_may() {
    let mut routes = routes(3);
    let a = routes.of("/a", Claim::Likely).expect("a path");
    assert!(matches!(a, Route::Known(_)));
    for path in ["/b", "/c"] {
        assert!(matches!(
            routes.of(path, Claim::Likely),
            Some(Route::Known(_))
        ));
    }
    assert_eq!(routes.of("/d", Claim::Likely), Some(Route::Other));
    assert_eq!(routes.of("/e/5", Claim::Likely), Some(Route::Other));
    assert_eq!(routes.of("/a", Claim::Likely), Some(a), "known ones stay");
    assert_eq!(routes.refused(), 2);
    assert_eq!(routes.template(a).map(AsRef::as_ref), Some("/a"));
    assert_eq!(routes.template(Route::Other), None);
}

#[test]
fn what_is_no_path_has_no_route() {
    let mut routes = routes(3);
    assert_eq!(
        (
            routes.of("*", Claim::Likely),
            routes.of("", Claim::Likely),
            routes.refused()
        ),
        (None, None, 0)
    );
}

#[test]
fn the_users_routes_go_first() {
    let mut routes = Routes::new(
        0,
        user(&["/users/{name}/orders/{order}", "/users/me", "/users/{name}"]),
    );
    let mut of = |path: &str| {
        let route = routes.of(path, Claim::Doubtful).expect("a path");
        routes.template(route).map(|route| route.to_string())
    };
    assert_eq!(of("/users/ann").as_deref(), Some("/users/{name}"));
    assert_eq!(of("/users/me").as_deref(), Some("/users/me"));
    assert_eq!(
        of("/users/ann/orders/x").as_deref(),
        Some("/users/{name}/orders/{order}")
    );
    assert_eq!(of("/users/ann/orders"), None, "no room for guesses here");
}

#[test]
fn patterns_match_what_they_say() {
    for (pattern, matching, others) in [
        ("/", &["/"][..], &["/a", ""][..]),
        ("/a", &["/a", "/a/"], &["/", "/b", "/a/b", "/A", "a"]),
        ("/a/", &["/a", "/a/"], &["/a//"]),
        (
            "/users/{name}",
            &["/users/ann", "/users/ann/", "/users/a%20b"],
            &["/users", "/users/", "/users/ann/x", "/users//"],
        ),
        (
            "/{a}.json",
            &["/x.json", "/.json.json"],
            &["/.json", "/x.json/y"],
        ),
        (
            "/v{n}/x-{y}-z",
            &["/v1/x-1-z"],
            &["/v/x-1-z", "/v1/x--z", "/v1/x-z"],
        ),
        (
            "/files/*",
            &["/files/a", "/files/a/b/c"],
            &["/files", "/files/"],
        ),
        ("/*", &["/a", "/a/b"], &["/"]),
        ("/f/{n}/*", &["/f/1/x/y"], &["/f/1", "/f//x"]),
    ] {
        let parsed = Pattern::parse(pattern).expect(pattern);
        for path in matching {
            assert!(parsed.matches(path), "{pattern} {path}");
        }
        for path in others {
            assert!(!parsed.matches(path), "{pattern} {path}");
        }
    }
}

#[test]
fn bad_patterns_are_refused() {
    let long = format!("/{}", "a".repeat(256));
    for (text, expected) in [
        ("", BadPattern::NoSlash),
        ("users/{id}", BadPattern::NoSlash),
        (&long, BadPattern::TooLong),
        ("/a?b=c", BadPattern::Character('?')),
        ("/a#b", BadPattern::Character('#')),
        ("/a b", BadPattern::Character(' ')),
        ("/<int:id>", BadPattern::Character('<')),
        ("/é", BadPattern::Character('é')),
        ("/{", BadPattern::Braces),
        ("/}", BadPattern::Braces),
        ("/{a}{b}", BadPattern::Braces),
        ("/{a{b}}", BadPattern::Braces),
        ("/a}{b", BadPattern::Braces),
        ("/{}", BadPattern::Name),
        ("/{a.b}", BadPattern::Name),
        ("/{a/b}", BadPattern::Braces),
        ("/users/:id", BadPattern::Colon),
        ("/*/x", BadPattern::Star),
        ("/a*", BadPattern::Star),
        ("/**", BadPattern::Star),
    ] {
        assert_eq!(Pattern::parse(text), Err(expected), "{text}");
    }
    let mut patterns = Patterns::default();
    let pattern = Pattern::parse("/a").expect("a pattern");
    assert_eq!(patterns.push(pattern.clone()), Ok(()));
    assert_eq!(patterns.push(pattern), Err(BadPattern::Twice));
    assert_eq!(patterns.len(), 1);
}

/// Whatever a pattern is parsed from and compared with, nothing panics, and a pattern without placeholders is its own path.
#[test]
fn no_pattern_and_no_path_does_harm() {
    let patterns: Vec<_> = paths(2000)
        .filter_map(|text| Some((Pattern::parse(&text).ok()?, text)))
        .collect();
    assert!(patterns.len() > 50);
    let mut routes = routes(50);
    for path in paths(2000) {
        routes.of(&path, Claim::Likely);
        for (pattern, text) in &patterns {
            let matches = pattern.matches(&path);
            assert!(matches || path != *text || text.contains('{'), "{text}");
        }
    }
    assert!(routes.refused() > 0);
}
