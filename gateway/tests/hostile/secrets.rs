use http::StatusCode;

use crate::scripted::{Scene, answer, get, with};

/// Wherever a caller writes it.
#[test]
fn what_takes_the_place_of_a_placeholder_is_a_secret_everywhere() {
    let scene = Scene::inbound(
        "- replace-placeholder: {placeholder: PARTNER-KEY-HERE, value: \"{{secret}}\"}\n\
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
