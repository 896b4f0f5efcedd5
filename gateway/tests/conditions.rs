//! What a condition comes to does not depend on whether it needs the interpreter.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use egret::config;
use egret::model::{Generation, Host, Identity, Unknown, Workload};
use egret::policy::{self, Call, Dry, Policies, Statement};
use http::{HeaderValue, Request, StatusCode};

/// Conditions that need none.
const CONDITIONS: &[&str] = &[
    "request.method == 'POST'",
    "'POST' == request.method",
    "request.method != 'POST'",
    "!(request.method == 'POST')",
    "request.path.startsWith('/orders/') && request.headers['x-a'] == 'b'",
    "request.path == '/orders/1' || request.headers['X-A'] == 'b'",
    "request.headers['x-two'] == 'a, b'",
    "request.headers['x-two'].contains(', ')",
    "request.headers['x-secret'] == '***'",
    "request.headers['x-none'] == ''",
    "'x-a' in request.headers",
    "'X-None' in request.headers",
    "!('x-none' in request.headers) && request.host.endsWith('.example')",
    "request.scheme == 'https' && workload.owner == 'billing'",
    "workload.owner == 'billing' || workload.owner.startsWith('b')",
    "workload.unit == '' && api.name == 'partner' && operation.name == 'order'",
    "workload.namespace == 'billing' && workload.pod_name.startsWith('api-') && workload.service_account == ''",
    "product.name == '' || subscription.name == 'a'",
];

/// Conditions about facts that are not known, and what they come to; nothing if that cannot be said.
const UNKNOWN: &[(&str, Option<bool>)] = &[
    ("workload.namespace == 'shop'", None),
    ("workload.namespace != 'shop'", None),
    ("!(workload.pod_name.startsWith('a'))", None),
    ("workload.namespace == 'shop' && request.method == 'GET'", None),
    ("workload.namespace == 'shop' || request.method == 'POST'", None),
    ("workload.namespace == 'shop' && request.method == 'POST'", Some(false)),
    ("request.method == 'GET' || workload.namespace == 'shop'", Some(true)),
    ("workload.namespace == 'shop' || request.method == 'GET'", Some(true)),
    ("workload.unit == 'a.service' || workload.container == ''", Some(true)),
    ("has(workload.namespace)", Some(false)),
    ("has(workload.unit) && has(workload.owner) && has(workload.uid)", Some(true)),
    ("'namespace' in workload.unknown && !('unit' in workload.unknown)", Some(true)),
    ("workload.labels['team'] == 'a'", None),
    ("'team' in workload.labels", None),
    ("'labels' in workload.unknown || 'team' in workload.labels", Some(true)),
    ("workload.annotations['team'] == ''", None),
];

/// What the policies made of a call by a workload whose pod nobody has described yet.
fn run_for_unknown(policies: &str) -> Result<http::HeaderMap, String> {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let text = format!(
        "version: 1\negress: {{addresses: [192.0.2.10]}}\nkubernetes: {{api: true}}\napis:\n  - name: partner\n    hosts: \
         [api.partner.example]\n    mode: intercept\n    policies:\n      inbound:\n{policies}"
    );
    let path = std::env::temp_dir().join(format!("egret-unknown-{}-{number}.yaml", std::process::id()));
    std::fs::write(&path, text).unwrap();
    let loaded = config::load(&path, Generation(1));
    std::fs::remove_file(path).unwrap();
    let model = loaded.unwrap_or_else(|errors| panic!("{errors}")).model;
    let (api, host) = (&model.apis[0], Host::parse("api.partner.example").unwrap());
    let unknown = Unknown { pod: true, described: true, ..Unknown::default() };
    let identity = Identity { unknown, ..Identity::of("pod 1") };
    let workload = Workload { user_unknown: false, user: "root".into(), ..Workload::from(Arc::new(identity)) };
    let head = Request::builder().uri("/").body(()).unwrap().into_parts().0;
    let mut call = Call::new(head, &workload, api, &host, SystemTime::UNIX_EPOCH, Duration::ZERO);
    // What was sent is kept, as for `egret explain`.
    call.effects.steps = Some(Vec::new());
    let mut world = Dry::new(Bytes::new(), StatusCode::OK);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let outcome = runtime.block_on(policy::run(&mut call, api.rules.as_ref().unwrap(), &mut world));
    match outcome.as_ref().err().or(call.context.error.as_ref()) {
        Some(fault) => Err(fault.message.clone()),
        None => Ok(call.message.request.headers),
    }
}

#[test]
fn a_fact_that_is_not_known_decides_nothing() {
    for (condition, expected) in UNKNOWN {
        for condition in [(*condition).to_owned(), format!("({condition}) ? true : false")] {
            let then = "then: [{set-header: {name: X-Then, value: 'yes'}}]";
            let found = run_for_unknown(&format!("        - choose: [{{when: \"{condition}\", {then}}}]\n"));
            match (found, expected) {
                (Ok(headers), Some(expected)) => assert_eq!(headers.contains_key("x-then"), *expected, "{condition}"),
                (Err(message), None) => assert!(message.contains("not known"), "{condition}: {message}"),
                (found, expected) => panic!("{condition}: {found:?}, not {expected:?}"),
            }
        }
    }
}

#[test]
fn a_fact_that_is_not_known_is_shown_empty_but_nothing_is_computed_of_it() {
    let set = |value: &str| run_for_unknown(&format!("        - set-header: {{name: X-Pod, value: \"{value}\"}}\n"));
    let shown = set("'${workload.namespace}/${workload.labels['team']}' of ${workload.user}").unwrap();
    assert_eq!(shown["x-pod"], "'/' of root");
    let message = set("${workload.namespace == 'shop' ? 'shop' : 'other'}").unwrap_err();
    assert!(message.contains("`workload.namespace` is not known"), "{message}");
    let variable = "        - set-variable: {name: space, value: workload.namespace}\n";
    assert!(run_for_unknown(variable).unwrap_err().contains("`workload.namespace` is not known"));
    run_for_unknown("        - rate-limit-by-key: {calls: 1, period: 1h, key: workload.namespace}\n").unwrap();
}

#[test]
fn with_and_without_the_interpreter_it_is_the_same() {
    let mut text = "version: 1\negress: {addresses: [192.0.2.10]}\napis:\n  - name: partner\n    hosts: [api.partner.example]\n    \
                    mode: intercept\n    operations: [{name: order, path: '/orders/{id}'}]\n    policies:\n      inbound:\n"
        .to_owned();
    for (number, condition) in CONDITIONS.iter().enumerate() {
        for (way, condition) in [("n", (*condition).to_owned()), ("c", format!("({condition}) ? true : false"))] {
            writeln!(
                text,
                "        - choose: [{{when: \"{condition}\", then: [{{set-header: {{name: X-{way}{number}, value: 'yes'}}}}]}}]"
            )
            .unwrap();
        }
    }
    let path = std::env::temp_dir().join(format!("egret-conditions-{}.yaml", std::process::id()));
    std::fs::write(&path, text).unwrap();
    let loaded = config::load(&path, Generation(1));
    std::fs::remove_file(path).unwrap();
    let model = loaded.unwrap_or_else(|errors| panic!("{errors}")).model;
    let (api, host) = (&model.apis[0], Host::parse("api.partner.example").unwrap());
    let policies = &api.rules.as_ref().unwrap().operations[0].policies.without;
    let inbound = &Policies::of(policies).unwrap().inbound;
    for (number, policy) in inbound.iter().enumerate() {
        let Statement::Choose(choose) = &policy.statement else { panic!("{policy:?}") };
        let when = choose.branches[0].when.as_ref().unwrap();
        assert_eq!(when.condition.is_some(), number % 2 == 0, "{when:?}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (mut yes, mut no) = (0, 0);
    for method in ["GET", "POST"] {
        for target in ["/orders/1", "/orders/2?x=y", "/"] {
            for a in [None, Some("b"), Some("c")] {
                let mut request = Request::builder().method(method).uri(target).body(()).unwrap();
                let headers = request.headers_mut();
                headers.extend(a.map(|a| (http::HeaderName::from_static("x-a"), HeaderValue::from_static(a))));
                headers.append("x-two", HeaderValue::from_static("a"));
                headers.append("x-two", HeaderValue::from_static("b"));
                let mut secret = HeaderValue::from_static("horse");
                secret.set_sensitive(true);
                headers.insert("x-secret", secret);
                let (namespace, pod_name) = (Some("billing".into()), Some("api-0".into()));
                let identity = Identity { namespace, pod_name, ..Identity::of("billing") };
                let workload = Workload::from(Arc::new(identity));
                let head = request.into_parts().0;
                let mut call = Call::new(head, &workload, api, &host, SystemTime::UNIX_EPOCH, Duration::ZERO);
                call.effects.steps = Some(Vec::new());
                let mut world = Dry::new(Bytes::new(), StatusCode::OK);
                runtime.block_on(policy::run(&mut call, api.rules.as_ref().unwrap(), &mut world)).unwrap();
                for (number, condition) in CONDITIONS.iter().enumerate() {
                    let [native, interpreted] =
                        ["n", "c"].map(|way| call.message.request.headers.contains_key(format!("x-{way}{number}")));
                    assert_eq!(native, interpreted, "{condition} of {method} {target} {a:?}");
                    if native { yes += 1 } else { no += 1 }
                }
            }
        }
    }
    assert!(yes > 50 && no > 50, "{yes} {no}");
}
