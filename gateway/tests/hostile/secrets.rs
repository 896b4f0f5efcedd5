use http::StatusCode;

use crate::scripted::{Scene, answer, get, post, with};

/// Wherever a caller writes it.
#[test]
fn what_takes_the_place_of_a_placeholder_is_a_secret_everywhere() {
    let scene = Scene::inbound(
        "- replace-placeholder: {placeholder: PARTNER-KEY-HERE, value: \"{{secret}}\", in: [query]}\n\
         - set-header: {name: X-Seen, value: \"${request.query_string}\"}",
    );
    for target in ["/?PARTNER-KEY-HERE", "/?PARTNER-KEY-HERE=1", "/?a=1&bPARTNER-KEY-HERE=2", "/?k=PARTNER-KEY-HERE"] {
        let outcome = scene.send(get(target));
        let seen = scene.last().headers["x-seen"].to_str().unwrap().to_owned();
        assert!(!seen.contains("battery"), "{target}: {seen}");
        assert!(!outcome.steps.contains("battery"), "{target}: {}", outcome.steps);
    }
    assert_eq!(scene.last().uri, "/?k=battery%20staple");
}

fn replaced(places: &str) -> Scene {
    Scene::inbound(&format!(
        "- replace-placeholder: {{placeholder: PARTNER-KEY-HERE, value: \"{{{{secret}}}}\", in: [{places}]}}"
    ))
}

/// The caller would choose a field that the third party repeats to it.
#[test]
fn a_placeholder_elsewhere_stays_one() {
    let scene = replaced("Authorization, query.key");
    let fields = [
        ("origin", "https://PARTNER-KEY-HERE"),
        ("x-a", "PARTNER-KEY-HERE"),
        ("authorization", "Bearer PARTNER-KEY-HERE"),
    ];
    scene.send(with(
        post("/?q=PARTNER-KEY-HERE&key=PARTNER-KEY-HERE&%6bey=PARTNER-KEY-HERE", "PARTNER-KEY-HERE"),
        &fields,
    ));
    let sent = scene.last();
    assert_eq!(sent.uri, "/?q=PARTNER-KEY-HERE&key=battery%20staple&%6bey=battery%20staple");
    let of = |name: &str| sent.headers[name].to_str().unwrap().to_owned();
    assert_eq!(
        [of("origin"), of("x-a"), of("authorization")],
        ["https://PARTNER-KEY-HERE", "PARTNER-KEY-HERE", "Bearer battery staple"]
    );
    assert_eq!(scene.body(), "", "the body is sent as it came");
}

#[test]
fn a_placeholder_in_a_body_is_replaced_where_that_is_said() {
    let scene = replaced("body");
    scene.send(with(
        post("/?k=PARTNER-KEY-HERE", "{\"key\": \"PARTNER-KEY-HERE\"}"),
        &[("content-type", "application/json")],
    ));
    assert_eq!(
        (scene.body().as_str(), scene.last().headers["content-length"].as_bytes()),
        ("{\"key\": \"battery staple\"}", &b"25"[..])
    );
    assert_eq!(scene.last().uri, "/?k=PARTNER-KEY-HERE");
}

/// Third parties repeat what they are sent: in CORS, redirects, errors.
#[test]
fn a_secret_that_comes_back_is_masked() {
    let key = "replace-placeholder: {placeholder: PARTNER-KEY-HERE, value: \"{{secret}}\", in: [X-Key, query]}";
    let reads = "- set-header: {name: X-Size, value: '${size(response.body)}'}";
    let scene = Scene::policies(&[("inbound", &format!("- {key}")), ("outbound", reads)]);
    let fields = [
        ("access-control-allow-origin", "https://battery staple"),
        ("x-echo", "k=battery%20staple&b"),
        ("www-authenticate", "Key realm=\"battery staple\""),
        ("x-other", "as it is"),
    ];
    scene.will(answer(400, &fields, "no such key: \"battery staple\" (battery+staple, battery%20staple)"));
    let outcome = scene.send(with(get("/"), &[("x-key", "PARTNER-KEY-HERE")]));
    assert_eq!(outcome.header("access-control-allow-origin"), "https://***");
    assert_eq!((outcome.header("x-echo"), outcome.header("x-other")), ("***", "as it is"));
    assert_eq!(outcome.header("www-authenticate"), "Key realm=\"***\"");
    assert_eq!(outcome.body, "no such key: \"***\" (***, ***)");
    assert_eq!(outcome.header("content-length"), outcome.body.len().to_string());
    assert!(!outcome.steps.contains("battery"), "{}", outcome.steps);
}

/// Whatever put them there.
#[test]
fn other_credentials_that_come_back_are_masked() {
    for (policy, told) in [
        ("- set-header: {name: X-Key, value: \"key-{{secret}}\"}", "battery staple"),
        ("- set-query-parameter: {name: key, value: \"{{secret}}\"}", "battery staple"),
        ("- authentication-basic: {username: a, password: \"{{secret}}\"}", "battery staple"),
        ("- authentication-basic: {username: a, password: \"{{secret}}\"}", "YTpiYXR0ZXJ5IHN0YXBsZQ=="),
        ("- authentication-api-key: {header: X-Key, value: \"{{secret}}\"}", "battery staple"),
        ("- set-body: \"key={{secret}}\"", "battery staple"),
    ] {
        let scene =
            Scene::policies(&[("inbound", policy), ("outbound", "- cache-store: {}\n- set-body: '${response.body}'")]);
        scene.will(answer(200, &[("x-echo", told)], told));
        let outcome = scene.send(get("/"));
        assert_eq!((outcome.header("x-echo"), outcome.body.as_str()), ("***", "***"), "{policy}");
    }
}

#[test]
fn a_buffered_response_is_masked() {
    let scene = Scene::policies(&[("inbound", KEY), ("backend", "- forward-request: {buffer_response: true}")]);
    scene.will(answer(200, &[], "you said battery staple"));
    let outcome = scene.send(get("/"));
    assert_eq!((outcome.body.as_str(), outcome.header("content-length")), ("you said ***", "12"));
}

const KEY: &str = "- set-query-parameter: {name: key, value: \"{{secret}}\"}";

/// Redirects often lead to the same query elsewhere.
#[test]
fn a_place_that_repeats_a_secret_is_told_without_it() {
    for place in ["location", "content-location"] {
        let scene = Scene::inbound(KEY);
        scene.will(answer(301, &[(place, "/a/?b=1&key=battery%20staple&c=2#d")], ""));
        assert_eq!(scene.send(get("/a?b=1")).header(place), "/a/?b=1&c=2#d");
        scene.will(answer(301, &[(place, "https://other.example/a?k%65y=battery+staple")], ""));
        assert_eq!(scene.send(get("/a?b=1")).header(place), "https://other.example/a");
        scene.will(answer(301, &[(place, "/?a&key2=1")], ""));
        assert_eq!(scene.send(get("/a?b=1")).header(place), "/?a&key2=1");
    }
}

/// As of interfaces that have their key in the path.
#[test]
fn a_place_that_repeats_a_secret_path_is_told_without_it() {
    let scene = Scene::inbound(
        "- set-variable: {name: key, value: '\"battery:staple\"', secret: true}\n\
         - rewrite-uri: {template: \"/bot${variables.key}/me\"}",
    );
    for (told, shown) in [
        ("/botbattery:staple/me/", "/bot***/me/"),
        ("https://other.example/v2/battery:staple", "https://other.example/v2/***"),
        ("/bot%62attery%3Astaple/me/", "***"),
        ("/elsewhere", "/elsewhere"),
    ] {
        scene.will(answer(301, &[("location", told)], ""));
        assert_eq!(scene.send(get("/a")).header("location"), shown, "{told}");
        assert_eq!(scene.last().uri, "/botbattery:staple/me");
    }
}

#[test]
fn a_redirect_that_is_followed_is_told_without_secrets() {
    let scene = Scene::policies(&[("inbound", KEY), ("backend", "- forward-request: {follow_redirects: 1}")]);
    scene.will(answer(302, &[("location", "/b?key=battery%20staple")], ""));
    let outcome = scene.send(get("/a"));
    assert_eq!(scene.last().uri, "/b?key=battery%20staple");
    assert!(outcome.steps.contains("redirected to /b?key=***"), "{}", outcome.steps);
}

#[test]
fn what_is_only_reported_leaves_no_secret_behind() {
    for policy in [
        "- set-query-parameter: {name: key, value: \"{{secret}}\"}\n  enabled: report",
        "- rewrite-uri: {template: \"/{{secret}}\"}\n  enabled: report",
        "- set-body: \"{{secret}}\"\n  enabled: report",
    ] {
        let scene = Scene::inbound(&[policy, "\n- set-backend: clear"].concat());
        assert_eq!(scene.send(get("/")).status, StatusCode::OK, "{policy}");
    }
}

/// What is compared is not sent.
#[test]
fn a_secret_that_a_token_is_compared_with_needs_no_tls() {
    let validate = "- validate-jwt: {audiences: [\"{{secret}}\"], keys: [{algorithm: HS256, value: \"{{secret}}\"}]}";
    let mut scene = Scene::inbound(validate);
    scene.tls = false;
    // {"alg":"HS256"} {"aud":"a","exp":9999999999}
    let signed = "eyJhbGciOiJIUzI1NiJ9.eyJhdWQiOiJhIiwiZXhwIjo5OTk5OTk5OTk5fQ";
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"battery staple");
    let tag = aws_lc_rs::hmac::sign(&key, signed.as_bytes());
    let tag = base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, tag.as_ref());
    let outcome = scene.send(with(get("/"), &[("authorization", &format!("Bearer {signed}.{tag}"))]));
    assert_eq!(outcome.reason(), "token_audience_not_allowed");
}

#[test]
fn links_to_what_follows_are_told_without_a_secret() {
    let scene = Scene::inbound(KEY);
    let links = "</a?key=battery%20staple&page=2>; rel=\"next\", <https://x.example/?page=1&key=b#c>; rel=prev; title=\"?key=1\"";
    scene.will(answer(200, &[("link", links)], ""));
    let expected = "</a?page=2>; rel=\"next\", <https://x.example/?page=1#c>; rel=prev; title=\"?key=1\"";
    assert_eq!(scene.send(get("/a")).header("link"), expected);
}

/// Its answer is the request.
#[test]
fn nobody_has_a_secret_traced() {
    for secret in [KEY, "- set-header: {name: X-Key, value: \"{{secret}}\"}"] {
        let scene = Scene::inbound(secret);
        let mut request = get("/");
        *request.method_mut() = http::Method::TRACE;
        assert_eq!(scene.send(request).reason(), "secret_in_clear", "{secret}");
        assert_eq!(scene.times(), 0);
    }
    let mut request = get("/");
    *request.method_mut() = http::Method::TRACE;
    let scene = Scene::inbound("- set-header: {name: X-Plain, value: a}");
    assert_eq!(scene.send(request).status, StatusCode::OK);
}
