//! The cache against a model of RFC 9111: what is given without a question is fresh, whole, of the right variant, and allowed by
//! the request.

use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::scripted::{Scene, get};

/// What a third party says of a response.
#[derive(Clone, Debug)]
struct Said {
    status: u16,
    fields: Vec<(&'static str, String)>,
    max_age: Option<u64>,
    age: u64,
    stale_if_error: Option<u64>,
    must_revalidate: bool,
    no_store: bool,
    no_cache: bool,
    varies: bool,
}

fn said() -> impl Strategy<Value = Said> {
    let shared = prop::option::weighted(0.2, 0..60u64);
    let own = prop::option::weighted(0.8, 0..60u64);
    let flags = vec(prop::bool::weighted(0.15), 5);
    let status = prop_oneof![8 => Just(200u16), 1 => Just(503), 1 => Just(404)];
    let age = prop_oneof![2 => Just(0u64), 1 => 0..40u64];
    (status, own, shared, age, prop::option::weighted(0.3, 0..60u64), flags, any::<bool>(), any::<bool>()).prop_map(
        |(status, own, shared, age, stale_if_error, flags, has_tag, varies)| {
            let mut directives = Vec::new();
            directives.extend(own.map(|seconds| format!("max-age={seconds}")));
            directives.extend(shared.map(|seconds| format!("s-maxage=\"{seconds}\"")));
            directives.extend(stale_if_error.map(|seconds| format!("stale-if-error={seconds}")));
            let names = ["must-revalidate", "no-store", "no-cache", "private", "ext=\"a, max-age=99999, b\""];
            directives
                .extend(names.iter().zip(&flags).filter(|(_, is_set)| **is_set).map(|(name, _)| (*name).to_owned()));
            directives.reverse();
            let mut fields = vec![("cache-control", directives.join(", "))];
            fields.extend((age > 0).then(|| ("age", age.to_string())));
            fields.extend(has_tag.then(|| ("etag", "\"1\"".to_owned())));
            fields.extend(varies.then(|| ("vary", "X-Lang".to_owned())));
            Said {
                status,
                fields,
                max_age: shared.or(own),
                age,
                stale_if_error,
                must_revalidate: flags[0] || flags[2] || shared.is_some(),
                no_store: flags[1] || flags[3],
                no_cache: flags[2],
                varies,
            }
        },
    )
}

/// What a caller asks for.
#[derive(Clone, Debug)]
struct Asked {
    passed: u64,
    lang: Option<&'static str>,
    control: Option<(&'static str, u64)>,
    said: Said,
    /// Whether the third party says of a response with a validator that it is still so.
    unchanged: bool,
}

fn asked() -> impl Strategy<Value = Asked> {
    let control = prop::sample::select(vec!["no-cache", "max-age", "min-fresh", "max-stale", "no-store"]);
    let control = prop::option::weighted(0.4, (control, prop_oneof![0..40u64, Just(u64::MAX)]));
    let lang = prop::option::of(prop::sample::select(vec!["en", "de"]));
    (0..25u64, lang, control, said(), any::<bool>()).prop_map(|(passed, lang, control, said, unchanged)| Asked {
        passed,
        lang,
        control,
        said,
        unchanged,
    })
}

/// A response that the third party has given.
#[derive(Clone, Debug)]
struct Version {
    said: Said,
    came: u64,
    age: u64,
    lang: Option<&'static str>,
}

impl Version {
    fn age(&self, now: u64) -> u64 {
        self.age + (now - self.came)
    }

    fn fresh_for(&self) -> u64 {
        if self.said.no_cache { 0 } else { self.said.max_age.unwrap_or(0) }
    }
}

fn response(said: &Said, status: u16, body: String, now: u64) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(now));
    for (name, value) in said.fields.iter().chain(&[("date", date)]) {
        response.headers_mut().append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    response
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, rng_seed: RngSeed::Fixed(19), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_given_without_a_question_may_be(requests in vec(asked(), 1..40)) {
        let scene = Scene::policies(&[("inbound", "- cache-lookup: {}"), ("outbound", "- cache-store: {}")]);
        let mut versions: Vec<Version> = Vec::new();
        for request in requests {
            let now = scene.clock.load(Ordering::Relaxed) + request.passed;
            scene.clock.store(now, Ordering::Relaxed);
            let fresh = Version { said: request.said.clone(), came: now, age: request.said.age, lang: request.lang };
            let is_304 = request.unchanged && versions.iter().any(|version| version.said.fields.iter().any(|(name, _)| *name == "etag"));
            let (status, body) = if is_304 { (304, String::new()) } else { (request.said.status, versions.len().to_string()) };
            *scene.answers.lock().unwrap() = [response(&request.said, status, body, now)].into();
            let mut asks = get("/");
            if let Some(lang) = request.lang {
                asks.headers_mut().insert("x-lang", HeaderValue::from_static(lang));
            }
            let control = request.control.map(|(name, seconds)| match name {
                "no-cache" | "no-store" => name.to_owned(),
                name => format!("{name}={}", if seconds == u64::MAX { "99999999999999999999".to_owned() } else { seconds.to_string() }),
            });
            if let Some(control) = &control {
                asks.headers_mut().insert("cache-control", HeaderValue::from_str(control).unwrap());
            }
            let before = scene.times();
            let given = scene.send(asks);
            if scene.times() > before {
                let conditional = scene.last().headers.contains_key("if-none-match");
                if status == 304 {
                    prop_assert!(!conditional || given.status == 200 || given.status == 304);
                    if let (true, Ok(number)) = (conditional, given.body.parse::<usize>()) {
                        // The new fields replace those that were kept.
                        let status = versions[number].said.status;
                        versions[number] = Version { said: Said { status, ..request.said.clone() }, ..fresh };
                    }
                } else if given.body == versions.len().to_string() {
                    versions.push(fresh);
                } else {
                    // A stale response in place of an error (RFC 5861 §4).
                    let version = &versions[given.body.parse::<usize>().unwrap()];
                    prop_assert!(request.said.status >= 500);
                    let stale = version.age(now).saturating_sub(version.fresh_for());
                    let is_fresh = version.age(now) < version.fresh_for();
                    let may_be = !version.said.must_revalidate && stale <= version.said.stale_if_error.unwrap_or(0);
                    prop_assert!(is_fresh || may_be);
                    versions.push(fresh);
                }
                continue;
            }
            let number: usize = given.body.parse().expect("a response of the third party");
            let version = &versions[number];
            let (age, fresh_for) = (version.age(now), version.fresh_for());
            let told = format!("{version:?} at {now}, asked with {control:?}");
            prop_assert!(!version.said.no_store && version.said.status == 200, "{}", told);
            prop_assert!(!version.said.varies || version.lang == request.lang, "{}", told);
            prop_assert_eq!(given.header("age"), age.to_string(), "{}", told);
            let stale_for = match request.control {
                Some(("max-stale", seconds)) if !version.said.must_revalidate => seconds,
                Some(("no-cache" | "no-store", _)) => return Err(TestCaseError::fail(told)),
                _ => 0,
            };
            let is_fresh = age < fresh_for;
            prop_assert!(is_fresh || (stale_for > 0 && age - fresh_for <= stale_for), "{}", told);
            match request.control {
                Some(("max-age", seconds)) => prop_assert!(age <= seconds, "{}", told),
                Some(("min-fresh", seconds)) => prop_assert!(fresh_for - age >= seconds, "{}", told),
                _ => {}
            }
        }
    }

    /// The number of sendings is that of the model, and what is not idempotent is sent once unless its owner says otherwise.
    #[test]
    fn only_what_may_be_is_sent_again(
        count in 1..4u32,
        any_method in any::<bool>(),
        method in prop::sample::select(vec!["GET", "HEAD", "PUT", "DELETE", "POST", "PATCH", "OPTIONS"]),
        statuses in vec(prop::sample::select(vec![200u16, 404, 429, 500, 502, 503, 504]), 5),
    ) {
        let policy = format!("- retry: {{count: {count}, interval: 0ms, any_method: {any_method}, policies: [forward-request: {{}}]}}");
        let scene = Scene::policies(&[("backend", &policy)]);
        let answers = statuses.iter().map(|status| Response::builder().status(*status).body(Bytes::new()).unwrap());
        *scene.answers.lock().unwrap() = answers.collect();
        let mut request = get("/");
        *request.method_mut() = method.parse().unwrap();
        let outcome = scene.send(request);
        let repeats = any_method || ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"].contains(&method);
        let most = if repeats { count as usize + 1 } else { 1 };
        let failed = statuses.iter().take_while(|status| (502..=504).contains(*status)).count();
        prop_assert_eq!(scene.times(), (failed + 1).min(most));
        prop_assert_eq!(outcome.status.as_u16(), statuses[scene.times() - 1]);
    }
}
