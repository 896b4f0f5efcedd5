//! Policies: each checked where it stands, then those of all scopes in the order in which they run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use serde_saphyr::Spanned;

use super::expression::{Kind, Scope};
use super::openapi::{self, Imported};
use super::{Outside, duration};
use crate::config::diagnostic::Problem;
use crate::config::document::suggestion;
use crate::config::file::policies::{
    BranchFile, CheckHeaderFile, OperationFile, PoliciesFile, PolicyFile, QuotaFile, RateLimitFile, ReplyFile,
    RetryFile, Step, WorkloadFile, WorkloadFilterFile,
};
use crate::config::file::{ApiFile, File};
use crate::model::{
    Basic, Branch, CacheLookup, CacheLookupValue, CacheRemoveValue, CacheStore, CacheStoreValue, CheckHeader, Exists,
    Expression, FindAndReplace, Forward, LimitConcurrency, Mode, NamedValue, Operation, PathTemplate, Policies, Policy,
    Quota, RateKind, RateLimit, Refusal, Reply, Retry, RewriteUri, Rules, Section, Segment, SetHeader,
    SetQueryParameter, SetStatus, SetVariable, Statement, Template, WorkloadFilter, WorkloadMatch, looks_at_request,
};

const DEFAULT_MAX_BODY: u32 = 1 << 20;

/// Shortest period of a quota.
const SHORTEST_QUOTA: Duration = Duration::from_secs(60);

/// Longest period of a rate limit.
const LONGEST_PERIOD: Duration = Duration::from_secs(3600);

/// What policies of all APIs share.
pub(super) struct Shared<'a> {
    global: Scoped,
    fragments: &'a BTreeMap<String, Vec<Spanned<Step>>>,
    values: BTreeMap<String, Arc<NamedValue>>,
    variables: BTreeSet<String>,
}

/// The sections of a scope, before those of wider ones are put in the place of `base`.
#[derive(Default)]
struct Scoped {
    sections: [Option<Vec<Entry>>; 4],
}

enum Entry {
    Base,
    Policy(Arc<Policy>),
}

const SECTIONS: [Section; 4] = [Section::Inbound, Section::Backend, Section::Outbound, Section::OnError];

impl<'a> Shared<'a> {
    pub(super) fn new(file: &'a File, values: BTreeMap<String, Arc<NamedValue>>, problems: &mut Vec<Problem>) -> Self {
        let mut variables = BTreeSet::new();
        let apis = file.apis.iter().flat_map(|api| {
            let operations = api.operations.iter().filter_map(|operation| operation.policies.as_ref());
            api.policies.iter().chain(operations)
        });
        for policies in file.policies.iter().chain(apis) {
            sections(policies).into_iter().flatten().for_each(|steps| variables_of(steps, &mut variables));
        }
        file.fragments.values().for_each(|steps| variables_of(steps, &mut variables));
        let mut shared = Self { global: Scoped::default(), fragments: &file.fragments, values, variables };
        if let Some(policies) = &file.policies {
            shared.global = shared.scoped(policies, "global", problems);
        }
        shared
    }

    /// What is done with the requests of an API, if anything.
    pub(super) fn rules(
        &self,
        file: &ApiFile,
        mode: Mode,
        outside: &Outside<'_>,
        problems: &mut Vec<Problem>,
    ) -> Option<Arc<Rules>> {
        let name = file.name.value.trim();
        let inherit = file.inherit.unwrap_or(true);
        let nothing = Scoped::default();
        let global = if inherit { &self.global } else { &nothing };
        let own = file.policies.as_ref().map(|policies| self.scoped(policies, &format!("api {name}"), problems));
        let scopes: Vec<_> = [Some(global), own.as_ref()].into_iter().flatten().collect();
        let otherwise = Arc::new(compose(&scopes));
        let mut imported =
            file.openapi.as_ref().map(|written| openapi::operations(written, outside, problems)).unwrap_or_default();
        let mut operations = Vec::new();
        for written in &file.operations {
            let own = imported.iter().position(|known| known.name == written.name.value.trim());
            let known = own.map(|index| imported.remove(index));
            operations.push(self.operation(written, known, &imported, &scopes, problems));
        }
        // Each of the others is as the API is.
        operations.extend(imported.into_iter().map(|Imported { name, method, path }| Operation {
            name: name.as_str().into(),
            method: Some(method.as_str().into()),
            path:
                file.openapi.as_ref().map_or_else(PathTemplate::default, |written| template(&path, written, problems)),
            policies: Arc::clone(&otherwise),
        }));
        self.unique(&file.operations, problems);
        if file.only_operations && operations.is_empty() {
            let help = "list them, or leave only_operations out";
            problems.push(Problem::at(
                &file.name,
                "no request of this API would be let through: it has no operations",
                help,
            ));
        }
        let policed = !otherwise.is_empty() || operations.iter().any(|operation| !operation.policies.is_empty());
        if policed || file.only_operations {
            can_be_seen(file, mode, own.is_some() || !operations.is_empty(), problems);
        }
        let rules = Rules {
            operations,
            otherwise,
            only_operations: file.only_operations,
            max_body: usize::try_from(file.max_body.unwrap_or(DEFAULT_MAX_BODY)).unwrap_or(usize::MAX),
            plain_secrets: file.plain_secrets,
        };
        (policed || !rules.operations.is_empty()).then(|| Arc::new(rules))
    }

    fn operation(
        &self,
        file: &OperationFile,
        imported: Option<Imported>,
        others: &[Imported],
        scopes: &[&Scoped],
        problems: &mut Vec<Problem>,
    ) -> Operation {
        let name = file.name.value.trim();
        let own = file.policies.as_ref().map(|policies| self.scoped(policies, &format!("operation {name}"), problems));
        let scopes: Vec<_> = scopes.iter().copied().chain(&own).collect();
        let method = file.method.as_ref().and_then(|written| {
            let method = Method::from_bytes(written.value.trim().as_bytes());
            if method.is_err() || written.value.trim().is_empty() {
                problems.push(Problem::at(written, "not a method", "GET, POST, ..."));
            }
            method.ok().map(|method| method.as_str().into())
        });
        let (path, method) = match (&file.path, imported) {
            (Some(written), _) => (template(&written.value, written, problems), method),
            (None, Some(known)) => {
                (template(&known.path, &file.name, problems), method.or_else(|| Some(known.method.as_str().into())))
            }
            (None, None) => {
                let names: Vec<_> = others.iter().map(|known| known.name.clone()).collect();
                let help =
                    if names.is_empty() { "path: /prices/{id}".to_owned() } else { suggestion(name, names.iter()) };
                problems.push(Problem::at(&file.name, "this operation has no path", help));
                (PathTemplate::default(), method)
            }
        };
        Operation { name: name.into(), method, path, policies: Arc::new(compose(&scopes)) }
    }

    fn unique(&self, operations: &[OperationFile], problems: &mut Vec<Problem>) {
        for (index, operation) in operations.iter().enumerate() {
            let before = &operations[..index];
            if let Some(other) = before.iter().find(|other| other.name.value == operation.name.value) {
                let problem = Problem::at(&operation.name, "another operation of this API has this name", "rename one");
                problems.push(problem.with(&other.name));
            }
            let method = |file: &OperationFile| file.method.as_ref().map(|method| method.value.clone());
            let Some(path) = &operation.path else { continue };
            let same = |other: &&OperationFile| {
                other.path.as_ref().is_some_and(|other| other.value == path.value) && method(other) == method(operation)
            };
            if let Some(other) = before.iter().find(same).and_then(|other| other.path.as_ref()) {
                let rule = "another operation of this API has this method and path";
                problems.push(Problem::at(path, rule, "remove one").with(other));
            }
        }
    }

    fn scoped(&self, file: &PoliciesFile, scope: &str, problems: &mut Vec<Problem>) -> Scoped {
        let mut scoped = Scoped::default();
        let report = is_reported(file.enabled.as_ref(), problems);
        for ((section, steps), place) in SECTIONS.into_iter().zip(sections(file)).zip(&mut scoped.sections) {
            *place = steps.map(|steps| {
                let mut list =
                    List { shared: self, section, scope: scope.into(), within: Vec::new(), report, problems };
                list.top(steps)
            });
        }
        scoped
    }
}

/// Requests of some APIs are not seen: policies there would do nothing.
fn can_be_seen(file: &ApiFile, mode: Mode, own: bool, problems: &mut Vec<Problem>) {
    let ports: Option<Vec<u16>> = file.ports.as_ref().map(|ports| ports.iter().map(|port| port.value).collect());
    let tls = ports.is_none_or(|ports| ports.contains(&443));
    let rule = match mode {
        Mode::Bind | Mode::Deny => {
            format!("in mode {} Egret sees no requests: policies would do nothing", mode.label())
        }
        Mode::Passthrough if tls => {
            "in mode passthrough TLS is left as it is: policies would see no request of it".to_owned()
        }
        Mode::Passthrough | Mode::Intercept if !file.opaque_ports.is_empty() => {
            "on opaque ports Egret sees no requests: policies would do nothing there".to_owned()
        }
        Mode::Passthrough | Mode::Intercept => return,
    };
    let help = match (mode, own) {
        (_, false) => "these are the policies of all APIs: write inherit: false, or mode: intercept",
        (Mode::Passthrough, _) if tls => "mode: intercept; or, where only plain HTTP is meant, ports: [80]",
        (Mode::Passthrough | Mode::Intercept, _) => "an API of its own for those ports",
        (Mode::Bind | Mode::Deny, _) => "mode: intercept",
    };
    problems.push(Problem::at(file.mode.as_ref().unwrap_or(&file.name), rule, help));
}

fn sections(file: &PoliciesFile) -> [Option<&Vec<Spanned<Step>>>; 4] {
    [file.inbound.as_ref(), file.backend.as_ref(), file.outbound.as_ref(), file.on_error.as_ref()]
}

/// What some policy of these sets.
fn variables_of(steps: &[Spanned<Step>], variables: &mut BTreeSet<String>) {
    for step in steps {
        let Step::Policy(policy) = &step.value else { continue };
        let names = [
            policy.set_variable.as_ref().map(|set| &set.name),
            policy.cache_lookup_value.as_ref().map(|lookup| &lookup.variable),
        ];
        variables.extend(names.into_iter().flatten().map(|name| name.value.trim().to_owned()));
        for branch in policy.choose.iter().flatten() {
            branch.then.iter().chain(&branch.otherwise).for_each(|steps| variables_of(steps, variables));
        }
        policy
            .retry
            .iter()
            .filter_map(|retry| retry.policies.as_ref())
            .for_each(|steps| variables_of(steps, variables));
    }
}

/// What runs, from the widest of these scopes to the narrowest.
fn compose(scopes: &[&Scoped]) -> Policies {
    let forward = Policy::new(None, "default".into(), false, Statement::ForwardRequest(Forward::default()));
    let section = |index: usize, mut running: Vec<Arc<Policy>>| {
        for entries in scopes.iter().filter_map(|scope| scope.sections[index].as_ref()) {
            let wider = std::mem::take(&mut running);
            for entry in entries {
                match entry {
                    Entry::Base => running.extend(wider.iter().cloned()),
                    Entry::Policy(policy) => running.push(Arc::clone(policy)),
                }
            }
        }
        running
    };
    let (inbound, backend) = (section(0, Vec::new()), section(1, vec![Arc::new(forward)]));
    let (outbound, on_error) = (section(2, Vec::new()), section(3, Vec::new()));
    let looks_back = [&backend, &outbound, &on_error].into_iter().any(|policies| looks_at_request(policies));
    Policies { inbound, backend, outbound, on_error, looks_back }
}

/// What stands at this place, or is named there.
fn template(text: &str, written: &Spanned<String>, problems: &mut Vec<Problem>) -> PathTemplate {
    let text = text.trim();
    let help = "like /prices/{id}, or /files/* for all below";
    let Some(rest) = text.strip_prefix('/') else {
        problems.push(Problem::at(written, "a path begins with a slash", help));
        return PathTemplate { segments: Vec::new(), open: true };
    };
    let (rest, open) = match rest.strip_suffix('*') {
        Some(rest) if rest.is_empty() || rest.ends_with('/') => (rest.trim_end_matches('/'), true),
        _ => (rest, false),
    };
    let all = if rest.is_empty() && open { Vec::new() } else { rest.split('/').collect() };
    let mut segment = |text: &str| {
        let parameter = text.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)));
        let parts = match parameter {
            Some((before, (name, after))) => [before, name, after],
            None => [text, "", ""],
        };
        let odd = parts.iter().any(|part| part.contains(['{', '}', '*', '?', '#']));
        if odd || (parameter.is_some() && parts[1].is_empty()) {
            problems.push(Problem::at(written, format!("`{text}` is neither a text nor a parameter"), help));
        }
        match parameter {
            Some((before, (name, after))) => {
                Segment::Parameter { before: before.into(), name: name.into(), after: after.into() }
            }
            None => Segment::Literal(text.into()),
        }
    };
    let segments: Vec<_> = all.into_iter().map(&mut segment).collect();
    PathTemplate { segments, open }
}

/// The policies of a section, as they are read.
struct List<'a, 'b> {
    shared: &'a Shared<'a>,
    section: Section,
    scope: Arc<str>,
    /// The fragments that this is in.
    within: Vec<&'a str>,
    /// What these would do is put on record, and not done.
    report: bool,
    problems: &'b mut Vec<Problem>,
}

impl<'a> List<'a, '_> {
    /// The whole section.
    fn top(&mut self, steps: &'a [Spanned<Step>]) -> Vec<Entry> {
        let mut entries = Vec::new();
        for step in steps {
            match &step.value {
                Step::Base => entries.push(Entry::Base),
                Step::Policy(_) => {
                    entries.extend(self.steps(std::slice::from_ref(step)).into_iter().map(Entry::Policy))
                }
            }
        }
        self.nothing_after_the_end(steps);
        let sends = |entry: &Entry| match entry {
            Entry::Base => true,
            Entry::Policy(policy) => sends(policy),
        };
        if self.section == Section::Backend
            && !entries.iter().any(sends)
            && let Some(first) = steps.first()
        {
            let help = "add forward-request, or base";
            self.problems.push(Problem::at(first, "no policy of this section sends the request", help));
        }
        entries
    }

    fn steps(&mut self, steps: &'a [Spanned<Step>]) -> Vec<Arc<Policy>> {
        let mut policies = Vec::new();
        for step in steps {
            match &step.value {
                Step::Base => {
                    let help = "write it in the list of the section itself";
                    self.problems.push(Problem::at(step, "`base` stands for nothing here", help));
                }
                Step::Policy(file) => match &file.include_fragment {
                    Some(name) => {
                        let before = self.report;
                        self.report |= is_reported(file.enabled.as_ref(), self.problems);
                        policies.extend(self.fragment(name));
                        self.report = before;
                    }
                    None => policies.extend(self.policy(step, file)),
                },
            }
        }
        self.nothing_after_the_end(steps);
        policies
    }

    fn nothing_after_the_end(&mut self, steps: &[Spanned<Step>]) {
        let ends = |step: &Spanned<Step>| match &step.value {
            Step::Base => false,
            Step::Policy(file) => file.return_response.is_some() && file.enabled.is_none(),
        };
        if let Some(after) = steps.iter().position(ends).and_then(|last| steps.get(last + 1)) {
            let help = "remove it, or write it before return-response";
            self.problems.push(Problem::at(after, "this never runs: return-response ends all", help));
        }
    }

    fn fragment(&mut self, name: &'a Spanned<String>) -> Vec<Arc<Policy>> {
        let text = name.value.trim();
        let Some((known, steps)) = self.shared.fragments.get_key_value(text) else {
            let help = suggestion(text, self.shared.fragments.keys());
            self.problems.push(Problem::at(name, "there is no fragment of this name", help));
            return Vec::new();
        };
        if self.within.contains(&known.as_str()) {
            self.problems.push(Problem::at(name, "this fragment includes itself", "take out the one or the other"));
            return Vec::new();
        }
        self.within.push(known);
        let policies = self.steps(steps);
        self.within.pop();
        policies
    }

    fn policy(&mut self, step: &Spanned<Step>, file: &'a PolicyFile) -> Option<Arc<Policy>> {
        let before = self.report;
        self.report |= is_reported(file.enabled.as_ref(), self.problems);
        let mut statements = self.statements(file);
        let report = std::mem::replace(&mut self.report, before);
        let misspelled = statements.is_empty() && self.problems.iter().any(|problem| problem.is_in_line_of(step));
        if statements.len() != 1 && !misspelled {
            let help = "one policy for each dash of the list";
            let rule = if statements.is_empty() { "which policy?" } else { "more than one policy" };
            self.problems.push(Problem::at(step, rule, help));
        }
        let statement = statements.pop()??;
        if let Some((rule, help)) = misplaced(&statement, self.section) {
            self.problems.push(Problem::at(step, format!("{} {rule}", statement.label()), help));
        }
        if let (Some(written), true, Statement::ForwardRequest(_) | Statement::Retry(_)) =
            (&file.enabled, report, &statement)
        {
            let rule = format!("{} cannot only be reported: the request would not be sent", statement.label());
            self.problems.push(Problem::at(written, rule, "remove it"));
        }
        let id = file.id.as_ref().map(|id| id.value.as_str().into());
        Some(Arc::new(Policy::new(id, Arc::clone(&self.scope), report, statement)))
    }

    /// What is written; `None` for what cannot be.
    fn statements(&mut self, file: &'a PolicyFile) -> Vec<Option<Statement>> {
        let mut statements = Vec::new();
        if let Some(basic) = &file.authentication_basic {
            let (username, password) = (self.template(&basic.username), self.template(&basic.password));
            if username.literal().is_some_and(|name| name.contains(':')) {
                let help = "RFC 7617: a user's name has none";
                self.problems.push(Problem::at(&basic.username, "a colon in the name", help));
            }
            statements.push(Some(Statement::AuthenticationBasic(Basic { username, password })));
        }
        if let Some(lookup) = &file.cache_lookup {
            let vary_by_header = lookup.vary_by_header.iter().filter_map(|name| self.header(name)).collect();
            let names = lookup.vary_by_query_parameter.as_ref();
            statements.push(Some(Statement::CacheLookup(CacheLookup {
                vary_by_header,
                vary_by_query_parameter: names.map(|names| names.iter().map(|name| name.as_str().into()).collect()),
                vary_by_workload: lookup.vary_by_workload,
                share_authorized: lookup.share_authorized,
            })));
        }
        if let Some(lookup) = &file.cache_lookup_value {
            let (key, variable) = (self.expression(&lookup.key, Kind::Any), self.variable(&lookup.variable));
            let default = lookup.default.as_ref().and_then(|default| self.expression(default, Kind::Any));
            statements.push(key.map(|key| Statement::CacheLookupValue(CacheLookupValue { key, variable, default })));
        }
        if let Some(remove) = &file.cache_remove_value {
            let key = self.expression(&remove.key, Kind::Any);
            statements.push(key.map(|key| Statement::CacheRemoveValue(CacheRemoveValue { key })));
        }
        if let Some(store) = &file.cache_store {
            let duration = self.duration(store.duration.as_ref());
            let stale_if_error = self.duration(store.stale_if_error.as_ref());
            statements.push(Some(Statement::CacheStore(CacheStore { duration, stale_if_error })));
        }
        if let Some(store) = &file.cache_store_value {
            let (key, value) = (self.expression(&store.key, Kind::Any), self.expression(&store.value, Kind::Any));
            let duration = self.duration(Some(&store.duration)).unwrap_or_default();
            let both = key.zip(value);
            statements
                .push(both.map(|(key, value)| Statement::CacheStoreValue(CacheStoreValue { key, value, duration })));
        }
        if let Some(check) = &file.check_header {
            statements.push(self.check_header(check).map(Statement::CheckHeader));
        }
        if let Some(branches) = &file.choose {
            statements.push(Some(Statement::Choose(self.branches(branches))));
        }
        if let Some(replace) = &file.find_and_replace {
            if replace.from.value.is_empty() {
                self.problems.push(Problem::at(&replace.from, "nothing to look for", "from: a text"));
            }
            let (from, to) = (self.template(&replace.from), self.shown(&replace.to));
            statements.push(Some(Statement::FindAndReplace(FindAndReplace { from, to })));
        }
        if let Some(forward) = &file.forward_request {
            let timeout = self.duration(forward.timeout.as_ref());
            statements.push(Some(Statement::ForwardRequest(Forward {
                timeout,
                fail_on_error_status: forward.fail_on_error_status,
            })));
        }
        if let Some(limit) = &file.limit_concurrency {
            let key = limit.key.as_ref().and_then(|key| self.expression(key, Kind::Any));
            let identity = self.identity("limit-concurrency", file, key.as_ref());
            statements.push(Some(Statement::LimitConcurrency(LimitConcurrency {
                identity,
                max: limit.max.value,
                key,
            })));
        }
        if let Some(reply) = &file.mock_response {
            statements.push(Some(Statement::MockResponse(self.reply(reply))));
        }
        if let Some(quota) = &file.quota {
            statements.push(Some(self.quota(quota, file, RateKind::Workload)));
        }
        if let Some(quota) = &file.quota_by_key {
            statements.push(Some(self.quota(quota, file, RateKind::Key)));
        }
        if let Some(limit) = &file.rate_limit {
            statements.push(Some(self.rate_limit(limit, file, RateKind::Workload)));
        }
        if let Some(limit) = &file.rate_limit_by_key {
            statements.push(Some(self.rate_limit(limit, file, RateKind::Key)));
        }
        if let Some(retry) = &file.retry {
            statements.push(Some(Statement::Retry(self.retry(retry))));
        }
        if let Some(reply) = &file.return_response {
            statements.push(Some(Statement::ReturnResponse(self.reply(reply))));
        }
        if let Some(rewrite) = &file.rewrite_uri {
            let template = self.template(&rewrite.template);
            if template.literal().is_some_and(|path| !path.starts_with('/')) {
                self.problems.push(Problem::at(&rewrite.template, "a path begins with a slash", "like /v2/prices"));
            }
            statements.push(Some(Statement::RewriteUri(RewriteUri {
                template,
                copy_query: rewrite.copy_query.unwrap_or(true),
            })));
        }
        if let Some(body) = &file.set_body {
            statements.push(Some(Statement::SetBody(self.shown(body))));
        }
        if let Some(set) = &file.set_header {
            let (exists, values) = self.values(&set.name, set.exists_action.as_ref(), set.value.as_ref(), &set.values);
            let name = self.header(&set.name);
            let name = name.and_then(|name| HeaderName::from_bytes(name.as_bytes()).ok());
            let fixed = values.iter().map(|value| HeaderValue::from_str(value.literal()?).ok()).collect();
            statements.push(name.map(|name| Statement::SetHeader(SetHeader { name, exists, values, fixed })));
        }
        if let Some(method) = &file.set_method {
            statements.push(Some(Statement::SetMethod(self.template(method))));
        }
        if let Some(set) = &file.set_query_parameter {
            let (exists, values) = self.values(&set.name, set.exists_action.as_ref(), set.value.as_ref(), &set.values);
            let name = set.name.value.as_str().into();
            statements.push(Some(Statement::SetQueryParameter(SetQueryParameter { name, exists, values })));
        }
        if let Some(status) = &file.set_status {
            statements.push(Some(Statement::SetStatus(SetStatus { code: status.value })));
        }
        if let Some(set) = &file.set_variable {
            let (name, value) = (self.variable(&set.name), self.expression(&set.value, Kind::Any));
            statements.push(value.map(|value| Statement::SetVariable(SetVariable { name, value })));
        }
        if let Some(filter) = &file.workload_filter {
            statements.push(self.workload_filter(filter).map(Statement::WorkloadFilter));
        }
        statements
    }

    fn variable(&mut self, written: &Spanned<String>) -> Arc<str> {
        let name = written.value.trim();
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            self.problems.push(Problem::at(written, "not a variable's name", "letters, digits and _"));
        }
        name.into()
    }

    fn branches(&mut self, files: &'a [BranchFile]) -> Vec<Branch> {
        let mut branches = Vec::new();
        for (index, file) in files.iter().enumerate() {
            let last = index + 1 == files.len();
            match (&file.when, &file.then, &file.otherwise) {
                (Some(when), Some(then), None) => {
                    let when = self.expression(when, Kind::Bool);
                    let then = self.steps(then);
                    branches.extend(when.map(|when| Branch { when: Some(when), then }));
                }
                (None, None, Some(otherwise)) if last => {
                    branches.push(Branch { when: None, then: self.steps(otherwise) });
                }
                (when, _, otherwise) => {
                    let place = when.as_ref().map(|when| Problem::at(when, "when without its then", ""));
                    let steps = otherwise.as_ref().and_then(|steps| steps.first());
                    let other = steps.map(|step| Problem::at(step, "otherwise is the last of the list, alone", ""));
                    let help = "choose: [{when: CONDITION, then: [...]}, {otherwise: [...]}]";
                    self.problems.extend(place.or(other).map(|problem| problem.helped(help)));
                }
            }
        }
        branches
    }

    fn check_header(&mut self, file: &CheckHeaderFile) -> Option<CheckHeader> {
        let values = file.values.iter().map(|value| self.template(value)).collect();
        let failed = Refusal {
            status: file.failed_status.unwrap_or(401),
            message: file.failed_message.as_deref().map(Arc::from),
        };
        Some(CheckHeader { name: self.header(&file.name)?, values, ignore_case: file.ignore_case, failed })
    }

    fn quota(&mut self, file: &QuotaFile, policy: &PolicyFile, kind: RateKind) -> Statement {
        let key = self.key_of(kind, ["quota", "quota-by-key"], &file.calls, file.key.as_ref());
        let condition = file.condition.as_ref().and_then(|condition| self.expression(condition, Kind::Bool));
        let period = file.period.as_ref().map(|written| {
            let period = duration(Some(written), SHORTEST_QUOTA, self.problems);
            if period < SHORTEST_QUOTA {
                self.problems.push(Problem::at(written, "out of range", "at least 1m; shorter ones are rate limits"));
            }
            period
        });
        Statement::Quota(Quota {
            identity: self.identity("quota", policy, key.as_ref()),
            kind,
            calls: file.calls.value.into(),
            period,
            key,
            condition,
            remaining_header: file.remaining_header.as_ref().and_then(|name| self.header(name)),
        })
    }

    /// What is counted on its own, which one of two policies needs.
    fn key_of(
        &mut self,
        kind: RateKind,
        [by_workload, by_key]: [&str; 2],
        place: &Spanned<u32>,
        key: Option<&Spanned<String>>,
    ) -> Option<Expression> {
        match (kind, key) {
            (RateKind::Workload, Some(key)) => {
                let (rule, help) = (format!("{by_workload} counts by workload"), format!("{by_key} counts by a key"));
                self.problems.push(Problem::at(key, rule, help));
            }
            (RateKind::Key, None) => {
                let help = "add `key`: an expression, like workload.name";
                self.problems.push(Problem::at(place, "`key` is missing", help));
            }
            (RateKind::Workload, None) | (RateKind::Key, Some(_)) => {}
        }
        key.and_then(|key| self.expression(key, Kind::Any))
    }

    fn rate_limit(&mut self, file: &RateLimitFile, policy: &PolicyFile, kind: RateKind) -> Statement {
        let key = self.key_of(kind, ["rate-limit", "rate-limit-by-key"], &file.calls, file.key.as_ref());
        let condition = file.condition.as_ref().and_then(|condition| self.expression(condition, Kind::Bool));
        let period = duration(Some(&file.period), Duration::from_secs(60), self.problems);
        if period.is_zero() || period > LONGEST_PERIOD {
            self.problems.push(Problem::at(
                &file.period,
                "out of range",
                "a period from 1ms to 1h; longer ones are quotas",
            ));
        }
        Statement::RateLimit(RateLimit {
            identity: self.identity("rate-limit", policy, key.as_ref()),
            kind,
            calls: file.calls.value,
            period,
            key,
            condition,
            remaining_header: file.remaining_header.as_ref().and_then(|name| self.header(name)),
            total_header: file.total_header.as_ref().and_then(|name| self.header(name)),
        })
    }

    fn retry(&mut self, file: &'a RetryFile) -> Retry {
        let policies = match &file.policies {
            Some(steps) => {
                let policies = self.steps(steps);
                if let Some(first) = steps.first().filter(|_| !policies.iter().any(|policy| sends(policy))) {
                    self.problems.push(Problem::at(first, "none of these sends the request", "add forward-request"));
                }
                policies
            }
            None => {
                let statement = Statement::ForwardRequest(Forward::default());
                vec![Arc::new(Policy::new(None, Arc::clone(&self.scope), false, statement))]
            }
        };
        Retry {
            condition: file.condition.as_ref().and_then(|condition| self.expression(condition, Kind::Bool)),
            count: file.count.value,
            interval: self.duration(file.interval.as_ref()).unwrap_or(Duration::from_millis(100)),
            max_interval: self.duration(file.max_interval.as_ref()).unwrap_or(Duration::from_secs(10)),
            any_method: file.any_method,
            policies,
        }
    }

    fn reply(&mut self, file: &ReplyFile) -> Reply {
        let mut headers = Vec::new();
        for (name, value) in &file.headers {
            match HeaderName::from_bytes(name.as_bytes()) {
                Ok(name) => headers.push((name.as_str().into(), self.shown(value))),
                Err(_) => {
                    self.problems.push(Problem::at(value, format!("`{name}` is not a header's name"), "like X-Reason"))
                }
            }
        }
        let body = file.body.as_ref().map_or_else(|| Template(Vec::new()), |body| self.shown(body));
        Reply { status: file.status.unwrap_or(200), headers, body }
    }

    fn workload_filter(&mut self, file: &WorkloadFilterFile) -> Option<WorkloadFilter> {
        let (allow, files) = match (&file.allow, &file.forbid) {
            (Some(files), None) => (true, files),
            (None, Some(files)) => (false, files),
            _ => return None,
        };
        let text = |text: &Option<String>| text.as_deref().map(Arc::from);
        let matches = files.iter().map(|WorkloadFile { name, cgroup, uid }| WorkloadMatch {
            name: text(name),
            cgroup: text(cgroup),
            uid: *uid,
        });
        Some(WorkloadFilter { allow, matches: matches.collect() })
    }

    fn values(
        &mut self,
        name: &Spanned<String>,
        exists: Option<&Spanned<String>>,
        value: Option<&Spanned<String>>,
        values: &[Spanned<String>],
    ) -> (Exists, Vec<Template>) {
        let exists = match exists.map(|written| (written, written.value.as_str())) {
            None | Some((_, "override")) => Exists::Override,
            Some((_, "skip")) => Exists::Skip,
            Some((_, "append")) => Exists::Append,
            Some((_, "delete")) => Exists::Delete,
            Some((written, _)) => {
                let help = "override, skip, append or delete";
                self.problems.push(Problem::at(written, "not what can be done where there is one", help));
                Exists::Override
            }
        };
        let many = value.into_iter().chain(values);
        match (exists, value, values) {
            (Exists::Delete, None, []) | (_, Some(_), []) | (_, None, [_, ..])
                if exists != Exists::Delete || value.is_none() && values.is_empty() => {}
            (Exists::Delete, ..) => {
                self.problems.push(Problem::at(name, "what is deleted has no value", "remove the value"))
            }
            (_, Some(_), _) => self.problems.push(Problem::at(name, "`value` and `values`", "the one or the other")),
            (_, None, _) => self.problems.push(Problem::at(name, "`value` is missing", "add `value`: what it says")),
        }
        let templates = many.map(|value| self.shown(value)).collect();
        (exists, templates)
    }

    /// What a caller may see, where the section is about the answer: no secret then.
    fn shown(&mut self, written: &Spanned<String>) -> Template {
        let template = self.template(written);
        if template.is_secret() && matches!(self.section, Section::Outbound | Section::OnError) {
            let help = "secrets are for requests; a value for all to see is {value: ...}";
            self.problems.push(Problem::at(written, "a secret would go to the caller", help));
        }
        template
    }

    fn header(&mut self, written: &Spanned<String>) -> Option<Arc<str>> {
        /// What is for one connection only (RFC 9110 §7.6.1), and what says where a message ends.
        const FRAMING: [&str; 7] =
            ["connection", "content-length", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"];
        match HeaderName::from_bytes(written.value.trim().as_bytes()) {
            Ok(name) if FRAMING.contains(&name.as_str()) => {
                let help = "set the body with set-body; its length follows";
                self.problems.push(Problem::at(
                    written,
                    "this header is Egret's to set: it says how a message is sent",
                    help,
                ));
                None
            }
            Ok(name) if name == http::header::HOST => {
                let help = "Egret sends requests to the host that they are for";
                self.problems.push(Problem::at(written, "the host is not a policy's to change", help));
                None
            }
            Ok(name) => Some(name.as_str().into()),
            Err(_) => {
                self.problems.push(Problem::at(written, "not a header's name", "like X-Api-Key"));
                None
            }
        }
    }

    fn identity(&self, name: &str, file: &PolicyFile, key: Option<&Expression>) -> Arc<str> {
        let id = file.id.as_ref().map_or("", |id| id.value.as_str());
        let key = key.map_or("", |key| &key.source);
        format!("{}/{name}/{id}/{key}", self.scope).into()
    }

    fn expression(&mut self, written: &Spanned<String>, kind: Kind) -> Option<Expression> {
        let (scope, problems) = self.scope_and_problems();
        scope.expression(written, kind, problems)
    }

    fn template(&mut self, written: &Spanned<String>) -> Template {
        let (scope, problems) = self.scope_and_problems();
        scope.template(written, problems)
    }

    fn scope_and_problems(&mut self) -> (Scope<'a>, &mut Vec<Problem>) {
        let Shared { variables, values, .. } = self.shared;
        (Scope { section: self.section, variables, values }, self.problems)
    }

    fn duration(&mut self, written: Option<&Spanned<String>>) -> Option<Duration> {
        written.map(|written| duration(Some(written), Duration::from_secs(1), self.problems))
    }
}

fn is_reported(enabled: Option<&Spanned<String>>, problems: &mut Vec<Problem>) -> bool {
    match enabled.map(|written| (written, written.value.as_str())) {
        None | Some((_, "enforce")) => false,
        Some((_, "report")) => true,
        Some((written, _)) => {
            problems.push(Problem::at(written, "not how a policy is enabled", "enforce or report"));
            false
        }
    }
}

/// Whether a policy may end with an answer.
fn sends(policy: &Policy) -> bool {
    match &policy.statement {
        Statement::ForwardRequest(_)
        | Statement::ReturnResponse(_)
        | Statement::MockResponse(_)
        | Statement::Retry(_) => true,
        Statement::Choose(branches) => branches.iter().flat_map(|branch| &branch.then).any(|policy| sends(policy)),
        _ => false,
    }
}

/// Why a policy makes no sense in a section.
fn misplaced(statement: &Statement, section: Section) -> Option<(&'static str, &'static str)> {
    use Section::{Backend, Inbound, OnError, Outbound};
    let (places, rule, help): (&[Section], _, _) = match statement {
        Statement::ForwardRequest(_) | Statement::Retry(_) => {
            (&[Backend], "is for the backend section", "write it in backend")
        }
        Statement::AuthenticationBasic(_)
        | Statement::RewriteUri(_)
        | Statement::SetMethod(_)
        | Statement::SetQueryParameter(_) => {
            (&[Inbound, Backend], "changes a request that has been sent", "write it in inbound")
        }
        Statement::CacheLookup(_)
        | Statement::CheckHeader(_)
        | Statement::LimitConcurrency(_)
        | Statement::MockResponse(_)
        | Statement::Quota(_)
        | Statement::RateLimit(_)
        | Statement::WorkloadFilter(_) => (&[Inbound], "is for the inbound section", "write it in inbound"),
        Statement::CacheStore(_) => (&[Outbound], "keeps answers of the third party", "write it in outbound"),
        Statement::SetStatus(_) => (&[Outbound, OnError], "has no answer to change here", "write it in outbound"),
        Statement::CacheLookupValue(_)
        | Statement::CacheRemoveValue(_)
        | Statement::CacheStoreValue(_)
        | Statement::Choose(_)
        | Statement::FindAndReplace(_)
        | Statement::ReturnResponse(_)
        | Statement::SetBody(_)
        | Statement::SetHeader(_)
        | Statement::SetVariable(_) => return None,
    };
    (!places.contains(&section)).then_some((rule, help))
}
