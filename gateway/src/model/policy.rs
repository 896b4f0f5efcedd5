mod contract;
mod conversion;
mod credentials;
mod ip_filter;
mod llm;
mod outside;
mod telemetry;
mod validation;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use credentials::{
    ApiKey, AwsSigv4, CredentialPlace, Encoding, Hmac, HmacAlgorithm, RequiredClaim, SecretKey, TimeFormat, TokenKeys,
    TokenPlace, ValidateJwt,
};

use http::{HeaderName, HeaderValue};

use super::{ByProduct, Endpoint, Expression, Product, Template};

pub use self::contract::{Answer, Content, Contract, Parameter, Place, Schema, Statuses, Style, Telling};
pub use self::conversion::{Converted, JsonKind, JsonToXml, XmlName, XmlToJson};
pub use self::ip_filter::IpFilter;
pub use self::validation::{
    ContentRule, Described, OnInvalid, ValidateContent, ValidateHeaders, ValidateParameters, ValidateStatusCode,
};
pub use llm::{LlmTokenLimit, LlmTokenMetric};
pub use outside::{ClientCredentials, SendRequest, SetBackend, Wait};
pub use telemetry::{EmitMetric, Log, Pattern, Redact, Severity, Trace};

/// The operations of an API, and what is done with its requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// In the order of the configuration; of those that a request matches, the most exact holds.
    pub operations: Vec<Operation>,
    /// For a request that matches none of them.
    pub otherwise: ByProduct,
    /// What callers may have subscribed to.
    pub products: Vec<Product>,
    /// Whether such a request is refused.
    pub only_operations: bool,
    /// Most bytes of a body that a policy may look at.
    pub max_body: usize,
    /// Whether secrets may be sent without TLS.
    pub plain_secrets: bool,
}

/// What a third party offers to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Unique in its API.
    pub name: Arc<str>,
    /// Any, if absent.
    pub method: Option<Arc<str>>,
    /// Its path.
    pub path: PathTemplate,
    /// What is done with its requests, wider scopes included.
    pub policies: ByProduct,
    /// What is said of it, where its policies look at that.
    pub contract: Option<Arc<Contract>>,
}

/// A path with parameters: `/prices/{id}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathTemplate {
    /// Between its slashes.
    pub segments: Vec<Segment>,
    /// Whether anything may follow: `/prices/*`.
    pub open: bool,
}

/// A part of a path between slashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Itself.
    Literal(Arc<str>),
    /// Anything but nothing, between these texts.
    Parameter {
        /// Before it.
        before: Arc<str>,
        /// What it is called.
        name: Arc<str>,
        /// After it.
        after: Arc<str>,
    },
}

/// The four sections, wider scopes included, in the order in which they run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    /// Before the request leaves.
    pub inbound: Vec<Arc<Policy>>,
    /// How it is sent.
    pub backend: Vec<Arc<Policy>>,
    /// Before the answer goes to the caller.
    pub outbound: Vec<Arc<Policy>>,
    /// After anything has failed.
    pub on_error: Vec<Arc<Policy>>,
    /// Whether anything looks at the request after it was sent.
    pub looks_back: bool,
}

impl Policies {
    /// Whether there is nothing to do but to send the request.
    pub fn is_empty(&self) -> bool {
        let Self { inbound, backend, outbound, on_error, .. } = self;
        [inbound, outbound, on_error].iter().all(|section| section.is_empty())
            && backend.iter().all(|policy| policy.statement == Statement::ForwardRequest(Forward::default()))
    }
}

/// A section of policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Section {
    /// Before the request leaves.
    Inbound,
    /// How it is sent.
    Backend,
    /// Before the answer goes to the caller.
    Outbound,
    /// After anything has failed.
    OnError,
}

impl Section {
    /// The spelling in configuration, logs and the CLI.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Backend => "backend",
            Self::Outbound => "outbound",
            Self::OnError => "on-error",
        }
    }
}

/// Something to be done with a request or an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its owner's name for it.
    pub id: Option<Arc<str>>,
    /// Whose it is: `global`, `api partner`, `operation get-price`.
    pub scope: Arc<str>,
    /// What it would do is put on record, and not done.
    pub report: bool,
    /// What it does.
    pub statement: Statement,
    /// Whether its expressions look at the body of the request, and of the answer.
    pub reads_bodies: [bool; 2],
    /// Whether it takes the body of the request as it is.
    pub reads_request_bytes: bool,
}

impl Policy {
    /// Of these parts.
    pub fn new(id: Option<Arc<str>>, scope: Arc<str>, report: bool, statement: Statement) -> Self {
        let mut reads_bodies = [false; 2];
        // What is hashed is taken as it is.
        let mut reads_request_bytes =
            matches!(&statement, Statement::AuthenticationAwsSigv4(sign) if !sign.unsigned_payload);
        statement.each_expression(&mut |expression| {
            reads_bodies[0] |= expression.reads_request_body;
            reads_bodies[1] |= expression.reads_response_body;
            reads_request_bytes |= expression.reads_request_bytes;
        });
        reads_bodies[0] |= statement.copies_request();
        Self { id, scope, report, statement, reads_bodies, reads_request_bytes }
    }
}

/// What a policy does; one file of [`crate::policy`] each.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the policies'")]
pub enum Statement {
    AuthenticationApiKey(ApiKey),
    AuthenticationAwsSigv4(Box<AwsSigv4>),
    AuthenticationBasic(Basic),
    AuthenticationOauth2(ClientCredentials),
    AuthenticationHmac(Box<Hmac>),
    CacheLookup(CacheLookup),
    CacheLookupValue(CacheLookupValue),
    CacheRemoveValue(CacheRemoveValue),
    CacheStore(CacheStore),
    CacheStoreValue(CacheStoreValue),
    CheckHeader(CheckHeader),
    Choose(Vec<Branch>),
    EmitMetric(EmitMetric),
    FindAndReplace(FindAndReplace),
    ForwardRequest(Forward),
    IpFilter(IpFilter),
    JsonToXml(JsonToXml),
    LimitConcurrency(LimitConcurrency),
    LlmEmitTokenMetric(LlmTokenMetric),
    LlmTokenLimit(LlmTokenLimit),
    Log(Log),
    MockResponse(Reply),
    Quota(Quota),
    RateLimit(RateLimit),
    Retry(Retry),
    ReturnResponse(Reply),
    ReplacePlaceholder(ReplacePlaceholder),
    RewriteUri(RewriteUri),
    SendRequest(SendRequest),
    SetBackend(SetBackend),
    SetBody(Template),
    SetHeader(SetHeader),
    SetMethod(Template),
    SetQueryParameter(SetQueryParameter),
    SetStatus(SetStatus),
    SetVariable(SetVariable),
    Trace(Trace),
    Wait(Wait),
    ValidateContent(ValidateContent),
    ValidateHeaders(ValidateHeaders),
    ValidateParameters(ValidateParameters),
    ValidateStatusCode(ValidateStatusCode),
    ValidateJwt(Box<ValidateJwt>),
    WorkloadFilter(WorkloadFilter),
    XmlToJson(XmlToJson),
}

impl Statement {
    /// The spelling in configuration, logs and the CLI.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::AuthenticationApiKey(_) => "authentication-api-key",
            Self::AuthenticationAwsSigv4(_) => "authentication-aws-sigv4",
            Self::AuthenticationBasic(_) => "authentication-basic",
            Self::AuthenticationOauth2(_) => "authentication-oauth2",
            Self::AuthenticationHmac(_) => "authentication-hmac",
            Self::CacheLookup(_) => "cache-lookup",
            Self::CacheLookupValue(_) => "cache-lookup-value",
            Self::CacheRemoveValue(_) => "cache-remove-value",
            Self::CacheStore(_) => "cache-store",
            Self::CacheStoreValue(_) => "cache-store-value",
            Self::CheckHeader(_) => "check-header",
            Self::Choose(_) => "choose",
            Self::EmitMetric(_) => "emit-metric",
            Self::FindAndReplace(_) => "find-and-replace",
            Self::ForwardRequest(_) => "forward-request",
            Self::IpFilter(_) => "ip-filter",
            Self::JsonToXml(_) => "json-to-xml",
            Self::LimitConcurrency(_) => "limit-concurrency",
            Self::LlmEmitTokenMetric(_) => "llm-emit-token-metric",
            Self::LlmTokenLimit(_) => "llm-token-limit",
            Self::Log(_) => "log",
            Self::MockResponse(_) => "mock-response",
            Self::Quota(Quota { kind: RateKind::Workload, .. }) => "quota",
            Self::Quota(Quota { kind: RateKind::Key, .. }) => "quota-by-key",
            Self::RateLimit(limit) => limit.kind.label(),
            Self::Retry(_) => "retry",
            Self::ReturnResponse(_) => "return-response",
            Self::ReplacePlaceholder(_) => "replace-placeholder",
            Self::RewriteUri(_) => "rewrite-uri",
            Self::SendRequest(SendRequest { variable: None, .. }) => "send-one-way-request",
            Self::SendRequest(_) => "send-request",
            Self::SetBackend(_) => "set-backend",
            Self::SetBody(_) => "set-body",
            Self::SetHeader(_) => "set-header",
            Self::SetMethod(_) => "set-method",
            Self::SetQueryParameter(_) => "set-query-parameter",
            Self::SetStatus(_) => "set-status",
            Self::SetVariable(_) => "set-variable",
            Self::Wait(_) => "wait",
            Self::Trace(_) => "trace",
            Self::ValidateContent(_) => "validate-content",
            Self::ValidateHeaders(_) => "validate-headers",
            Self::ValidateParameters(_) => "validate-parameters",
            Self::ValidateStatusCode(_) => "validate-status-code",
            Self::ValidateJwt(_) => "validate-jwt",
            Self::WorkloadFilter(_) => "workload-filter",
            Self::XmlToJson(_) => "xml-to-json",
        }
    }
}

/// Whether one of these looks at the request, when it was sent.
pub fn looks_at_request(policies: &[Arc<Policy>]) -> bool {
    policies.iter().any(|policy| {
        let mut looks = match &policy.statement {
            Statement::CacheStore(_) | Statement::Log(_) | Statement::Retry(_) => true,
            Statement::Choose(branches) => branches.iter().any(|branch| looks_at_request(&branch.then)),
            Statement::ForwardRequest(forward) => forward.follow_redirects > 0,
            Statement::JsonToXml(JsonToXml { when, .. }) | Statement::XmlToJson(XmlToJson { when, .. }) => {
                when.consider_accept
            }
            statement => statement.copies_request(),
        };
        policy.statement.each_expression(&mut |expression| {
            looks |= expression.program.references().has_variable("request");
        });
        looks
    })
}

impl Statement {
    /// Shows its own expressions, not those of the policies in it.
    pub fn each_expression(&self, see: &mut dyn FnMut(&Expression)) {
        let mut templates = |templates: &[&Template]| {
            templates.iter().flat_map(|template| template.expressions()).for_each(&mut *see);
        };
        match self {
            Self::AuthenticationApiKey(key) => templates(&[&key.value]),
            Self::AuthenticationAwsSigv4(sign) => templates(&sign.templates()),
            Self::AuthenticationBasic(basic) => templates(&[&basic.username, &basic.password]),
            Self::AuthenticationOauth2(credentials) => credentials.each_expression(see),
            Self::AuthenticationHmac(sign) => templates(&sign.templates()),
            Self::CacheLookupValue(lookup) => std::iter::once(&lookup.key).chain(&lookup.default).for_each(see),
            Self::CacheRemoveValue(remove) => see(&remove.key),
            Self::CacheStoreValue(store) => [&store.key, &store.value].into_iter().for_each(see),
            Self::CheckHeader(check) => templates(&check.values.iter().collect::<Vec<_>>()),
            Self::Choose(branches) => branches.iter().filter_map(|branch| branch.when.as_ref()).for_each(see),
            Self::EmitMetric(emit) => {
                templates(&emit.dimensions.iter().map(|(_, value)| value).collect::<Vec<_>>());
                emit.value.iter().for_each(see);
            }
            Self::FindAndReplace(replace) => templates(&[&replace.from, &replace.to]),
            Self::LimitConcurrency(limit) => limit.key.iter().for_each(see),
            Self::LlmEmitTokenMetric(metric) => {
                metric.dimensions.iter().flat_map(|(_, value)| value.expressions()).for_each(see);
            }
            Self::LlmTokenLimit(limit) => limit.key.iter().for_each(see),
            Self::Log(log) => templates(&log.message.iter().collect::<Vec<_>>()),
            Self::MockResponse(reply) | Self::ReturnResponse(reply) => {
                templates(&[&reply.body]);
                reply.headers.iter().flat_map(|(_, value)| value.expressions()).for_each(see);
            }
            Self::Quota(quota) => quota.key.iter().chain(&quota.condition).for_each(see),
            Self::RateLimit(limit) => limit.key.iter().chain(&limit.condition).for_each(see),
            Self::Retry(retry) => retry.condition.iter().for_each(see),
            Self::ReplacePlaceholder(replace) => templates(&[&replace.value]),
            Self::RewriteUri(rewrite) => templates(&[&rewrite.template]),
            Self::SendRequest(request) => request.each_expression(see),
            Self::SetBody(template) | Self::SetMethod(template) => templates(&[template]),
            Self::SetHeader(set) => set.values.iter().flat_map(Template::expressions).for_each(see),
            Self::SetQueryParameter(set) => set.values.iter().flat_map(Template::expressions).for_each(see),
            Self::SetVariable(set) => see(&set.value),
            Self::Wait(wait) => wait.requests.iter().for_each(|request| request.each_expression(see)),
            Self::Trace(trace) => {
                templates(&[&trace.message]);
                trace.metadata.iter().flat_map(|(_, value)| value.expressions()).for_each(see);
            }
            Self::ValidateJwt(validate) => templates(&validate.templates()),
            Self::CacheLookup(_)
            | Self::CacheStore(_)
            | Self::ForwardRequest(_)
            | Self::SetBackend(_)
            | Self::IpFilter(_)
            | Self::JsonToXml(_)
            | Self::SetStatus(_)
            | Self::ValidateContent(_)
            | Self::ValidateHeaders(_)
            | Self::ValidateParameters(_)
            | Self::ValidateStatusCode(_)
            | Self::WorkloadFilter(_)
            | Self::XmlToJson(_) => {}
        }
    }
}

impl Statement {
    /// Whether the request's body is looked at, or goes somewhere else, too.
    fn copies_request(&self) -> bool {
        match self {
            Self::LlmTokenLimit(limit) => limit.estimate_prompt,
            Self::SendRequest(request) => request.copy,
            Self::Wait(wait) => wait.requests.iter().any(|request| request.copy),
            _ => false,
        }
    }

    /// The policies in it.
    pub fn inner(&self) -> Box<dyn Iterator<Item = &Arc<Policy>> + '_> {
        match self {
            Self::Choose(branches) => Box::new(branches.iter().flat_map(|branch| &branch.then)),
            Self::Retry(retry) => Box::new(retry.policies.iter()),
            _ => Box::new(std::iter::empty()),
        }
    }

    /// Whether it holds for it, or for a policy in it.
    pub fn any(&self, holds: &dyn Fn(&Self) -> bool) -> bool {
        holds(self) || self.inner().any(|policy| policy.statement.any(holds))
    }

    /// Shows where it, or a policy in it, may send requests to.
    pub fn each_endpoint<'a>(&'a self, see: &mut dyn FnMut(&'a Endpoint)) {
        match self {
            Self::AuthenticationOauth2(credentials) => see(&credentials.endpoint),
            Self::SendRequest(request) => see(&request.endpoint),
            Self::SetBackend(set) => set.service.members.iter().for_each(|member| see(&member.endpoint)),
            Self::ValidateJwt(validate) => validate.endpoints().for_each(see),
            Self::Wait(wait) => wait.requests.iter().for_each(|request| see(&request.endpoint)),
            _ => self.inner().for_each(|policy| policy.statement.each_endpoint(see)),
        }
    }
}

impl Rules {
    /// The lists of policies that its requests may come to.
    pub fn each(&self) -> impl Iterator<Item = &Policies> {
        std::iter::once(&self.otherwise)
            .chain(self.operations.iter().map(|operation| &operation.policies))
            .flat_map(ByProduct::each)
    }
}

impl Policies {
    /// All of the four sections.
    pub fn sections(&self) -> [&[Arc<Policy>]; 4] {
        [&self.inbound, &self.backend, &self.outbound, &self.on_error]
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            match segment {
                Segment::Literal(text) => write!(f, "/{text}")?,
                Segment::Parameter { before, name, after } => write!(f, "/{before}{{{name}}}{after}")?,
            }
        }
        f.write_str(if self.open { "/*" } else { "" })
    }
}

/// What happens where there is something of that name already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exists {
    /// It is added.
    Append,
    /// What is there is removed, and nothing comes in its place.
    Delete,
    /// It takes the place of what is there.
    #[default]
    Override,
    /// What is there stays.
    Skip,
}

/// Sets a field of the request's or the answer's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetHeader {
    /// Which.
    pub name: HeaderName,
    /// What happens where there is one.
    pub exists: Exists,
    /// Its values, each a field of its own.
    pub values: Vec<Template>,
    /// The same, where they are always the same.
    pub fixed: Option<Vec<HeaderValue>>,
}

/// Sets a parameter of the request's query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetQueryParameter {
    /// As in the query, decoded.
    pub name: Arc<str>,
    /// What happens where there is one.
    pub exists: Exists,
    /// Its values.
    pub values: Vec<Template>,
}

/// Puts a secret in the place of a text by which callers name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplacePlaceholder {
    /// What callers write.
    pub placeholder: Arc<str>,
    /// What the third party sees.
    pub value: Template,
}

/// Sets the path that the third party sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewriteUri {
    /// A path, with a query perhaps.
    pub template: Template,
    /// Whether the query that came goes along.
    pub copy_query: bool,
}

/// Sets the answer's status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetStatus {
    /// 200 to 599.
    pub code: u16,
}

/// Keeps something for later policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetVariable {
    /// Expressions say `variables.NAME`.
    pub name: Arc<str>,
    /// What it is.
    pub value: Expression,
}

/// Replaces a text in the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindAndReplace {
    /// What is looked for.
    pub from: Template,
    /// What comes in its place.
    pub to: Template,
}

/// Policies under a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// Absent: otherwise.
    pub when: Option<Expression>,
    /// What is done then.
    pub then: Vec<Arc<Policy>>,
}

/// An answer of the owner's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// 200 to 599.
    pub status: u16,
    /// Fields of its head.
    pub headers: Vec<(Arc<str>, Template)>,
    /// What it says.
    pub body: Template,
}

/// Refuses requests without a field of one of these values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckHeader {
    /// In lower case.
    pub name: Arc<str>,
    /// Any, if there are none.
    pub values: Vec<Template>,
    /// Whether `A` is `a`.
    pub ignore_case: bool,
    /// What is answered: the status, 400 to 599, and why.
    pub failed: Refusal,
}

/// Answers from what is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheLookup {
    /// Headers of the request by which answers differ, beside those that the third party names; in lower case.
    pub vary_by_header: Vec<Arc<str>>,
    /// The parameters of the query by which answers differ; all, if absent.
    pub vary_by_query_parameter: Option<Vec<Arc<str>>>,
    /// Whether workloads do not share answers.
    pub vary_by_workload: bool,
    /// Whether requests with `Authorization` are looked up, too.
    pub share_authorized: bool,
}

/// Keeps the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheStore {
    /// How long it is fresh; as the third party says, if absent.
    pub duration: Option<Duration>,
    /// How long after that it is better than no answer, or one of 500 and more.
    pub stale_if_error: Option<Duration>,
}

/// Reads a value that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheLookupValue {
    /// By which it was kept.
    pub key: Expression,
    /// Where it goes.
    pub variable: Arc<str>,
    /// What it is if there is none.
    pub default: Option<Expression>,
}

/// Keeps a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheStoreValue {
    /// By which it is found.
    pub key: Expression,
    /// What it is.
    pub value: Expression,
    /// How long.
    pub duration: Duration,
}

/// Forgets a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheRemoveValue {
    /// By which it was kept.
    pub key: Expression,
}

/// What a caller is told whose request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// 400 to 599.
    pub status: u16,
    /// In the answer's `message`.
    pub message: Option<Arc<str>>,
}

/// Lets some workloads through, or all but some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadFilter {
    /// Whether those that match are let through; else they are refused.
    pub allow: bool,
    /// Any of these.
    pub matches: Vec<WorkloadMatch>,
}

/// What a workload may be known by; all that is said must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkloadMatch {
    /// Its name; `*` stands for anything.
    pub name: Option<Arc<str>>,
    /// The path of its cgroup; `*` stands for anything.
    pub cgroup: Option<Arc<str>>,
    /// Its systemd unit; `*` stands for anything, but not for none, here and below.
    pub unit: Option<Arc<str>>,
    /// Its container.
    pub container: Option<Arc<str>>,
    /// Its pod.
    pub pod: Option<Arc<str>>,
    /// What it runs.
    pub executable: Option<Arc<str>>,
    /// Its user.
    pub uid: Option<u32>,
    /// Its user's name.
    pub user: Option<Arc<str>>,
}

/// At most so many calls in any period of this length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Which of the two policies it is.
    pub kind: RateKind,
    /// What its counts are kept under, over reloads.
    pub identity: Arc<str>,
    /// How many.
    pub calls: u32,
    /// How long.
    pub period: Duration,
    /// What is counted on its own; each workload, if absent.
    pub key: Option<Expression>,
    /// What counts, if not everything.
    pub condition: Option<Expression>,
    /// Fields of the answer that tell how many are left, and when there will be more.
    pub remaining_header: Option<Arc<str>>,
    /// Beside `Retry-After`.
    pub total_header: Option<Arc<str>>,
}

/// At most so many calls in a period that was agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Which of the two policies it is.
    pub kind: RateKind,
    /// What its counts are kept under, over reloads and restarts.
    pub identity: Arc<str>,
    /// How many calls.
    pub calls: Option<u64>,
    /// How many bytes, of the bodies of requests and answers.
    pub bytes: Option<u64>,
    /// How long; for ever, if absent.
    pub period: Option<Duration>,
    /// What is counted on its own; each workload, if absent.
    pub key: Option<Expression>,
    /// What counts, if not everything.
    pub condition: Option<Expression>,
    /// Field of the answer that tells how many are left.
    pub remaining_header: Option<Arc<str>>,
}

/// Which policy a rate limit, or a quota, is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateKind {
    /// Of each workload.
    Workload,
    /// Of each value of an expression.
    Key,
}

impl RateKind {
    const fn label(self) -> &'static str {
        match self {
            Self::Workload => "rate-limit",
            Self::Key => "rate-limit-by-key",
        }
    }
}

/// At most so many requests at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitConcurrency {
    /// What its counts are kept under, over reloads.
    pub identity: Arc<str>,
    /// How many.
    pub max: u32,
    /// What is counted on its own; everything together, if absent.
    pub key: Option<Expression>,
}

/// `Authorization: Basic`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basic {
    /// Who.
    pub username: Template,
    /// Proof.
    pub password: Template,
}

/// Sends the request to the third party.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forward {
    /// Longest wait for the head of the answer.
    pub timeout: Option<Duration>,
    /// Whether an answer of 400 or more is an error.
    pub fail_on_error_status: bool,
    /// How many redirects to the third party itself are followed.
    pub follow_redirects: u32,
}

/// Does it again while a condition holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Whether once more; looked at after each time. Absent: no answer, or 502, 503 or 504.
    pub condition: Option<Expression>,
    /// How many times more.
    pub count: u32,
    /// The first pause.
    pub interval: Duration,
    /// The longest.
    pub max_interval: Duration,
    /// Whether requests are sent again that are not safe to be sent twice (RFC 9110 §9.2.2).
    pub any_method: bool,
    /// What its budget is kept under, over reloads.
    pub identity: Arc<str>,
    /// So many of a hundred requests may be sent once more; any, if absent.
    pub budget: Option<u32>,
    /// What is done.
    pub policies: Vec<Arc<Policy>>,
}
