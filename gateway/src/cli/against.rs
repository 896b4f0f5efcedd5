//! Replays the requests of an access log under another configuration, without sending anything.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use serde::Serialize;
use tokio::runtime::Runtime;

use super::{Failure, Output, out, table};
use crate::model::{Admission, Api, Expression, FieldRead, Host, Identity, Mode, Model, Reason, Rules};
use crate::permit;
use crate::policy::{self, Call, Dry, Held, Policies, Policy, Responds, Statement};
use crate::telemetry::{RequestFacts, RequestLine};

/// Maximum number of kinds of difference in the table.
const SHOWN: usize = 100;

/// The result of a replay.
#[derive(Debug, Default, Serialize)]
struct Replayed {
    requests: usize,
    as_before: usize,
    /// Those of `as_before` whose policies read data that the log does not have.
    unsure: usize,
    differ: usize,
    /// Requests whose treatment depends on data that the log does not have.
    unknown: usize,
    /// Lines that are not valid JSON.
    unreadable: usize,
    changes: Vec<Change>,
}

/// Requests whose treatment changes in the same way.
#[derive(Debug, Serialize)]
struct Change {
    requests: usize,
    method: String,
    /// The target of one of the requests.
    target: String,
    operation: Option<String>,
    /// The name of the pod or the unit, else the workload's name.
    workload: String,
    before: Treatment,
    after: Treatment,
    /// Whether the difference depends on data that the log does not have.
    unknown: bool,
}

/// The treatment of a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Treatment {
    api: Option<String>,
    operation: Option<String>,
    /// `ok` if the third party's response is forwarded; otherwise the reason, or the response that policies send.
    outcome: String,
}

/// Replays a log and prints the differences.
pub(super) fn run(model: &Model, log: &Path, output: Output) -> Result<(), Failure> {
    let (lines, unreadable) = read(log)?;
    let replayed = Replay::new(model)?.all(&lines, unreadable)?;
    match output {
        Output::Json => out::json(&replayed)?,
        Output::Table => show(&replayed)?,
    }
    if replayed.differ == 0 { Ok(()) } else { Err(Failure::Code(1)) }
}

/// Returns the requests of a log in the order of their time: lines are written when requests end. Also returns the number of
/// lines that cannot be read.
fn read(log: &Path) -> Result<(Vec<RequestLine<'static>>, usize), Failure> {
    let failed = |error: std::io::Error| Failure::Invalid(format!("egret: {} cannot be read: {error}", log.display()));
    let (mut lines, mut unreadable) = (Vec::<RequestLine<'static>>::new(), 0);
    for text in BufReader::new(File::open(log).map_err(failed)?).split(b'\n') {
        let text = text.map_err(failed)?;
        let Ok(value) = serde_json::from_slice::<serde_json::Value>(&text) else {
            unreadable += usize::from(!text.trim_ascii().is_empty());
            continue;
        };
        if value["request"].is_object() {
            match serde_json::from_value(value) {
                Ok(line) => lines.push(line),
                Err(_) => unreadable += 1,
            }
        }
    }
    if lines.is_empty() {
        let help = "set `telemetry: {log_requests: true}` and record some";
        return Err(Failure::Invalid(format!("egret: {} has no requests: {help}", log.display())));
    }
    lines.sort_by(|one, other| one.time.total_cmp(&other.time));
    Ok((lines, unreadable))
}

struct Replay<'a> {
    model: &'a Model,
    world: Dry,
    runtime: Runtime,
    /// What requests that have not ended yet hold, with the time of their end.
    held: Vec<(f64, Vec<Held>)>,
}

impl<'a> Replay<'a> {
    fn new(model: &'a Model) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        Ok(Self { model, world: Dry::new(Bytes::new(), StatusCode::OK), runtime, held: Vec::new() })
    }

    fn all(&mut self, lines: &[RequestLine<'_>], unreadable: usize) -> Result<Replayed, Failure> {
        let mut replayed = Replayed { requests: lines.len(), unreadable, ..Replayed::default() };
        let mut changes = BTreeMap::<_, Change>::new();
        let first = lines.first().map_or(0.0, |line| line.time);
        for line in lines {
            self.held.retain(|(until, _)| *until > line.time);
            let (before, after, unknown) = self.one(line, first)?;
            if before == after {
                replayed.as_before += 1;
                replayed.unsure += usize::from(unknown);
                continue;
            }
            // Another API or operation is known.
            let unknown = unknown && before.outcome != after.outcome;
            *if unknown { &mut replayed.unknown } else { &mut replayed.differ } += 1;
            // A pod's unit is that of its container.
            let Identity { unit, name, pod_name, .. } = &*line.workload.identity;
            let workload = unit.as_ref().filter(|_| pod_name.is_none()).unwrap_or(name).to_string();
            let facts = &line.request;
            // An operation has many paths.
            let subject = facts.operation.as_ref().unwrap_or(&facts.target).to_string();
            let key = (facts.method.to_string(), subject, workload.clone(), before.clone(), after.clone());
            let change = changes.entry(key).or_insert_with(|| Change {
                requests: 0,
                method: facts.method.to_string(),
                target: facts.target.to_string(),
                operation: facts.operation.as_deref().map(str::to_owned),
                workload,
                before,
                after,
                unknown,
            });
            change.requests += 1;
        }
        replayed.changes = changes.into_values().collect();
        replayed.changes.sort_by_key(|change| (change.unknown, std::cmp::Reverse(change.requests)));
        Ok(replayed)
    }

    /// How it was treated, how it would be, and whether that depends on what the log does not have.
    fn one(&mut self, line: &RequestLine<'_>, first: f64) -> Result<(Treatment, Treatment, bool), Failure> {
        let facts = &line.request;
        let (host, path) = facts.target.find('/').map_or((&*facts.target, "/"), |at| facts.target.split_at(at));
        let bad = |what: &str| Failure::Invalid(format!("egret: the log has a request of {}: {what}", facts.target));
        let host = Host::parse(host).map_err(|invalid| bad(&invalid.to_string()))?;
        let mut after = Treatment { api: None, operation: None, outcome: "not captured".to_owned() };
        let Some(api) = self.api(line, &host) else { return Ok((before(line, None), after, false)) };
        after.api = Some(api.name.to_string());
        let seen = api.mode == Mode::Intercept || facts.scheme.as_deref() != Some("https");
        let caller = &line.workload;
        let rules = match (api.mode, &api.rules) {
            _ if permit::admission(api, caller) == Admission::Denied => Err(Reason::WorkloadNotAllowed.label()),
            _ if permit::admission(api, caller) == Admission::Untouched => Err("left untouched"),
            (Mode::Deny, _) => Err(Reason::Denied.label()),
            (Mode::Bind, _) => Err("carried without being seen"),
            (Mode::Passthrough | Mode::Intercept, _) if !seen => Err("carried without being seen"),
            (Mode::Passthrough | Mode::Intercept, None) => Err("ok"),
            (Mode::Passthrough | Mode::Intercept, Some(rules)) => Ok(rules),
        };
        let rules: &Rules = match rules {
            Ok(rules) => rules,
            Err(outcome) => {
                after.outcome = outcome.to_owned();
                return Ok((before(line, None), after, false));
            }
        };
        let method = Method::from_bytes(facts.method.as_bytes()).map_err(|_| bad("its method is none"))?;
        let head = Request::builder().method(method).uri(path).header(http::header::HOST, host.as_str()).body(());
        let (head, ()) = head.map_err(|error| bad(&error.to_string()))?.into_parts();
        let now = SystemTime::UNIX_EPOCH.checked_add(seconds(line.time)).ok_or_else(|| bad("its time is none"))?;
        let mut call = Call::new(head, caller, api, &host, now, seconds(line.time - first));
        call.context.scheme = if facts.scheme.as_deref() == Some("http") { "http" } else { "https" };
        let answered = StatusCode::from_u16(facts.status).ok().filter(|_| was_asked(facts));
        self.world.next(answered.unwrap_or(StatusCode::OK));
        let outcome = self.runtime.block_on(policy::run(&mut call, rules, &mut self.world));
        let fault = outcome.as_ref().err().or(call.context.error.as_ref());
        let source = fault.and_then(|fault| fault.source.as_ref()).map(|source| source.policy);
        let by_product = call.context.operation.map_or(&rules.otherwise, |operation| &operation.policies);
        let policies = Policies::of(
            by_product.of(rules.products.iter().position(|product| *product.name == *call.context.product)),
        );
        after.operation = call.context.operation.map(|operation| operation.name.to_string());
        after.outcome = match (fault, &call.message.response) {
            (Some(fault), _) if decides(fault.reason.label(), source) => fault.reason.label().to_owned(),
            (None, Some(response)) if self.world.asked == 0 => format!("answered {}", response.status.as_u16()),
            _ => "ok".to_owned(),
        };
        let before = before(line, policies);
        let unknown = policies.is_none_or(|policies| is_unknown(policies, source)) || has_keys(rules);
        self.held.push((
            line.time + Duration::from_micros(facts.total_us).as_secs_f64(),
            std::mem::take(&mut call.effects.held),
        ));
        Ok((before, after, unknown))
    }

    /// The one that lists the host, and the port where the log has it.
    fn api(&self, line: &RequestLine<'_>, host: &Host) -> Option<&'a Api> {
        let lists = |api: &&Api| api.lists(host) && line.request.port.is_none_or(|port| api.ports.contains(&port));
        let mut listed = self.model.apis.iter().filter(lists);
        let first = match line.request.port {
            Some(port) => self.model.listing(host, port),
            None => self.model.api_of(host),
        };
        listed.find(|api| *api.name == *line.api).or(first.map(|(_, api)| api))
    }
}

/// What the log says of it. That an answer was kept is not in it: where these policies look one up, it may have been.
fn before(line: &RequestLine<'_>, policies: Option<&Policies>) -> Treatment {
    let facts = &line.request;
    let looks_up = |policy: &Arc<Policy>| policy.statement.any(&|one| one.properties().responds == Responds::FromCache);
    let kept =
        policies.is_some_and(|policies| policies.inbound.iter().any(looks_up)) && matches!(facts.status, 200 | 304);
    let outcome = if decides(&line.outcome, facts.policy.as_deref()) {
        line.outcome.to_string()
    } else if line.outcome == "ok" && !was_asked(facts) && !kept {
        format!("answered {}", facts.status)
    } else {
        "ok".to_owned()
    };
    Treatment { api: Some(line.api.to_string()), operation: facts.operation.as_deref().map(str::to_owned), outcome }
}

/// Whether the third party was.
fn was_asked(facts: &RequestFacts<'_>) -> bool {
    facts.upstream_us > 0
}

/// Whether an outcome is a decision of policies, and nothing that has happened to the request on its way.
fn decides(outcome: &str, policy: Option<&str>) -> bool {
    let sends = |policy| matches!(policy, "forward-request" | "retry");
    let own = [Reason::OperationNotFound.label(), Reason::SubscriptionRequired.label()];
    own.contains(&outcome) || policy.is_some_and(|policy| !sends(policy))
}

/// Whether callers are known by keys, which are not in the log.
fn has_keys(rules: &Rules) -> bool {
    rules.products.iter().flat_map(|product| &product.subscriptions).any(|subscription| subscription.key.is_some())
}

/// Whether what these policies do depends on more than the log has: refused by one that looks at more, or on a condition.
fn is_unknown(policies: &Policies, refused_by: Option<&str>) -> bool {
    const KNOWN: [&str; 6] =
        ["limit-concurrency", "quota", "quota-by-key", "rate-limit", "rate-limit-by-key", "workload-filter"];
    let looks = |expression: &Expression| {
        let is_more = |read: &FieldRead| match &*read.root {
            "request" => ["headers", "query", "query_string", "body", "body_bytes"].contains(&&*read.field),
            "workload" => *read.field == *"annotations",
            root => ["response", "variables"].contains(&root),
        };
        expression.reads.iter().any(is_more) || expression.program.references().has_function("random")
    };
    let depends = |statement: &Statement| {
        let traits = statement.properties();
        traits.conditions.iter().chain(&traits.counts_by).any(|expression| looks(expression))
    };
    refused_by.is_some_and(|policy| !KNOWN.contains(&policy))
        || policies.sections().into_iter().flatten().any(|policy| policy.statement.any(&depends))
}

fn seconds(time: f64) -> Duration {
    Duration::try_from_secs_f64(time).unwrap_or_default()
}

fn show(replayed: &Replayed) -> std::io::Result<()> {
    let Replayed { requests, as_before, unsure, differ, unknown, unreadable, changes } = replayed;
    let as_far = if *unsure > 0 { format!(" ({unsure} of them as far as the log shows)") } else { String::new() };
    out::line(format!(
        "{requests} requests: {as_before} as before{as_far}, {differ} differ, {unknown} cannot be known"
    ))?;
    out::line("the log has no headers, queries and bodies; limits start empty")?;
    if *unreadable > 0 {
        out::line(format!("{unreadable} lines of the log cannot be read"))?;
    }
    if changes.is_empty() {
        return Ok(());
    }
    let shown = &changes[..changes.len().min(SHOWN)];
    let columns = ["REQUESTS", "REQUEST", "WORKLOAD", "BEFORE", "AFTER", "KNOWN"];
    table::print(shown, Output::Table, columns, |change| {
        let (before, after) = (&change.before, &change.after);
        let treatment = |treatment: &Treatment| {
            let api = treatment.api.as_deref().filter(|_| before.api != after.api);
            let operation = table::or_dash(treatment.operation.as_ref());
            let operation = (before.operation != after.operation).then(|| format!("operation {operation}"));
            let words = [api.map(str::to_owned), operation, Some(treatment.outcome.clone())];
            words.into_iter().flatten().collect::<Vec<_>>().join(", ")
        };
        [
            change.requests.to_string(),
            format!("{} {}", change.method, change.target),
            change.workload.clone(),
            treatment(before),
            treatment(after),
            if change.unknown { "no" } else { "yes" }.to_owned(),
        ]
    })?;
    if changes.len() > SHOWN {
        out::line(format!("and {} more kinds: --output json shows all", changes.len() - SHOWN))?;
    }
    Ok(())
}
