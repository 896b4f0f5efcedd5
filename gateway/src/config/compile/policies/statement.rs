//! What each policy says.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use serde_saphyr::Spanned;

use super::list::{List, sends};
use crate::config::compile::duration;
use crate::config::compile::expression::{Kind, Scope};
use crate::config::compile::lasting::lasting;
use crate::config::diagnostic::Problem;
use crate::config::file::policies::{BranchFile, PolicyFile, ReplyFile, RetryFile};
use crate::model::{
    Escaping, Exists, Expression, Fact, LimitId, OfPlace, Part, Reply, Section, Template, WorkloadFilter, WorkloadMatch,
};
use crate::policy::{
    Basic, Branch, CacheLookup, CacheLookupValue, CacheRemoveValue, CacheStore, CacheStoreValue, CheckHeader, Choose,
    FindAndReplace, Forward, IpFilter, MockResponse, PlaceholderPlace, Policy, ReplacePlaceholder, Retry,
    ReturnResponse, RewriteUri, SetBody, SetHeader, SetMethod, SetQueryParameter, SetStatus, SetVariable, Statement,
};
use crate::syntax::WorkloadFile;

/// Requests of a hundred that may be sent again.
const DEFAULT_BUDGET: u32 = 20;

impl<'a> List<'a, '_> {
    /// What is written; `None` for what cannot be.
    pub(super) fn statements(&mut self, file: &'a PolicyFile) -> Vec<Option<Statement>> {
        let mut statements = Vec::new();
        self.llm(file, &mut statements);
        self.limits(file, &mut statements);
        self.outside(file, &mut statements);
        self.credentials(file, &mut statements);
        if let Some(basic) = &file.authentication_basic {
            let (username, password) = (self.template(&basic.username), self.template(&basic.password));
            if username.literal().is_some_and(|name| name.contains(':')) {
                let help = "remove the colon: RFC 7617 forbids it";
                self.problems.push(Problem::at(&basic.username, "this user name has a colon", help));
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
                wait: self.duration(lookup.wait.as_ref()).filter(|wait| !wait.is_zero()),
            })));
        }
        if let Some(lookup) = &file.cache_lookup_value {
            let (key, variable) = (self.key(&lookup.key), self.variable(&lookup.variable));
            let secret = self.is_secret(&variable);
            let default = lookup.default.as_ref().and_then(|default| self.kept(default, secret));
            let looked_up =
                key.map(|key| CacheLookupValue { key, shared: name_of(&lookup.shared), variable, secret, default });
            statements.push(looked_up.map(Statement::CacheLookupValue));
        }
        if let Some(remove) = &file.cache_remove_value {
            let key = self.key(&remove.key);
            statements.push(
                key.map(|key| Statement::CacheRemoveValue(CacheRemoveValue { key, shared: name_of(&remove.shared) })),
            );
        }
        if let Some(store) = &file.cache_store {
            let duration = self.duration(store.duration.as_ref());
            let stale_if_error = self.duration(store.stale_if_error.as_ref());
            statements.push(Some(Statement::CacheStore(CacheStore { duration, stale_if_error })));
        }
        if let Some(store) = &file.cache_store_value {
            let (key, value) = (self.key(&store.key), self.expression(&store.value, Kind::Any));
            let duration = self.duration(Some(&store.duration)).unwrap_or_default();
            let both = key.zip(value);
            let shared = name_of(&store.shared);
            statements.push(
                both.map(|(key, value)| Statement::CacheStoreValue(CacheStoreValue { key, shared, value, duration })),
            );
        }
        if let Some(check) = &file.check_header {
            statements.push(CheckHeader::compile(check, self).map(Statement::CheckHeader));
        }
        if let Some(branches) = &file.choose {
            statements.push(Some(Statement::Choose(Choose { branches: self.branches(branches) })));
        }
        if let Some(replace) = &file.find_and_replace {
            if replace.from.value.is_empty() {
                self.problems.push(Problem::at(
                    &replace.from,
                    "`from` is empty",
                    "write the text that is to be replaced",
                ));
            }
            let from = self.template(&replace.from);
            let to = self.with_scope(|scope, problems| scope.piece(&replace.to, problems));
            self.is_for_section(&to, &replace.to);
            statements.push(Some(Statement::FindAndReplace(FindAndReplace { from, to })));
        }
        if let Some(forward) = &file.forward_request {
            let timeout = self.duration(forward.timeout.as_ref());
            statements.push(Some(Statement::ForwardRequest(Forward {
                timeout,
                fail_on_error_status: forward.fail_on_error_status,
                follow_redirects: forward.follow_redirects,
                buffer_request: forward.buffer_request,
                buffer_response: forward.buffer_response,
            })));
        }
        self.conversion(file, &mut statements);
        if let Some(filter) = &file.ip_filter {
            statements.push(IpFilter::compile(filter, self).map(Statement::IpFilter));
        }
        if let Some(reply) = &file.mock_response {
            statements.push(Some(Statement::MockResponse(MockResponse(self.reply(reply)))));
        }
        if let Some(retry) = &file.retry {
            statements.push(Some(Statement::Retry(self.retry(retry, file))));
        }
        if let Some(reply) = &file.return_response {
            statements.push(Some(Statement::ReturnResponse(ReturnResponse(self.reply(reply)))));
        }
        if let Some(replace) = &file.replace_placeholder {
            let placeholder = replace.placeholder.value.trim();
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            if placeholder.len() < 8 || !placeholder.chars().all(plain) {
                let help =
                    "write at least 8 letters, digits, - and _ that nobody writes by chance, like PARTNER-KEY-HERE";
                self.problems.push(Problem::at(&replace.placeholder, "this cannot be a placeholder", help));
            }
            if replace.r#in.is_empty() {
                let rule = "`in` is missing: it says where Egret replaces the placeholder";
                let help =
                    "add `in`, a list of header names, `query`, `query.NAME` and `body`, like in: [Authorization]";
                self.problems.push(Problem::at(&replace.placeholder, rule, help).lacking(&["in"]));
            }
            let places = replace.r#in.iter().filter_map(|place| self.placeholder_place(place)).collect();
            let (placeholder, value) = (placeholder.into(), self.template(&replace.value));
            statements.push(Some(Statement::ReplacePlaceholder(ReplacePlaceholder { placeholder, value, places })));
        }
        if let Some(rewrite) = &file.rewrite_uri {
            let template = self.url_text(&rewrite.template);
            let begins = match template.0.first() {
                Some(Part::Text(text)) => text.starts_with('/'),
                // A value of the owner's may be all of a path, and so may `raw(...)`.
                Some(Part::Named(_) | Part::Expression(_, Escaping::None)) => true,
                Some(Part::Expression(..)) | None => false,
            };
            if !begins {
                let help = "write a path like /v2/prices/${request.parameters.id}; ${raw(...)} may be all of a path";
                self.problems.push(Problem::at(&rewrite.template, "this path does not begin with a slash", help));
            }
            statements.push(Some(Statement::RewriteUri(RewriteUri {
                template,
                copy_query: rewrite.copy_query.unwrap_or(true),
            })));
        }
        if let Some(body) = &file.set_body {
            let template = self.body(body, None);
            self.is_for_section(&template, body);
            statements.push(Some(Statement::SetBody(SetBody(template))));
        }
        if let Some(set) = &file.set_header {
            let (exists, values) = self.values(&set.name, set.exists_action.as_ref(), set.value.as_ref(), &set.values);
            let name = self.header(&set.name);
            let name = name.and_then(|name| HeaderName::from_bytes(name.as_bytes()).ok());
            let fixed = |value: &Template| {
                // Not `HeaderValue::from_static`, which panics at characters beyond ASCII.
                let literal = value.literal().filter(|literal| HeaderValue::from_str(literal).is_ok())?;
                HeaderValue::from_maybe_shared(bytes::Bytes::from_static(lasting(literal).as_bytes())).ok()
            };
            let fixed = values.iter().map(fixed).collect();
            let name = name.map(|name| HeaderName::from_static(lasting(name.as_str())));
            statements.push(name.map(|name| Statement::SetHeader(SetHeader { name, exists, values, fixed })));
        }
        if let Some(written) = &file.set_method {
            let method = self.told(written);
            if method.literal().is_some_and(|method| Method::from_bytes(method.trim().as_bytes()).is_err()) {
                let rule = format!("`{}` is not an HTTP method", written.value);
                self.problems.push(Problem::at(written, rule, "write a method like GET or POST"));
            }
            statements.push(Some(Statement::SetMethod(SetMethod(method))));
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
            let name = self.variable(&set.name);
            let secret = self.is_secret(&name);
            let value = self.kept(&set.value, secret);
            statements.push(value.map(|value| Statement::SetVariable(SetVariable { name, secret, value })));
        }
        self.validation(file, &mut statements);
        if let Some(filter) = &file.workload_filter {
            statements.push(WorkloadFilter::compile(filter, self).map(Statement::WorkloadFilter));
        }
        self.telemetry(file, &mut statements);
        statements
    }

    fn placeholder_place(&mut self, written: &Spanned<String>) -> Option<PlaceholderPlace> {
        match written.value.trim() {
            "body" => Some(PlaceholderPlace::Body),
            "query" => Some(PlaceholderPlace::Query(None)),
            text => match text.strip_prefix("query.") {
                Some(name) => Some(PlaceholderPlace::Query(Some(name.into()))),
                None => self.header(written).and_then(|name| name.parse().ok()).map(PlaceholderPlace::Header),
            },
        }
    }

    pub(super) fn variable(&mut self, written: &Spanned<String>) -> Arc<str> {
        let name = written.value.trim();
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            self.problems.push(Problem::at(
                written,
                format!("`{}` is not the name of a variable", written.value),
                "use letters, digits and _",
            ));
        }
        name.into()
    }

    /// Whether what this variable holds is a secret: some policy that sets it says so.
    fn is_secret(&self, variable: &str) -> bool {
        self.shared.variables.get(variable).is_some_and(|secret| *secret)
    }

    /// What a variable holds.
    fn kept(&mut self, written: &Spanned<String>, secret: bool) -> Option<Expression> {
        let value = self.expression(written, Kind::Any)?;
        if value.is_secret && !secret {
            let help = "add `secret: true`: a value made of a secret is a secret, too";
            self.problems.push(Problem::at(
                written,
                "a secret is assigned to a variable that is not declared `secret: true`",
                help,
            ));
        }
        Some(value)
    }

    /// What is counted or kept on its own. `inspect` and `explain` show it.
    pub(super) fn key(&mut self, written: &Spanned<String>) -> Option<Expression> {
        self.told_expression(written, Kind::Any)
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
                    let place =
                        when.as_ref().map(|when| Problem::at(when, "this branch has `when`, but no `then`", ""));
                    let steps = otherwise.as_ref().and_then(|steps| steps.first());
                    let other = steps.map(|step| {
                        Problem::at(step, "`otherwise` is not the last branch, or has other keys beside it", "")
                    });
                    let help = "write choose: [{when: CONDITION, then: [...]}, {otherwise: [...]}]";
                    self.problems.extend(place.or(other).map(|problem| problem.helped(help)));
                }
            }
        }
        branches
    }

    fn retry(&mut self, file: &'a RetryFile, policy: &PolicyFile) -> Retry {
        let policies = match &file.policies {
            Some(steps) => {
                let policies = self.steps(steps);
                if let Some(first) = steps.first().filter(|_| !policies.iter().any(|policy| sends(policy))) {
                    self.problems.push(Problem::at(
                        first,
                        "none of these policies forwards the request",
                        "add forward-request",
                    ));
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
            identity: self.identity("retry", policy, None),
            budget: Some(file.budget.unwrap_or(DEFAULT_BUDGET)).filter(|budget| *budget > 0),
            policies,
        }
    }

    fn reply(&mut self, file: &ReplyFile) -> Reply {
        let mut headers = Vec::new();
        for (name, value) in &file.headers {
            if let Some(name) = self.header_named(name, value) {
                headers.push((name, self.for_caller(value)));
            }
        }
        let body = file.body.as_ref().map_or_else(Template::default, |written| {
            let body = self.body(written, content_type(&headers));
            self.is_for_caller(&body, written);
            body
        });
        Reply { status: file.status.unwrap_or(200), headers, body }
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
                let help = "write override, skip, append or delete";
                self.problems.push(Problem::at(written, format!("`{}` is not an action", written.value), help));
                Exists::Override
            }
        };
        let many = value.into_iter().chain(values);
        match (exists, value, values) {
            (Exists::Delete, None, []) | (_, Some(_), []) | (_, None, [_, ..])
                if exists != Exists::Delete || value.is_none() && values.is_empty() => {}
            (Exists::Delete, ..) => {
                self.problems.push(Problem::at(name, "`delete` takes no value", "remove the value"))
            }
            (_, Some(_), _) => {
                self.problems.push(Problem::at(name, "`value` and `values` exclude each other", "remove one of them"))
            }
            (_, None, _) => self.problems.push(Problem::at(name, "`value` is missing", "add `value`, or `values`")),
        }
        let templates = many.map(|value| self.shown(value)).collect();
        (exists, templates)
    }

    /// Returns a text that the section may show: to the caller, where it is about the response.
    fn shown(&mut self, written: &Spanned<String>) -> Template {
        let template = self.template(written);
        self.is_for_section(&template, written);
        template
    }

    /// Returns a text that a caller will see.
    fn for_caller(&mut self, written: &Spanned<String>) -> Template {
        let template = self.template(written);
        self.is_for_caller(&template, written);
        template
    }

    /// Checks that a template has no secret where the section is about the response.
    fn is_for_section(&mut self, template: &Template, written: &Spanned<String>) {
        if matches!(self.section, Section::Outbound | Section::OnError) {
            self.is_for_caller(template, written);
        }
    }

    /// Checks that a template has no secret.
    fn is_for_caller(&mut self, template: &Template, written: &Spanned<String>) {
        if template.is_secret() {
            let help = "use a value that is not a secret: {value: ...}";
            self.problems.push(Problem::at(written, "a secret would go to the caller", help));
        }
    }

    pub(super) fn header(&mut self, written: &Spanned<String>) -> Option<Arc<str>> {
        self.header_named(&written.value, written)
    }

    /// The same of a name that is the key of what is written there.
    pub(super) fn header_named(&mut self, name: &str, written: &Spanned<String>) -> Option<Arc<str>> {
        /// What is for one connection only (RFC 9110 §7.6.1), and what says where a message ends.
        const FRAMING: [&str; 7] =
            ["connection", "content-length", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"];
        let (rule, help) = match HeaderName::from_bytes(name.trim().as_bytes()) {
            Ok(name) if FRAMING.contains(&name.as_str()) => (
                "Egret sets this header itself: it says how a message is sent",
                "remove it, and set the body with set-body: its length follows",
            ),
            Ok(name) if name == http::header::HOST => {
                ("a policy cannot change the host", "remove it: Egret sends requests to the host that they are for")
            }
            Ok(name) => return Some(name.as_str().into()),
            Err(_) => ("this is not the name of a header", "write a name like X-Api-Key"),
        };
        self.problems.push(Problem::at(written, rule, help));
        None
    }

    /// Returns what counts are stored under. Policies that differ in nothing else have numbers.
    pub(super) fn identity(&mut self, name: &str, file: &PolicyFile, key: Option<&Expression>) -> OfPlace<LimitId> {
        let id = file.id.as_ref().map(|id| id.value.as_str());
        let numbered = |number| LimitId::new(&self.scope, name, id, number, key.map(|key| &key.source));
        let mut number = 1;
        let mut identity = numbered(number);
        while self.identities.contains(&identity) {
            number += 1;
            identity = numbered(number);
        }
        self.identities.push(identity.clone());
        OfPlace(identity)
    }

    pub(super) fn expression(&mut self, written: &Spanned<String>, kind: Kind) -> Option<Expression> {
        let (scope, problems) = self.scope_and_problems();
        scope.expression(written, kind, problems)
    }

    pub(super) fn template(&mut self, written: &Spanned<String>) -> Template {
        self.with_scope(|scope, problems| scope.template(written, problems))
    }

    /// Returns a URL, or a path with a query.
    pub(super) fn url_text(&mut self, written: &Spanned<String>) -> Template {
        self.with_scope(|scope, problems| scope.url(written, problems))
    }

    /// Returns a body of this media type.
    pub(super) fn body(&mut self, written: &Spanned<String>, kind: Option<&str>) -> Template {
        self.with_scope(|scope, problems| scope.body(written, kind, problems))
    }

    fn with_scope<T>(&mut self, read: impl FnOnce(&Scope<'_>, &mut Vec<Problem>) -> T) -> T {
        let (scope, problems) = self.scope_and_problems();
        read(&scope, problems)
    }

    pub(super) fn scope_and_problems(&mut self) -> (Scope<'a>, &mut Vec<Problem>) {
        (self.shared.scope(self.section), self.problems)
    }

    pub(super) fn duration(&mut self, written: Option<&Spanned<String>>) -> Option<Duration> {
        written.map(|written| duration(Some(written), Duration::from_secs(1), self.problems))
    }
}

fn name_of(written: &Option<Spanned<String>>) -> Option<Arc<str>> {
    written.as_ref().map(|name| name.value.trim().into())
}

/// Returns the media type that a message's headers say, if it is fixed.
pub(super) fn content_type(headers: &[(Arc<str>, Template)]) -> Option<&str> {
    headers.iter().find(|(name, _)| **name == *"content-type").and_then(|(_, value)| value.literal())
}

pub(in crate::config::compile) fn workloads(files: &[WorkloadFile], problems: &mut Vec<Problem>) -> Vec<WorkloadMatch> {
    files.iter().map(|file| workload(file, problems)).collect()
}

fn workload(file: &WorkloadFile, problems: &mut Vec<Problem>) -> WorkloadMatch {
    let text = |text: &Option<Spanned<String>>| text.as_ref().map(|text| text.value.as_str().into());
    let facts = [
        (Fact::Cgroup, file.cgroup.as_ref().and_then(|path| cgroup(path, problems))),
        (Fact::Unit, text(&file.unit)),
        (Fact::Container, text(&file.container)),
        (Fact::Pod, text(&file.pod)),
        (Fact::Namespace, in_kubernetes(file.namespace.as_ref(), problems)),
        (Fact::PodName, in_kubernetes(file.pod_name.as_ref(), problems)),
        (Fact::ServiceAccount, in_kubernetes(file.service_account.as_ref(), problems)),
        (Fact::Controller, from_api_server(Fact::Controller, file.controller.as_ref(), problems)),
        (Fact::ContainerName, from_api_server(Fact::ContainerName, file.container_name.as_ref(), problems)),
        (Fact::Image, from_api_server(Fact::Image, file.image.as_ref(), problems)),
        (Fact::Executable, text(&file.executable)),
        (Fact::User, text(&file.user)),
    ];
    for value in file.labels.values() {
        problems.push(unknown_without_api_server(value, "labels"));
    }
    WorkloadMatch {
        facts: facts.into_iter().filter_map(|(fact, pattern)| Some((fact, pattern?))).collect(),
        labels: file.labels.iter().map(|(name, value)| (name.as_str().into(), value.value.as_str().into())).collect(),
        uid: file.uid,
    }
}

fn from_api_server(fact: Fact, written: Option<&Spanned<String>>, problems: &mut Vec<Problem>) -> Option<Arc<str>> {
    let written = written?;
    problems.push(unknown_without_api_server(written, fact.label()));
    Some(written.value.trim().into())
}

/// What is wrong where Egret does not ask the API server.
fn unknown_without_api_server<T>(written: &Spanned<T>, fact: &str) -> Problem {
    let rule = format!("`{fact}` is never known: only the Kubernetes API server says it, and Egret does not ask it");
    Problem::at(written, rule, "add kubernetes: {api: true}").without_api_server()
}

/// Returns the path of a cgroup in which `*` is at the end at most: a `*` elsewhere would let callers choose what it stands for.
fn cgroup(written: &Spanned<String>, problems: &mut Vec<Problem>) -> Option<Arc<str>> {
    let path = written.value.trim();
    if !path.starts_with('/') || path.strip_suffix('*').unwrap_or(path).contains('*') {
        let rule = format!("`{path}` is not the beginning of a cgroup's path");
        let help = "write it from the root of the hierarchy, with * at the end at most, like /user.slice/*";
        problems.push(Problem::at(written, rule, help));
        return None;
    }
    Some(path.into())
}

/// A name that Kubernetes can give (RFC 1123), in which `*` stands for anything.
fn in_kubernetes(written: Option<&Spanned<String>>, problems: &mut Vec<Problem>) -> Option<Arc<str>> {
    let written = written?;
    let name = written.value.trim();
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.' | b'*');
    if name.is_empty() || !name.bytes().all(fits) {
        let help = match name.rsplit_once(['/', ':']) {
            Some((_, name)) => format!("write {name} alone, and its namespace as `namespace`"),
            None => "use lower-case letters, digits, - and .; * stands for anything".to_owned(),
        };
        problems.push(Problem::at(written, format!("`{}` cannot be a name in Kubernetes", written.value), help));
    }
    Some(name.into())
}
