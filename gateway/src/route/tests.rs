use std::time::Duration;

use super::*;
use crate::model::Host;
use crate::model::{
    Drain, Egress, FailMode, Generation, Limits, OnRefusal, OriginalDst, Pool, Scope, Unlisted, Wildcard, Workload,
};

const ADDRESS: &str = "203.0.113.7:443";

fn host(name: &str) -> Host {
    Host::parse(&format!("{name}.example")).unwrap()
}

fn api(name: &str, mode: Mode) -> Api {
    Api {
        name: name.into(),
        hosts: vec![host(name)],
        wildcards: Vec::new(),
        ports: vec![443],
        opaque_ports: Vec::new(),
        workloads: None,
        mode,
        fail: FailMode::Closed,
        egress: None,
        backend: None,
        pool: Pool::default(),
        on_refusal: OnRefusal::default(),
        on_refusal_workloads: Vec::new(),
        strangers: if mode == Mode::Deny { Strangers::Refuse } else { Strangers::Carry },
        allow_addresses: Vec::new(),
        upgrades: Vec::new(),
        rules: None,
    }
}

fn model(apis: Vec<Api>) -> Model {
    Model {
        generation: Generation(1),
        egress: Egress { addresses: vec!["192.0.2.10".parse().unwrap()], ..Egress::default() },
        apis,
        values: Vec::new(),
        backends: Vec::new(),
        counters: None,
        otlp: None,
        keys: Vec::new(),
        unlisted: Unlisted::default(),
        limits: Limits::default(),
        warnings: Vec::new(),
        drain: Drain { hand_over: Duration::ZERO, stop: Duration::ZERO },
    }
}

/// What becomes of a flow to the address that all of these APIs share: the API's name, `stranger`, or the reason of a refusal.
fn chosen(apis: Vec<Api>, protocol: &Protocol) -> String {
    chosen_for(apis, protocol, &|_| Admission::Admitted)
}

/// The same for a workload that the APIs treat so.
fn chosen_for(apis: Vec<Api>, protocol: &Protocol, admission: AdmissionOf<'_>) -> String {
    let model = model(apis);
    let there: Vec<_> = model.apis.iter().flat_map(Api::listings).collect();
    let destination = ADDRESS.parse().unwrap();
    let sharers = Sharers::of(&model, destination, Some(ApiId(0)), &there);
    let flow = Flow {
        scope: Scope::Everybody,
        id: 1,
        original_dst: OriginalDst(destination),
        workload: Workload::default(),
        generation: model.generation,
        api: ApiId(0),
    };
    match select(&model, &flow, protocol, &sharers, admission) {
        Ok(Route::Api(_, api)) => api.name.to_string(),
        Ok(Route::Untouched(_, api)) => format!("{} untouched", api.name),
        Ok(Route::Stranger) => "stranger".to_owned(),
        Err(refusal) => refusal.reason.to_string(),
    }
}

fn tls(name: Option<&str>) -> Protocol {
    Protocol::Tls { sni: name.map(host), alpn: Alpn::HTTP1 }
}

#[test]
fn the_most_exact_listing_decides() {
    let wildcard = |text: &&str| Wildcard::parse(text).unwrap().unwrap();
    let with = |name, hosts: &[&str], wildcards: &[&str]| Api {
        hosts: hosts.iter().map(|name| host(name)).collect(),
        wildcards: wildcards.iter().map(wildcard).collect(),
        ..api(name, Mode::Passthrough)
    };
    let apis = || {
        vec![
            with("wide", &[], &["*.partner.example"]),
            with("long", &[], &["*.eu.partner.example"]),
            with("exact", &["api.eu.partner"], &[]),
        ]
    };
    for (name, expected) in [
        ("api.partner", "wide"),
        ("a.b.partner", "wide"),
        ("eu.partner", "wide"),
        ("www.eu.partner", "long"),
        ("api.eu.partner", "exact"),
        ("x.api.eu.partner", "long"),
        ("partner", "stranger"),
    ] {
        assert_eq!(chosen(apis(), &tls(Some(name))), expected, "{name}");
    }
    assert_eq!(chosen(apis(), &tls(None)), "wide", "all of them carry bytes");
}

#[test]
fn the_name_decides_and_deny_holds_on_a_shared_address() {
    let apis = || vec![api("partner", Mode::Passthrough), api("denied", Mode::Deny)];
    for (name, expected) in [
        ("partner", "partner"),
        ("denied", "denied"),
        ("a.partner", "stranger_refused"),
        ("nobody", "stranger_refused"),
    ] {
        assert_eq!(chosen(apis(), &tls(Some(name))), expected, "{name}");
    }
    for nameless in [tls(None), Protocol::Opaque, Protocol::Http2, Protocol::Http1 { host: None }] {
        assert_eq!(chosen(apis(), &nameless), "no_name", "{nameless:?}");
    }
}

#[test]
fn strangers_are_carried_unless_one_api_at_the_address_refuses_them() {
    let strict = Api { strangers: Strangers::Refuse, ..api("strict", Mode::Passthrough) };
    assert_eq!(chosen(vec![api("partner", Mode::Intercept)], &tls(Some("nobody"))), "stranger");
    assert_eq!(chosen(vec![api("partner", Mode::Intercept), strict], &tls(Some("nobody"))), "stranger_refused");
}

#[test]
fn a_host_that_is_listed_with_another_port_is_a_stranger() {
    let other = Api { ports: vec![8443], ..api("other", Mode::Deny) };
    assert_eq!(chosen(vec![api("partner", Mode::Passthrough), other], &tls(Some("other"))), "stranger");
}

#[test]
fn without_a_name_the_address_decides_where_all_apis_would_do_the_same() {
    let partner = || api("partner", Mode::Passthrough);
    assert_eq!(chosen(vec![partner()], &Protocol::Opaque), "partner");
    assert_eq!(chosen(vec![partner(), api("same", Mode::Bind)], &Protocol::Opaque), "partner");
    assert_eq!(chosen(vec![partner(), api("looks", Mode::Intercept)], &Protocol::Opaque), "no_name");
    let elsewhere = Egress { addresses: vec!["192.0.2.11".parse().unwrap()], ..Egress::default() };
    let elsewhere = Api { egress: Some(elsewhere), ..api("elsewhere", Mode::Passthrough) };
    assert_eq!(chosen(vec![partner(), elsewhere], &Protocol::Opaque), "no_name");
}

#[test]
fn an_api_that_refuses_strangers_needs_a_name_but_for_opaque_ports() {
    let strict = || Api { strangers: Strangers::Refuse, ..api("strict", Mode::Passthrough) };
    for nameless in [tls(None), Protocol::Opaque, Protocol::Http2] {
        assert_eq!(chosen(vec![strict()], &nameless), "no_name", "{nameless:?}");
        assert_eq!(chosen(vec![Api { opaque_ports: vec![443], ..strict() }], &nameless), "strict", "{nameless:?}");
    }
}

#[test]
fn who_calls_decides_before_the_mode_does() {
    let apis = || {
        let strict = Api { strangers: Strangers::Refuse, ..api("left", Mode::Deny) };
        vec![api("mine", Mode::Passthrough), api("denied", Mode::Intercept), strict]
    };
    let admission = |api: &Api| match &*api.name {
        "mine" => Admission::Admitted,
        "denied" => Admission::Denied,
        _ => Admission::Untouched,
    };
    for (name, expected) in
        [("mine", "mine"), ("denied", "workload_not_allowed"), ("left", "left untouched"), ("nobody", "stranger")]
    {
        assert_eq!(chosen_for(apis(), &tls(Some(name)), &admission), expected, "{name}");
    }
    assert_eq!(chosen_for(apis(), &Protocol::Opaque, &admission), "no_name", "they differ");
    let all = |expected| move |_: &Api| expected;
    let two = || vec![api("one", Mode::Intercept), api("two", Mode::Deny)];
    assert_eq!(chosen_for(two(), &Protocol::Opaque, &all(Admission::Untouched)), "one untouched");
    let carried = || vec![api("one", Mode::Passthrough), api("two", Mode::Passthrough)];
    assert_eq!(chosen_for(carried(), &Protocol::Opaque, &all(Admission::Denied)), "workload_not_allowed");
}

#[test]
fn strangers_speak_plain_http_request_by_request() {
    let http = Protocol::Http1 { host: Some(host("nobody")) };
    assert_eq!(carriage(&Route::Stranger, &http), Ok(Carriage::Http));
    assert_eq!(carriage(&Route::Stranger, &tls(Some("nobody"))), Ok(Carriage::Passthrough));
}
