//! Spellings of paths: none leaves the path of a backend, and none keeps a request from the policies of its operation.

use http::{Method, StatusCode};

use crate::scripted::{Scene, answer, get};

#[test]
fn no_spelling_leaves_the_path_of_a_backend() {
    let scene = Scene::inbound("- set-backend: below");
    for target in [
        "/../other",
        "/%2e%2e/other",
        "/a/../../other",
        "/.%2E/other",
        "/..;/other",
        "/..;a=b/other",
        "/%2e%2e%3b/other",
        "/\\..\\other",
        "/a%5c..%5c..%5cother",
        "/a%2f..%2f..%2fother",
        "/%252e%252e/other",
        "/..%00/other",
        "/..%20/other",
        "/%c0%ae%c0%ae/other",
        "/..%c0%afother",
        "/%u002e%u002e/other",
        "/..",
        "/a/..?b=c",
        "/.../other",
        "/%E2%80%A5/other",
        "/a/%EF%BC%8E%EF%BC%8E/other",
    ] {
        let outcome = scene.send(get(target));
        assert_eq!(
            (outcome.status, outcome.reason().as_str()),
            (StatusCode::BAD_REQUEST, "path_not_allowed"),
            "{target}"
        );
    }
    let mut all = get("/");
    (*all.method_mut(), *all.uri_mut()) = (Method::OPTIONS, "*".parse().unwrap());
    assert_eq!(scene.send(all).reason(), "path_not_allowed");
    assert_eq!(scene.times(), 0);
    for (target, sent) in [
        ("/a", "/v2/a"),
        ("/", "/v2/"),
        ("/a..b/.c?d=/../e", "/v2/a..b/.c?d=/../e"),
        ("/group%2Fproject", "/v2/group%2Fproject"),
        ("http://api.partner.example", "/v2/"),
    ] {
        assert_eq!(scene.send(get(target)).status, StatusCode::OK, "{target}");
        assert_eq!(scene.last().uri.path_and_query().unwrap().as_str(), sent);
    }
}

#[test]
fn a_refused_path_does_not_decide_whether_a_server_is_well() {
    let scene = Scene::inbound("- set-backend: frail_below");
    scene.will(answer(503, &[], ""));
    assert_eq!(scene.send(get("/a")).status, StatusCode::SERVICE_UNAVAILABLE);
    scene.clock.fetch_add(11, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(scene.send(get("/../a")).reason(), "path_not_allowed");
    assert_eq!(scene.send(get("/a")).status, StatusCode::OK, "this one decides");
}

#[test]
fn a_redirect_does_not_leave_the_path_of_a_backend() {
    let scene = Scene::policies(&[
        ("inbound", "- set-backend: below"),
        ("backend", "- forward-request: {follow_redirects: 3}"),
    ]);
    for place in [
        "/v2/../other",
        "/v2/%2e%2e/other",
        "/v2/..;/other",
        "..%2fother",
        "a/..\\..\\other",
        "/v2/a%2f..%2f..%2fother",
    ] {
        scene.will(answer(302, &[("location", place)], ""));
        assert_eq!(scene.send(get("/a")).status, StatusCode::FOUND, "{place}");
        assert_eq!(scene.last().uri, "/v2/a", "{place}");
    }
}

const ADMIN: &str = r#"operations:
  - {name: admin, path: "/admin/*", policies: {inbound: [{return-response: {status: 403}}]}}
  - {name: item, path: "/items/{id}"}
"#;

#[test]
fn no_spelling_keeps_a_request_from_its_operation() {
    let scene = Scene::new(ADMIN);
    for path in [
        "/admin/x",
        "/x/../admin/x",
        "//admin/x",
        "/admin//x",
        "/%61dmin/x",
        "/ADMIN/x",
        "/admin;a=b/x",
        "/x/..;/admin/x",
        "/x/..%2fadmin/x",
        "/x%2f..%2fadmin/x",
        "/.%2e/admin/x",
        "/admin%2fx",
        "/%2fadmin/x",
        "/\\admin/x",
        "/x\\..\\admin/x",
        "/admin%20/x",
        "/%20admin/x",
        "/admin./x",
        "/%2561dmin/x",
        "/admin%00/x",
        "/./admin/x",
        "/admin/x?a",
        "/;/admin/x",
        "/%c0%afadmin/x",
        "/admin%09/x",
        "/admin%3b/x",
        "/%u0061dmin/x",
        "/adm%C4%B1n/x",
        "/%EF%BD%81dmin/x",
        "/admin%EF%BC%8Fx",
        "/x/%E2%80%A5/admin/x",
    ] {
        let status = scene.send(get(path)).status;
        assert!([StatusCode::FORBIDDEN, StatusCode::BAD_REQUEST].contains(&status), "{path}: {status}");
    }
    let named = |name: &'static str, path: &str| {
        let mut request = get("/items/7");
        request.headers_mut().insert(name, path.parse().unwrap());
        scene.send(request).status
    };
    for name in ["x-original-url", "x-rewrite-url"] {
        for path in ["/admin/x", "https://api.partner.example/admin/x", "admin/x"] {
            assert_eq!(named(name, path), StatusCode::BAD_REQUEST, "{name}: {path}");
        }
    }
    assert_eq!(scene.times(), 0);
    assert_eq!(named("x-original-url", "/items/7?a"), StatusCode::OK);
    for path in ["/items/A%20B", "/other/.well-known/x.json", "/items/caf%C3%A9", "/"] {
        assert_eq!(scene.send(get(path)).status, StatusCode::OK, "{path}");
    }
}

const METHODS: &str = r#"operations:
  - {name: remove, method: DELETE, path: "/orders/{id}", policies: {inbound: [{return-response: {status: 403}}]}}
  - {name: change, method: POST, path: "/orders/{id}"}
"#;

#[test]
fn no_spelling_of_a_method_keeps_a_request_from_its_operation() {
    let by = |method: &str, overrides: &[(&'static str, &str)]| {
        let mut request = get("/orders/7");
        *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
        for (name, value) in overrides {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        request
    };
    let scene = Scene::new(METHODS);
    for (method, overrides) in [
        ("DELETE", &[][..]),
        ("delete", &[]),
        ("Delete", &[]),
        ("POST", &[("x-http-method-override", "DELETE")]),
        ("POST", &[("x-http-method-override", "PATCH"), ("x-http-method-override", "delete")]),
        ("POST", &[("x-method-override", "DELETE ")]),
        ("GET", &[("x-http-method", "DELETE")]),
    ] {
        let status = scene.send(by(method, overrides)).status;
        assert!([StatusCode::FORBIDDEN, StatusCode::BAD_REQUEST].contains(&status), "{method} {overrides:?}: {status}");
    }
    assert_eq!(scene.times(), 0);
    for (method, overrides) in
        [("POST", &[][..]), ("GET", &[]), ("PURGE", &[]), ("POST", &[("x-method-override", "PUT")])]
    {
        assert_eq!(scene.send(by(method, overrides)).status, StatusCode::OK, "{method} {overrides:?}");
    }
    let only = Scene::new(&format!("only_operations: true\n{METHODS}"));
    assert_eq!(only.send(by("POST", &[("x-http-method-override", "PUT")])).reason(), "path_not_allowed");
    let condition = "policies: {inbound: [{choose: [{when: 'request.method == \"POST\"', then: [{return-response: {status: 403}}]}]}]}\n";
    assert_eq!(Scene::new(condition).send(by("post", &[])).reason(), "path_not_allowed");
}

#[test]
fn of_several_values_each_must_be_allowed() {
    let roles = |roles: &[&str]| {
        let mut request = get(&format!("/a?{}", roles.iter().map(|role| format!("role={role}&")).collect::<String>()));
        for role in roles {
            request.headers_mut().append("x-role", role.parse().unwrap());
        }
        request
    };
    for policy in [
        "- check-header: {name: X-Role, values: [user, guest]}",
        "- choose: [{when: 'request.query.role != \"user\"', then: [{return-response: {status: 403}}]}]",
    ] {
        let scene = Scene::inbound(policy);
        for several in [&["user", "admin"], &["admin", "user"]] {
            assert!(scene.send(roles(several)).status.is_client_error(), "{policy} {several:?}");
        }
        assert_eq!(scene.times(), 0);
        assert_eq!(scene.send(roles(&["user"])).status, StatusCode::OK, "{policy}");
    }
    let scene = Scene::inbound("- check-header: {name: X-Role, values: [user, guest]}");
    assert_eq!(scene.send(roles(&["user", "guest"])).status, StatusCode::OK);
}

/// Also where it is a condition that looks at the path.
#[test]
fn paths_are_strict_where_they_decide_unless_their_owner_says_otherwise() {
    let condition = "policies: {inbound: [{choose: [{when: 'request.path.startsWith(\"/admin\")', then: [{return-response: {status: 403}}]}]}]}\n";
    assert_eq!(Scene::new(condition).send(get("//admin/x")).reason(), "path_not_allowed");
    assert_eq!(Scene::new(condition).send(get("/%61d%6Din/x")).status, StatusCode::FORBIDDEN, "the same path");
    let computed = condition.replace(".startsWith(\"/admin\")", ".split(\"/\")[1] == \"admin\"");
    assert_eq!(Scene::new(&computed).send(get("/%61dmin/x")).status, StatusCode::FORBIDDEN);
    let only = "only_operations: true\noperations: [{name: item, path: \"/items/{id}\"}]\n";
    assert_eq!(Scene::new(only).send(get("/items/a%2fb")).reason(), "path_not_allowed");
    let lenient = format!("paths: lenient\n{ADMIN}");
    assert_eq!(Scene::new(&lenient).send(get("/items/a%2fb")).operation, "item");
    let nothing = "operations: [{name: item, path: \"/items/{id}\"}]\n";
    assert_eq!(Scene::new(nothing).send(get("/items/a%2fb")).operation, "item");
    let strict = format!("paths: strict\n{nothing}");
    assert_eq!(Scene::new(&strict).send(get("/items/a%2fb")).reason(), "path_not_allowed");
}

/// A third party may redirect to whatever its caller names.
#[test]
fn a_redirect_to_another_operation_is_for_the_caller_to_follow() {
    let scene = Scene::new(&format!("{ADMIN}policies: {{backend: [{{forward-request: {{follow_redirects: 3}}}}]}}\n"));
    scene.will(answer(302, &[("location", "/admin/x")], ""));
    let outcome = scene.send(get("/goto?to=/admin/x"));
    assert_eq!((outcome.status, scene.times()), (StatusCode::FOUND, 1));
    scene.will(answer(302, &[("location", "/items/7")], ""));
    assert_eq!(scene.send(get("/items/6")).status, StatusCode::OK);
    assert_eq!(scene.last().uri, "/items/7");
}
