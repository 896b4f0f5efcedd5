//! How requests are sent, and what comes where there is no answer.

use egret_tests::{Behaviour, EGRESS, Lab, Then, eventually, wire};

use crate::policies::{ADDRESS, NAME, PLAIN, Scene, URL, scene_with};

#[test]
fn what_failed_is_tried_again() {
    let unavailable = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
    let scene = scene_with("policy-retry", Behaviour::Answer(unavailable, Then::GoesOn));
    assert!(scene.curl(&[URL]).starts_with("HTTP/1.1 503 "));
    assert_eq!(scene.seen().len(), 3, "a safe request");
    scene.curl(&["-d", "order", URL]);
    assert_eq!(scene.seen().len(), 4, "an order is placed once");
    scene.curl(&["-X", "PUT", "-d", "order", URL]);
    let bodies: Vec<_> = scene.seen()[4..].iter().map(|request| request.body.clone()).collect();
    assert_eq!(bodies, [b"order"; 3]);
}

#[test]
fn a_slow_third_party_is_an_error_that_says_so() {
    let scene = scene_with("policy-forward-request", Behaviour::Count);
    let heard = scene.curl(&[URL]);
    assert!(heard.starts_with("HTTP/1.1 504 ") && heard.contains("\nx-why: upstream_timeout\n"), "{heard}");
    assert!(heard.contains("\"by\":\"egret\"") && heard.contains("\"policy\":\"forward-request\""), "{heard}");
}

#[test]
fn an_answer_that_breaks_off_is_none() {
    const HALF: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf ";
    const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole";
    // The third party's first connection ends after half of an answer.
    let scene = scene_with("policy-forward-request-buffered", Behaviour::Answer(HALF, Then::Ends));
    let heard = scene.curl(&[URL]);
    assert!(!heard.contains("half") && !heard.contains("200"), "{heard}");
    assert_eq!(scene.seen().len(), 3);
    let scene = scene_with("policy-forward-request-buffered", Behaviour::Answer(WHOLE, Then::GoesOn));
    let heard = scene.curl(&[URL]);
    assert!(heard.starts_with("HTTP/1.1 200 ") && heard.ends_with("whole"), "{heard}");
}

/// Without `retry`, which reads it as a whole anyway.
#[test]
fn a_request_is_sent_when_it_is_there_as_a_whole() {
    for (buffered, length) in [(true, &["8"][..]), (false, &[])] {
        let lab = Lab::new();
        lab.hosts(&[(ADDRESS, NAME)]);
        let partner = lab.third_party(ADDRESS, 80, Behaviour::Http(vec![EGRESS.parse().unwrap()]));
        let policies = format!("    policies:\n      backend: [forward-request: {{buffer_request: {buffered}}}]\n");
        let _egret = lab.egret(&lab.configure(&format!("{PLAIN}{policies}")), &[]);
        lab.run("curl", &["-s", "-m", "10", "-H", "Transfer-Encoding: chunked", "-d", "an order", URL]);
        let sent = wire::requests(&partner.seen()[0].all).0.remove(0);
        assert_eq!(sent.values("content-length"), length, "{sent:?}");
        assert_eq!(sent.body, b"an order");
    }
}

#[test]
fn redirects_are_followed_to_the_third_party_itself_alone() {
    let moved = |location: &str| {
        let head = format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
        Behaviour::Answer(head.into_bytes().leak(), Then::GoesOn)
    };
    for (location, expected) in [
        ("/next?x=1", vec!["GET /a/b HTTP/1.1", "GET /next?x=1 HTTP/1.1"]),
        ("c", vec!["GET /a/b HTTP/1.1", "GET /a/c HTTP/1.1"]),
        ("http://API.partner.example/d", vec!["GET /a/b HTTP/1.1", "GET /d HTTP/1.1"]),
        ("http://elsewhere.example/d", vec!["GET /a/b HTTP/1.1"]),
        ("https://api.partner.example/d", vec!["GET /a/b HTTP/1.1"]),
    ] {
        let lab = Lab::new();
        lab.hosts(&[(ADDRESS, NAME)]);
        let partner = lab.third_party(ADDRESS, 80, moved(location));
        let _egret = lab.egret(&lab.configure_like("policy-set-header", |_| {
            format!(
                "version: 1\negress:\n  addresses: [{EGRESS}]\napis:\n  - name: partner\n    hosts: [{NAME}]\n    ports: [80]\n    \
                 policies: {{backend: [{{forward-request: {{follow_redirects: 1}}}}]}}\n"
            )
        }), &[]);
        let scene = Scene { lab, partner, _egret };
        let heard = scene.curl(&["http://api.partner.example/a/b"]);
        assert!(heard.starts_with("HTTP/1.1 302 "), "after one, the caller decides: {heard}");
        let starts: Vec<_> = scene.seen().into_iter().map(|request| request.start).collect();
        assert_eq!(starts, expected, "{location}");
    }
}

#[test]
fn without_on_error_a_caller_sees_what_it_would_see_directly() {
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, NAME)]);
    let _partner = lab.third_party(ADDRESS, 80, Behaviour::Answer(b"", Then::Resets));
    let policies = |on_error: &str| {
        format!("{PLAIN}    policies:\n      inbound:\n        - set-header: {{name: X-A, value: a}}\n{on_error}")
    };
    let _egret = lab.egret(&lab.configure(&policies("")), &[]);
    let curl = || lab.run("curl", &["-s", "-i", "-m", "10", URL]);
    assert_eq!(curl().status.code(), Some(56), "a reset");
    lab.configure(&policies("      on-error:\n        - set-header: {name: X-Why, value: \"${error.reason}\"}\n"));
    eventually("an answer says why", || {
        let heard = String::from_utf8_lossy(&curl().stdout).into_owned();
        heard.starts_with("HTTP/1.1 502 ") && heard.contains("x-why: upstream_reset\r\n")
    });
}
