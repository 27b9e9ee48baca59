use super::*;

fn request(method: &str, path: &str, ms: u64) -> Request {
    Request {
        method: method.into(),
        path: path.into(),
        duration: Duration::from_millis(ms),
        trace_id: None,
    }
}

fn wanted(routes: &[&str], slower_than: Option<&str>) -> anyhow::Result<Option<Wanted>> {
    Wanted::of(&Args {
        routes: routes.iter().map(|&route| route.to_owned()).collect(),
        slower_than: slower_than.map(str::to_owned),
    })
}

#[test]
fn routes_and_durations_choose() {
    assert!(wanted(&[], None).unwrap().is_none());
    let checkout = wanted(&["GET /checkout"], None).unwrap().unwrap();
    assert!(checkout.has(&request("GET", "/checkout", 1)));
    let lower = wanted(&["get /checkout"], None).unwrap().unwrap();
    assert!(lower.has(&request("GET", "/checkout", 1)));
    assert!(!checkout.has(&request("POST", "/checkout", 1)));
    assert!(!checkout.has(&request("GET", "/checkout/1", 1)));
    let users = wanted(&["/users/{id}", "/shop.Cart/Add"], Some("200ms"))
        .unwrap()
        .unwrap();
    assert!(users.has(&request("PUT", "/users/17", 201)));
    assert!(!users.has(&request("PUT", "/users/17", 200)));
    assert!(users.has(&request("POST", "/shop.Cart/Add", 300)));
    let slow = wanted(&[], Some("1s")).unwrap().unwrap();
    assert!(slow.has(&request("GET", "/", 1001)));
    assert!(!slow.has(&request("GET", "/", 999)));
}

#[test]
fn what_is_no_route_or_duration_is_said() {
    for (routes, slower_than, says) in [
        (&["checkout"][..], None, "--route \"checkout\": the path"),
        (&["GET"][..], None, "--route \"GET\": the path"),
        (
            &[][..],
            Some("soon"),
            "--slower-than: \"soon\" is no such time",
        ),
    ] {
        let error = wanted(routes, slower_than).err().unwrap().to_string();
        assert!(error.starts_with(says), "{error}");
    }
}

#[test]
fn a_route_stands_for_its_paths() {
    assert_eq!(request("GET", "/users/17", 1).route(), "GET /users/{id}");
}
