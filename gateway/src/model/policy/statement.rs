use std::sync::Arc;

use super::{
    ApiKey, AwsSigv4, Basic, Branch, CacheLookup, CacheLookupValue, CacheRemoveValue, CacheStore, CacheStoreValue,
    CheckHeader, EmitMetric, FindAndReplace, Forward, Hmac, IpFilter, JsonToXml, LimitConcurrency, LlmTokenLimit,
    LlmTokenMetric, Log, Oauth2, PlaceholderPlace, Policy, Quota, RateKind, RateLimit, ReplacePlaceholder, Reply,
    Retry, RewriteUri, SendRequest, SetBackend, SetHeader, SetQueryParameter, SetStatus, SetVariable, Trace,
    ValidateContent, ValidateHeaders, ValidateJwt, ValidateParameters, ValidateStatusCode, Wait, WorkloadFilter,
    XmlToJson,
};
use crate::model::{Endpoint, Expression, Template};

/// What a policy does; one file of [`crate::policy`] each.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the policies'")]
pub enum Statement {
    AuthenticationApiKey(ApiKey),
    AuthenticationAwsSigv4(Box<AwsSigv4>),
    AuthenticationBasic(Basic),
    AuthenticationOauth2(Oauth2),
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
            Self::Quota(quota) => quota.key.iter().chain(&quota.condition).chain(&quota.count).for_each(see),
            Self::RateLimit(limit) => limit.key.iter().chain(&limit.condition).chain(&limit.count).for_each(see),
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

    /// Whether the request's body is looked at, or goes somewhere else, too.
    pub(super) fn copies_request(&self) -> bool {
        match self {
            Self::LlmTokenLimit(limit) => limit.estimate_prompt,
            Self::ReplacePlaceholder(replace) => replace.places.contains(&PlaceholderPlace::Body),
            Self::SendRequest(request) => request.copy,
            Self::Wait(wait) => wait.requests.iter().any(|request| request.copy),
            _ => false,
        }
    }

    /// Whether it is in vain where a connection becomes a tunnel after one request: it counts requests, or looks at what they say.
    pub fn needs_every_request(&self) -> bool {
        matches!(
            self,
            Self::FindAndReplace(_)
                | Self::JsonToXml(_)
                | Self::LimitConcurrency(_)
                | Self::LlmEmitTokenMetric(_)
                | Self::LlmTokenLimit(_)
                | Self::Quota(_)
                | Self::RateLimit(_)
                | Self::SetBody(_)
                | Self::ValidateContent(_)
                | Self::ValidateHeaders(_)
                | Self::ValidateParameters(_)
                | Self::ValidateStatusCode(_)
                | Self::XmlToJson(_)
        )
    }

    /// Whether it, or a policy in it, is about the answer, too, although it stands before it.
    pub fn waits_for_answer(&self) -> bool {
        self.any(&|statement| match statement {
            Self::Quota(quota) => quota.by_answer,
            Self::RateLimit(limit) => limit.by_answer,
            _ => false,
        })
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

    /// Returns whether it puts a secret into the request.
    pub fn sends_secret(&self) -> bool {
        match self {
            Self::AuthenticationApiKey(key) => key.value.is_secret(),
            Self::AuthenticationBasic(basic) => basic.username.is_secret() || basic.password.is_secret(),
            Self::AuthenticationOauth2(_) => true,
            Self::ReplacePlaceholder(replace) => replace.value.is_secret(),
            Self::RewriteUri(rewrite) => rewrite.template.is_secret(),
            Self::SetBody(template) | Self::SetMethod(template) => template.is_secret(),
            Self::SetHeader(set) => set.values.iter().any(Template::is_secret),
            Self::SetQueryParameter(set) => set.values.iter().any(Template::is_secret),
            _ => false,
        }
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
