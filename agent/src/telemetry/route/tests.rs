use super::*;

#[test]
fn values_become_placeholders() {
    for (path, expected) in [
        ("/", "/"),
        ("/users/42", "/users/{id}"),
        ("/users/42/orders/2024-05-01", "/users/{id}/orders/{id}"),
        ("/api/v1/users", "/api/v1/users"),
        ("/index.html", "/index.html"),
        ("/articles/981723.html", "/articles/{id}.html"),
        ("/item-1234/x", "/item-{id}/x"),
        ("/o/550e8400-e29b-41d4-a716-446655440000", "/o/{uuid}"),
        ("/o/550E8400-E29B-41D4-A716-446655440000/x", "/o/{uuid}/x"),
        (
            "/git/da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "/git/{hash}",
        ),
        ("/git/da39a3e1", "/git/{hash}"),
        ("/mail/ann@example.org", "/mail/{email}"),
        ("/mail/ann%40example.org", "/mail/{email}"),
        ("/t/dGhpcyBpcyBhIHRva2Vu", "/t/{token}"),
        ("/t/01ARZ3NDEKTSV4RRFFQ69G5FAV", "/t/{token}"),
        ("/static/js/bootstrap.min.js", "/static/js/bootstrap.min.js"),
        (
            "/internationalization/settings",
            "/internationalization/settings",
        ),
        (
            "/user-preferences/notifications",
            "/user-preferences/notifications",
        ),
        ("//a//", "//a//"),
        ("/caf%C3%A9", "/caf%C3%A9"),
    ] {
        assert_eq!(template(path), expected, "{path}");
    }
}

#[test]
fn long_paths_are_cut() {
    let template = template(&"/a".repeat(50));
    assert_eq!(template, format!("{}/…", "/a".repeat(12)));
    assert!(super::template(&format!("/{}", "word".repeat(100))).len() < 20);
}

#[test]
fn a_service_has_no_more_routes_than_it_may() {
    let mut routes = Routes::new(3);
    let a = routes.of("/a").expect("the first");
    assert!(routes.of("/b").is_some() && routes.of("/c").is_some());
    assert_eq!(routes.of("/d"), None);
    assert_eq!(routes.of("/e/5"), None);
    assert_eq!(routes.of("/a"), Some(a), "known ones stay");
    assert_eq!(routes.overflowed(), 2);
    assert_eq!(routes.template(a).map(AsRef::as_ref), Some("/a"));
}

#[test]
fn what_is_no_path_has_no_route() {
    let mut routes = Routes::new(3);
    assert_eq!(
        (routes.of("*"), routes.of(""), routes.overflowed()),
        (None, None, 0)
    );
}

/// A crawler that guesses at random costs a service its routes, and nothing more.
#[test]
fn no_path_does_harm() {
    let mut routes = Routes::new(50);
    for number in 0..10_000_u32 {
        let path: String = (0..number % 9)
            .map(|at| {
                format!(
                    "/{:x}%_-.@{}",
                    number.wrapping_mul(2_654_435_761) >> at,
                    "z".repeat(at as usize * 9)
                )
            })
            .collect();
        routes.of(&format!("/{path}"));
    }
    assert!(routes.templates.len() <= 50);
}
