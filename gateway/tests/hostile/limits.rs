use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use http::StatusCode;

use crate::scripted::{Scene, get, post, with};

const REFUSED: StatusCode = StatusCode::TOO_MANY_REQUESTS;

/// Calls count when they are made, not when their callers began to speak.
#[test]
fn slow_callers_do_not_get_around_a_rate_limit() {
    let scene = Scene::inbound(
        "- choose: [{when: 'request.body == \"never\"', then: []}]\n- rate-limit: {calls: 1, period: 1m}",
    );
    scene.slowness.store(600, Ordering::Relaxed);
    assert_eq!(scene.send(post("/", "slow")).status, StatusCode::OK);
    scene.slowness.store(0, Ordering::Relaxed);
    scene.clock.fetch_add(1, Ordering::Relaxed);
    assert_eq!(scene.send(post("/", "fast")).status, REFUSED);
}

/// Nothing of it is looked at then.
#[test]
fn what_does_not_count_needs_no_key() {
    for limit in ["rate-limit-by-key: {calls: 1, period: 1m,", "quota-by-key: {calls: 1,"] {
        let rest = "key: 'int(request.headers[\"x-customer\"])', condition: request.method == \"POST\"}";
        let scene = Scene::inbound(&format!("- {limit} {rest}"));
        assert_eq!(scene.send(get("/")).status, StatusCode::OK, "{limit}");
        assert_eq!(scene.send(post("/", "a")).status, StatusCode::INTERNAL_SERVER_ERROR, "{limit}");
    }
}

#[test]
fn who_came_in_the_period_before_does_not_begin_this_one_anew() {
    let scene = Scene::inbound("- quota: {calls: 1, period: 1m}");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let at = |now: u64, came: u64| {
        scene.clock.store(came, Ordering::Relaxed);
        let outcome = runtime.block_on(scene.come(get("/"), came));
        (now, outcome.status)
    };
    assert_eq!(at(120, 120), (120, StatusCode::OK));
    // Of two at once, the later one was counted first.
    at(120, 119);
    assert_eq!(at(121, 121), (121, StatusCode::FORBIDDEN));
}

#[test]
fn a_limit_that_is_only_reported_counts_those_on_their_way() {
    let scene = Scene::inbound("- limit-concurrency: {max: 1}\n  enabled: report");
    let first = scene.send(get("/"));
    assert_eq!((first.reports, first.held.len()), (0, 1));
    assert_eq!(scene.send(get("/")).reports, 1);
    drop(first);
    assert_eq!(scene.send(get("/")).reports, 0);
}

/// Whoever chooses the keys would choose how much memory there is.
#[test]
fn long_keys_are_not_kept_as_they_are() {
    for policy in [
        "- rate-limit-by-key: {calls: 2, period: 1m, key: 'request.headers[\"x-key\"]'}",
        "- quota-by-key: {calls: 2, key: 'request.headers[\"x-key\"]'}",
        "- limit-concurrency: {max: 2, key: 'request.headers[\"x-key\"]'}",
    ] {
        let scene = Scene::inbound(policy);
        let keys = ["a".repeat(50_000), ["a".repeat(49_999), "b".to_owned()].concat()];
        let mut held = Vec::new();
        for key in keys.iter().chain(&keys) {
            let outcome = scene.send(with(get("/"), &[("x-key", key)]));
            assert_eq!(outcome.status, StatusCode::OK, "{policy}");
            held.push(outcome);
        }
        let refused = scene.send(with(get("/"), &[("x-key", &keys[0])]));
        assert_ne!(refused.status, StatusCode::OK, "{policy}");
        let (uses, _) = scene.state.limits(UNIX_EPOCH + Duration::from_secs(1000), Duration::from_secs(1000), 10);
        assert_eq!(uses.len(), 2, "{policy}: {uses:?}");
        assert!(uses.iter().all(|one| one.key.len() < 300), "{policy}");
    }
}
