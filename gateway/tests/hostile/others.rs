use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;

use crate::scripted::{Other, Scene, answer, get, with};

const OAUTH2: &str =
    "- authentication-oauth2: {token_url: \"https://login.example/token\", client_id: a, client_secret: b}";

#[test]
fn a_token_that_is_good_for_ever_is_one() {
    let scene = Scene::inbound(OAUTH2);
    *scene.other.lock().unwrap() = Other::Answers(r#"{"access_token": "a", "expires_in": 18446744073709551615}"#);
    assert_eq!(scene.send(get("/")).status, StatusCode::OK);
    assert_eq!(scene.send(get("/")).status, StatusCode::OK);
    assert_eq!(scene.others.load(Ordering::Relaxed), 1);
}

/// Else each of those who wait would wait for all before it.
#[test]
fn who_waits_for_a_token_shares_its_absence() {
    let scene = Scene::inbound(OAUTH2);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let outcomes = runtime.block_on(join_all((0..5).map(|_| scene.come(get("/"), 1000))));
    assert!(outcomes.iter().all(|outcome| outcome.status == StatusCode::BAD_GATEWAY));
    assert_eq!(scene.others.load(Ordering::Relaxed), 1);
    assert_eq!(scene.send(get("/")).status, StatusCode::BAD_GATEWAY);
    assert_eq!(scene.others.load(Ordering::Relaxed), 2, "who comes later asks again");
}

/// Each caller can provoke a 401, and all share the token.
#[test]
fn refusals_of_the_third_party_do_not_make_egret_fetch_a_token_for_each_request() {
    let scene = Scene::inbound(OAUTH2);
    *scene.other.lock().unwrap() = Other::Answers(r#"{"access_token": "a", "expires_in": 3600}"#);
    let fetched = || {
        scene.will(answer(401, &[], ""));
        assert_eq!(scene.send(get("/")).status, StatusCode::UNAUTHORIZED);
        scene.others.load(Ordering::Relaxed)
    };
    assert_eq!([fetched(), fetched(), fetched(), fetched()], [1, 2, 2, 2], "another one helps once");
    scene.clock.fetch_add(30, Ordering::Relaxed);
    assert_eq!([fetched(), fetched(), fetched()], [2, 3, 3]);
}

#[test]
fn a_server_that_wants_to_be_left_alone_for_ever_is_for_long() {
    let scene = Scene::inbound("- set-backend: frail");
    scene.will(answer(503, &[("retry-after", "18446744073709551615")], ""));
    scene.will(answer(503, &[("retry-after", "18446744073709551615")], ""));
    assert_eq!(scene.send(get("/")).status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(scene.send(get("/")).status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(scene.times(), 2);
    let refused = scene.send(get("/"));
    assert_eq!((refused.reason().as_str(), scene.times()), ("backend_unavailable", 2));
    scene.clock.fetch_add(7 * 86_400, Ordering::Relaxed);
    assert_eq!(scene.send(get("/")).status, StatusCode::OK, "and not for ever");
}

/// A caller that goes away while keys are fetched must not keep others from them.
#[test]
fn who_goes_away_does_not_keep_others_from_keys() {
    let scene = Scene::inbound("- validate-jwt: {jwks_url: \"https://keys.example/set\"}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let key = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "ID", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    let old: &'static str = Box::leak(key.replace("ID", "old").into());
    *scene.other.lock().unwrap() = Other::Answers(old);
    // {"alg":"EdDSA","kid":"new"}
    let token = || with(get("/"), &[("authorization", "Bearer eyJhbGciOiJFZERTQSIsImtpZCI6Im5ldyJ9.e30.AA")]);
    assert_eq!(scene.send(token()).reason(), "token_key_not_found");
    scene.clock.fetch_add(60, Ordering::Relaxed);
    *scene.other.lock().unwrap() = Other::Waits;
    let at = scene.clock.load(Ordering::Relaxed);
    let gone =
        runtime.block_on(async { tokio::time::timeout(Duration::from_millis(10), scene.come(token(), at)).await });
    assert!(gone.is_err());
    let new: &'static str = Box::leak(key.replace("ID", "new").into());
    *scene.other.lock().unwrap() = Other::Answers(new);
    scene.clock.fetch_add(2, Ordering::Relaxed);
    assert_eq!(scene.send(token()).reason(), "token_signature_invalid", "the new key is there");
}

/// What a server says of itself begins with the path that it is below.
#[test]
fn a_redirect_of_a_server_below_a_path_stays_there() {
    for (told, next) in
        [("/v2/b?c=1", "/v2/b?c=1"), ("/v2?c=1", "/v2/?c=1"), ("b", "/v2/b"), ("/v20/b", "/v2/a"), ("/b", "/v2/a")]
    {
        let follow = "- forward-request: {follow_redirects: 1}";
        let scene = Scene::policies(&[("inbound", "- set-backend: below"), ("backend", follow)]);
        scene.will(answer(302, &[("location", told)], ""));
        scene.send(get("/a"));
        assert_eq!(scene.last().uri, next, "{told}");
    }
}
