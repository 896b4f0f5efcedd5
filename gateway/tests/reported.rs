//! A policy with `enabled: report` changes nothing, whichever policy it is: each example of a policy runs in this mode.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use egret::config;
use egret::model::{Api, Endpoint, Generation, Identity, Pending, Reason, Told, Workload};
use egret::policy::{self, Asked, Call, Peeked, Policies, Policy, Side, State, Unanswerable, WhenReported, World};
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, response};

/// Policies that only decide which other policies run, and those that forward the request.
const ALWAYS_RUN: [&str; 3] = ["choose", "forward-request", "retry"];

/// Policies that may ask a server for what they need to decide: keys, which are no secret.
const MAY_FETCH: [&str; 1] = ["validate-jwt"];

#[test]
fn a_policy_that_only_reports_changes_nothing() {
    let directory = std::env::temp_dir().join(format!("egret-reported-{}", std::process::id()));
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/examples"), &directory);
    let (mut seen, mut changing) = (BTreeSet::new(), 0);
    for example in examples(&directory) {
        // What an API refuses beside its policies is not a matter of them.
        let text = fs::read_to_string(&example).unwrap().replace("    only_operations: true\n", "");
        let name = example.file_name().unwrap().to_str().unwrap().to_owned();
        let (enforced, reported) = (run(&example, &text), run(&example, &reported(&text)));
        for (enforced, reported) in enforced.into_iter().zip(reported) {
            assert!(reported.all_report, "{name}: not all policies report");
            assert_eq!(reported.effects, Effects::default(), "{name} ({})", reported.request);
            seen.extend(reported.policies);
            changing += usize::from(enforced.effects != Effects::default());
        }
    }
    fs::remove_dir_all(directory).unwrap();
    let schema: serde_json::Value = serde_json::from_str(&config::schema()).unwrap();
    let all = schema["$defs"]["PolicyFile"]["properties"].as_object().unwrap().keys().map(String::as_str);
    let missing: Vec<_> =
        all.filter(|name| !["id", "enabled", "include-fragment"].contains(name) && !seen.contains(*name)).collect();
    assert_eq!(missing, Vec::<&str>::new(), "no example of these policies ran");
    // The same examples do change something where they are enforced: else this test would see nothing.
    assert!(changing > 50, "only {changing} runs changed something");
}

/// What a run changed, compared with a request to which no policy applies.
#[derive(Debug, Default, PartialEq)]
struct Effects {
    /// What the third party received in another form.
    request: Vec<String>,
    /// What the caller received in another form.
    response: Vec<String>,
    variables: usize,
    /// Requests of policies' own.
    sent: usize,
    /// Records, those included that come when the response has ended.
    records: usize,
    /// Responses and values that are cached.
    cached: usize,
    secrets: usize,
}

struct Ran {
    request: String,
    all_report: bool,
    policies: BTreeSet<String>,
    effects: Effects,
}

/// Runs requests of several forms through the policies of each API of a configuration.
fn run(path: &Path, text: &str) -> Vec<Ran> {
    fs::write(path, text).unwrap();
    let compiled = config::load(path, Generation(1)).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    let apis = compiled.model.apis.iter().filter(|api| api.rules.is_some());
    apis.flat_map(|api| requests().into_iter().map(move |request| one(api, request))).collect()
}

fn requests() -> Vec<Request<&'static str>> {
    let request = |method: &str, target: &str, kind: &'static str, body: &'static str| {
        let mut request = Request::builder().method(method).uri(target).body(body).unwrap();
        request.headers_mut().insert("host", HeaderValue::from_static("api.partner.example"));
        request.headers_mut().insert("authorization", HeaderValue::from_static("PARTNER-KEY-HERE"));
        request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        if !kind.is_empty() {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        request
    };
    vec![
        request("GET", "/prices/1?currency=EUR", "", ""),
        request("POST", "/orders", "application/json", "{\"id\": 1, \"items\": [\"a\"]}"),
        request("POST", "/orders?a=b", "application/xml", "<order><id>1</id></order>"),
    ]
}

fn one(api: &Api, request: Request<&'static str>) -> Ran {
    let rules = api.rules.as_ref().unwrap();
    let workload = Workload::from(Arc::new(Identity { cgroup: "/curl".into(), ..Identity::of("curl") }));
    let (head, body) = request.into_parts();
    let shown = format!("{} {}", head.method, head.uri);
    let (sent_head, now) = (head.clone(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    let mut call = Call::new(head, &workload, api, &api.hosts[0], now, Duration::from_secs(1000));
    call.context.original_dst = Some(egret::model::OriginalDst("203.0.113.7:443".parse().unwrap()));
    let mut world = Recording::new(body);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(policy::run(&mut call, rules, &mut world)).unwrap_or_else(|fault| panic!("{shown}: {fault:?}"));
    let mut effects =
        Effects { sent: world.sent.load(Ordering::Relaxed), records: world.records, ..Effects::default() };
    match &world.asked {
        None => effects.request.push("not sent".to_owned()),
        Some((head, body, is_elsewhere)) => {
            let mut differs = |what: &str, differs: bool| effects.request.extend(differs.then(|| what.to_owned()));
            differs("method", head.method != sent_head.method);
            differs("target", head.uri != sent_head.uri);
            differs("server", *is_elsewhere);
            differs("headers", !same(&head.headers, &sent_head.headers));
            differs("body", body.as_ref().is_some_and(|body| *body != world.body));
        }
    }
    let (expected, expected_body) = third_party().into_parts();
    let response = call.message.response.as_ref().unwrap();
    let response_body = call.message.response_body.clone().unwrap_or(expected_body.clone());
    let mut differs = |what: &str, differs: bool| effects.response.extend(differs.then(|| what.to_owned()));
    differs("status", response.status != expected.status);
    differs("headers", !same(&response.headers, &expected.headers));
    differs("body", response_body != expected_body);
    differs("trailers", !call.decided().is_empty());
    effects.variables = call.message.variables.len();
    effects.secrets = call.sent_secrets().len();
    call.effects.meters.begins("application/json");
    call.effects.meters.see(&expected_body);
    effects.records += call.effects.meters.settle(Duration::from_secs(1001)).len();
    effects.cached = world.state.caches(Duration::from_secs(1001), 100).1;
    let policies = all(api);
    let reports = |policy: &Arc<Policy>| policy.report || ALWAYS_RUN.contains(&policy.statement.label());
    let all_report = policies.iter().all(reports);
    let may_fetch = policies.iter().any(|policy| MAY_FETCH.contains(&policy.statement.label()));
    if may_fetch && all_report {
        effects.sent = 0;
    }
    Ran {
        request: shown,
        all_report,
        policies: policies.iter().map(|policy| policy.statement.label().to_owned()).collect(),
        effects,
    }
}

/// Compares header fields; how a body is framed is not a part of them.
fn same(one: &HeaderMap, other: &HeaderMap) -> bool {
    let without = |headers: &HeaderMap| {
        let mut headers = headers.clone();
        headers.remove(CONTENT_LENGTH);
        headers
    };
    without(one) == without(other)
}

fn third_party() -> Response<Bytes> {
    let body = Bytes::from_static(b"{\"id\":1,\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}");
    let response = Response::builder()
        .header(CONTENT_TYPE, "application/json")
        .header("cache-control", "public, max-age=60")
        .header("x-first", "1");
    response.body(body).unwrap()
}

/// Returns all policies that may apply to the requests of an API.
fn all(api: &Api) -> Vec<Arc<Policy>> {
    fn add(policies: &[Arc<Policy>], found: &mut Vec<Arc<Policy>>) {
        for policy in policies {
            found.push(Arc::clone(policy));
            policy.statement.branches().into_iter().for_each(|(_, inner)| add(inner, found));
        }
    }
    let mut found = Vec::new();
    for policies in api.rules.iter().flat_map(|rules| rules.each()).filter_map(Policies::of) {
        policies.sections().into_iter().for_each(|section| add(section, &mut found));
    }
    found
}

/// Returns a configuration in which all policies only report.
fn reported(text: &str) -> String {
    let mut lines = Vec::new();
    let mut rest = text.lines().peekable();
    while let Some(line) = rest.next() {
        lines.push(line.to_owned());
        // The policies of a retry are a list.
        let is_list = rest.peek().is_some_and(|next| next.trim_start().starts_with("- "));
        if line.trim() == "policies:" && !is_list {
            let indent = line.len() - line.trim_start().len();
            lines.push(format!("{}enabled: report", " ".repeat(indent + 2)));
        }
    }
    lines.join("\n") + "\n"
}

fn examples(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let is_policy = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("policy-") && name.ends_with(".yaml")
    };
    let mut examples: Vec<_> = entries.filter(is_policy).collect();
    examples.sort();
    assert!(examples.len() > 50);
    examples
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}

/// A world that records what policies ask of it.
struct Recording {
    state: State,
    body: Bytes,
    /// The request that the third party received, and whether another server received it.
    asked: Option<(http::request::Parts, Option<Bytes>, bool)>,
    answer: Bytes,
    sent: AtomicUsize,
    records: usize,
}

impl Recording {
    fn new(body: &'static str) -> Self {
        let (state, body) = (State::default(), Bytes::from(body));
        Self { state, body, asked: None, answer: Bytes::new(), sent: AtomicUsize::new(0), records: 0 }
    }
}

impl World for Recording {
    fn body(&mut self, side: Side, _: usize) -> Pending<'_, Result<Bytes, Reason>> {
        let bytes = match side {
            Side::Request => self.body.clone(),
            Side::Response => self.answer.clone(),
        };
        Box::pin(std::future::ready(Ok(bytes)))
    }

    fn has_body(&self) -> bool {
        !self.body.is_empty()
    }

    fn answer_up_to(&mut self, _: usize) -> Pending<'_, Result<Option<Bytes>, Reason>> {
        Box::pin(std::future::ready(Ok(Some(self.answer.clone()))))
    }

    fn peek(&mut self, _: usize) -> Pending<'_, Result<Peeked, Reason>> {
        Box::pin(std::future::ready(Ok(Peeked { bytes: self.answer.clone(), whole: true })))
    }

    fn ask(&mut self, asked: Asked, _: Option<Duration>) -> Pending<'_, Result<response::Parts, Unanswerable>> {
        self.asked = Some((asked.head, asked.body, asked.to.is_some()));
        let (head, body) = third_party().into_parts();
        self.answer = body;
        Box::pin(std::future::ready(Ok(head)))
    }

    fn fetch(
        &self,
        _: &Arc<Endpoint>,
        _: Request<Bytes>,
        _: usize,
        _: Duration,
    ) -> Pending<'_, Result<Response<Bytes>, Reason>> {
        self.sent.fetch_add(1, Ordering::Relaxed);
        let mut response = Response::new(Bytes::from_static(b"{\"access_token\":\"a-token-of-some-length\"}"));
        *response.status_mut() = StatusCode::OK;
        Box::pin(std::future::ready(Ok(response)))
    }

    fn send_away(&self, _: &Arc<Endpoint>, _: Request<Bytes>, _: Duration) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    fn at(&self) -> Duration {
        Duration::from_secs(1000)
    }

    fn tell(&mut self, told: Vec<Told>) {
        self.records += told.len();
    }

    fn pause(&mut self, _: Duration) -> Pending<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    fn state(&self) -> &State {
        &self.state
    }
}

/// The rule says of each policy what happens where it only reports: what keeps or sends something does not run.
#[test]
fn policies_that_send_or_keep_something_are_withheld_in_report_mode() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/examples");
    let mut rules = BTreeSet::new();
    for example in examples(&directory) {
        let compiled = config::load(&example, Generation(1)).unwrap_or_else(|errors| panic!("{errors}"));
        for policy in compiled.model.apis.iter().flat_map(all) {
            let traits = policy.statement.properties();
            let (label, rule) = (policy.statement.label(), traits.when_reported);
            assert_eq!(rule == WhenReported::Runs, ALWAYS_RUN.contains(&label), "{label}");
            let sends = !traits.endpoints.is_empty() && traits.backend.is_none() && !MAY_FETCH.contains(&label);
            assert!(!sends || rule == WhenReported::Withheld, "{label} sends something");
            rules.insert((label, rule == WhenReported::Withheld));
        }
    }
    let withheld: Vec<_> = rules.iter().filter(|(_, withheld)| *withheld).map(|(label, _)| *label).collect();
    let expected = [
        "authentication-oauth2",
        "cache-remove-value",
        "cache-store",
        "cache-store-value",
        "send-one-way-request",
        "send-request",
        "wait",
    ];
    assert_eq!(withheld, expected);
}
