use crate::scripted::{Scene, answer, get, post, with};

fn cached(lookup: &str) -> Scene {
    Scene::policies(&[("inbound", lookup), ("outbound", "- cache-store: {duration: 1m}")])
}

#[test]
fn answers_differ_by_all_that_a_header_says() {
    let scene = cached("- cache-lookup: {}");
    scene.will(answer(200, &[("vary", "x-lang")], "of another"));
    scene.will(answer(200, &[("vary", "x-lang")], "english"));
    scene.send(with(get("/"), &[("x-lang", "en"), ("x-lang", "other")]));
    assert_eq!(scene.send(with(get("/"), &[("x-lang", "en")])).body, "english");
}

#[test]
fn parameters_are_told_apart_as_they_are_written() {
    let scene = cached("- cache-lookup: {vary_by_query_parameter: [a, b]}");
    for target in ["/?a=1%26b%3D2", "/?a=1&b=2", "/?a=1%0Ab%3D2", "/?a=1"] {
        let before = scene.times();
        scene.send(get(target));
        assert_eq!(scene.times(), before + 1, "{target}");
    }
    scene.send(get("/?a=1&c=3"));
    assert_eq!(scene.times(), 4);
}

#[test]
fn headers_are_told_apart_as_they_are() {
    let scene = cached("- cache-lookup: {vary_by_header: [X-Key]}");
    for value in [&b"\xfe"[..], b"\xff"] {
        let mut request = get("/");
        request.headers_mut().insert("x-key", http::HeaderValue::from_bytes(value).unwrap());
        scene.send(request);
    }
    assert_eq!(scene.times(), 2);
}

/// What a third party makes of the body of a GET, nobody else has asked for.
#[test]
fn a_request_with_a_body_is_not_looked_up() {
    let scene = cached("- cache-lookup: {}");
    scene.will(answer(200, &[], "of the body"));
    scene.will(answer(200, &[], "of none"));
    let mut request = post("/", "poison");
    *request.method_mut() = http::Method::GET;
    scene.send(request);
    assert_eq!(scene.send(get("/")).body, "of none");
    let mut request = with(get("/"), &[("transfer-encoding", "chunked")]);
    *request.body_mut() = "x";
    scene.send(request);
    assert_eq!(scene.times(), 3);
}

#[test]
fn a_cookie_of_one_caller_is_not_anothers() {
    let scene = Scene::policies(&[("inbound", "- cache-lookup: {}"), ("outbound", "- cache-store: {}")]);
    scene.will(answer(200, &[("etag", "\"1\""), ("cache-control", "no-cache")], "body"));
    scene.will(answer(304, &[("etag", "\"1\""), ("set-cookie", "session=mine")], ""));
    scene.will(answer(304, &[("etag", "\"1\"")], ""));
    scene.send(get("/"));
    let own = scene.send(get("/"));
    assert_eq!((own.body.as_str(), own.header("set-cookie")), ("body", "session=mine"));
    let other = scene.send(get("/"));
    assert_eq!((other.body.as_str(), other.header("set-cookie")), ("body", ""));
}

#[test]
fn what_outbound_has_changed_stays_so_when_the_answer_is_still_so() {
    let outbound = "- set-header: {name: X-Internal, exists_action: delete}\n- set-header: {name: Server, value: ours}\n- cache-store: {}";
    let scene = Scene::policies(&[("inbound", "- cache-lookup: {}"), ("outbound", outbound)]);
    let fields = [("etag", "\"1\""), ("cache-control", "no-cache"), ("x-internal", "10.0.0.1"), ("server", "theirs")];
    scene.will(answer(200, &[&fields[..], &[("x-new", "1")]].concat(), "body"));
    scene.will(answer(304, &[&fields[..], &[("x-new", "2")]].concat(), ""));
    scene.send(get("/"));
    let renewed = scene.send(get("/"));
    assert_eq!((renewed.header("x-internal"), renewed.header("server"), renewed.header("x-new")), ("", "ours", "2"));
}

/// RFC 9111 §3.5.
#[test]
fn what_is_still_so_for_an_authorized_caller_is_not_for_all() {
    let scene = Scene::policies(&[("inbound", "- cache-lookup: {}"), ("outbound", "- cache-store: {}")]);
    let own = |request| with(request, &[("authorization", "Bearer a")]);
    scene.will(answer(200, &[("etag", "\"1\""), ("cache-control", "public, max-age=0")], "body"));
    scene.will(answer(304, &[("etag", "\"1\""), ("cache-control", "max-age=60")], ""));
    scene.send(own(get("/")));
    assert_eq!(scene.send(own(get("/"))).body, "body");
    scene.send(get("/"));
    assert_eq!(scene.times(), 3, "it is asked again");
}

#[test]
fn answers_of_other_servers_are_kept_apart() {
    let choose =
        "- choose: [{when: 'request.headers[\"x-beta\"] == \"1\"', then: [{set-backend: beta}]}]\n- cache-lookup: {}";
    let scene = cached(choose);
    scene.will(answer(200, &[], "beta"));
    scene.will(answer(200, &[], "partner"));
    scene.send(with(get("/"), &[("x-beta", "1")]));
    assert_eq!(scene.send(get("/")).body, "partner");
    assert_eq!(scene.send(with(get("/"), &[("x-beta", "1")])).body, "beta");
}

#[test]
fn an_age_beyond_all_numbers_is_old() {
    let scene = Scene::policies(&[("inbound", "- cache-lookup: {}"), ("outbound", "- cache-store: {}")]);
    scene.will(answer(200, &[("cache-control", "max-age=60"), ("age", "99999999999999999999")], ""));
    scene.send(get("/"));
    scene.send(get("/"));
    assert_eq!(scene.times(), 2);
}

/// Whoever it is that the third party knows by them.
#[test]
fn a_response_to_credentials_is_not_anothers() {
    for name in
        ["authorization", "cookie", "proxy-authorization", "x-api-key", "x-auth-token", "ocp-apim-subscription-key"]
    {
        let scene = cached("- cache-lookup: {}");
        scene.will(answer(200, &[], "mine"));
        scene.will(answer(200, &[], "of nobody"));
        assert_eq!(scene.send_from("/a", with(get("/"), &[(name, "secret")])).body, "mine");
        assert_eq!(scene.send_from("/b", get("/")).body, "of nobody", "{name}");
        // And what is for nobody in particular is not given to somebody.
        scene.will(answer(200, &[], "mine again"));
        assert_eq!(scene.send_from("/a", with(get("/"), &[(name, "secret")])).body, "mine again", "{name}");
    }
}

/// RFC 9111 §3.5, or the configuration's.
#[test]
fn a_response_to_credentials_is_shared_on_a_word() {
    let mine = |request| with(request, &[("x-api-key", "a")]);
    let scene = cached("- cache-lookup: {}");
    scene.will(answer(200, &[("cache-control", "public")], "for all"));
    scene.send(mine(get("/")));
    assert_eq!(scene.send(get("/")).body, "for all");
    let scene = cached("- cache-lookup: {share_authorized: true}");
    scene.will(answer(200, &[], "for all"));
    scene.send(mine(get("/")));
    assert_eq!(scene.send(get("/")).body, "for all");
    let scene = cached("- cache-lookup: {vary_by_header: [X-Api-Key]}");
    scene.will(answer(200, &[], "of a"));
    scene.send(mine(get("/")));
    assert_eq!(scene.send(mine(get("/"))).body, "of a");
    assert_eq!(scene.send(with(get("/"), &[("x-api-key", "b")])).body, "");
    // One credential in the key is not all of them.
    scene.will(answer(200, &[], "of a cookie"));
    scene.send(with(mine(get("/c")), &[("cookie", "session=a")]));
    assert_eq!(scene.send(mine(get("/c"))).body, "");
}

/// Wherever in the order of policies it comes into the request.
#[test]
fn a_response_to_a_credential_of_egrets_is_its_callers_owners() {
    let key = "- set-header: {name: X-Key, value: \"{{secret}}\"}";
    for inbound in [format!("- cache-lookup: {{}}\n{key}"), format!("{key}\n- cache-lookup: {{}}")] {
        let scene = cached(&inbound);
        scene.will(answer(200, &[], "for a"));
        scene.will(answer(200, &[], "for b"));
        assert_eq!(scene.send_from("/a", get("/")).body, "for a");
        assert_eq!(scene.send_from("/b", get("/")).body, "for b", "{inbound}");
        assert_eq!(scene.send_from("/a", get("/")).body, "for a");
        assert_eq!(scene.times(), 2);
    }
    let shared = cached(&format!("{key}\n- cache-lookup: {{share_authorized: true}}"));
    shared.will(answer(200, &[], "for all"));
    shared.send_from("/a", get("/"));
    assert_eq!(shared.send_from("/b", get("/")).body, "for all");
}

const VALUES: &str = "- choose: [{when: '\"x-set\" in request.headers', then: [{cache-store-value: {key: 'request.headers[\"x-name\"]', value: 'request.headers[\"x-set\"]', duration: 1h}}]}]\n\
                      - cache-lookup-value: {key: 'request.headers[\"x-name\"]', variable: kept, default: '\"none\"'}\n\
                      - set-header: {name: X-Kept, value: \"${variables.kept}\"}";

#[test]
fn a_value_that_is_kept_is_its_owners() {
    let kept = |scene: &Scene| scene.last().headers["x-kept"].to_str().unwrap().to_owned();
    let scene = Scene::inbound(VALUES);
    scene.send_from("/a", with(get("/"), &[("x-name", "token"), ("x-set", "poison")]));
    assert_eq!(kept(&scene), "poison");
    for (owner, name) in [("/b", "token"), ("/b", "\" \"token"), ("/a", "other"), ("/", "a\" \"token")] {
        scene.send_from(owner, with(get("/"), &[("x-name", name)]));
        assert_eq!(kept(&scene), "none", "{owner} {name}");
    }
    let shared = Scene::inbound(
        &VALUES.replace("key: 'request.headers[\"x-name\"]',", "key: 'request.headers[\"x-name\"]', shared: tokens,"),
    );
    shared.send_from("/a", with(get("/"), &[("x-name", "token"), ("x-set", "for all")]));
    shared.send_from("/b", with(get("/"), &[("x-name", "token")]));
    assert_eq!(kept(&shared), "for all");
}

/// Some servers take another host, target or method from these fields than the request has.
#[test]
fn what_may_choose_another_target_is_told_apart() {
    let scene = cached("- cache-lookup: {}");
    for (name, value) in [
        ("host", "api.partner.example:6666"),
        ("x-forwarded-host", "evil.example"),
        ("x-original-url", "/evil"),
        ("x-http-method-override", "DELETE"),
        ("expect", "evil"),
    ] {
        let before = scene.times();
        let mut request = get("/");
        request.headers_mut().insert(name, value.parse().unwrap());
        scene.send(request);
        assert_eq!(scene.times(), before + 1, "{name}");
    }
    let before = scene.times();
    scene.send(get("/"));
    scene.send(get("/"));
    assert_eq!(scene.times(), before + 1);
}

/// RFC 9111 §4.3.4: what a 304 says replaces what the cached response said.
#[test]
fn a_response_that_may_no_longer_be_kept_is_forgotten() {
    for forbids in ["no-store", "private", "max-age=60, no-store"] {
        let scene = Scene::policies(&[("inbound", "- cache-lookup: {}"), ("outbound", "- cache-store: {}")]);
        scene.will(answer(200, &[("etag", "\"1\""), ("cache-control", "max-age=600")], "body"));
        scene.will(answer(304, &[("etag", "\"1\""), ("cache-control", forbids)], ""));
        scene.send(get("/"));
        assert_eq!(scene.send(with(get("/"), &[("cache-control", "no-cache")])).body, "body");
        scene.send(get("/"));
        assert_eq!(scene.times(), 3, "{forbids}");
        assert!(!scene.last().headers.contains_key("if-none-match"));
    }
}

/// RFC 9111 §5.2.3: a directive that is not known does not hide the others.
#[test]
fn a_strange_directive_does_not_hide_another() {
    for (control, is_kept) in [
        (&b"no-store, ext=\"\xe9\""[..], false),
        (b"ext=\"a, max-age=600, b\"", false),
        (b"ext=\xe9, max-age=600", true),
    ] {
        let scene = Scene::policies(&[("inbound", "- cache-lookup: {}"), ("outbound", "- cache-store: {}")]);
        let mut said = answer(200, &[], "body").map(bytes::Bytes::from);
        said.headers_mut().insert("cache-control", http::HeaderValue::from_bytes(control).unwrap());
        scene.answers.lock().unwrap().push_back(said);
        scene.send(get("/"));
        scene.send(get("/"));
        assert_eq!(scene.times(), if is_kept { 1 } else { 2 }, "{}", control.escape_ascii());
    }
}

/// RFC 9111 §4.2: a response is stale since its age has passed its lifetime, not since it came.
#[test]
fn a_response_that_came_stale_is_stale_since_before() {
    let scene = Scene::policies(&[("inbound", "- cache-lookup: {}"), ("outbound", "- cache-store: {}")]);
    scene.will(answer(200, &[("etag", "\"1\""), ("cache-control", "max-age=10"), ("age", "30")], "body"));
    scene.send(get("/"));
    for (most, times) in [("max-stale=20", 1), ("max-stale=19", 2)] {
        scene.send(with(get("/"), &[("cache-control", most)]));
        assert_eq!(scene.times(), times, "{most}");
    }
}
