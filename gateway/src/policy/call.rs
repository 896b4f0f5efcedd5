use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use cel::Value;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, request, response};

use super::authentication_oauth2::Slot;
use super::cache::{Leading, Stale, Under};
use super::counting::Undecided;
use super::expression;
use super::limit_concurrency::Held;
use super::meter::Meters;
use super::set_query_parameter::parameters;
use super::template::MASK;
use super::world::{Peeked, Side, Unanswerable};
use crate::model::{
    Api, Endpoint, Host, Operation, OriginalDst, Policy, Reason, Section, Service, Told, Workload, spelled,
};

/// A request on its way, with all that policies may know of it.
#[derive(Debug)]
pub struct Call<'a> {
    /// As it will be sent.
    pub request: request::Parts,
    /// Its body, where it is not what comes from the caller.
    pub request_body: Option<Bytes>,
    /// As it will be given to the caller.
    pub response: Option<response::Parts>,
    /// Its body, where it is not what comes from the third party.
    pub response_body: Option<Bytes>,
    /// Who calls.
    pub workload: &'a Workload,
    /// Whom.
    pub api: &'a Api,
    /// By which name.
    pub host: &'a Host,
    /// The address that the caller connected to; only where nothing is sent it may be unknown.
    pub original_dst: Option<OriginalDst>,
    /// What the caller speaks: `http` or `https`.
    pub scheme: &'static str,
    /// Whether secrets may be in the request: TLS with the third party, or its owner's word.
    pub may_be_secret: bool,
    /// The product that its caller has subscribed to, and the subscription; empty, if none.
    pub product: &'a str,
    /// See there.
    pub subscription: &'a str,
    /// Whether secrets may be in requests that go without TLS.
    pub(super) plain_secrets: bool,
    /// Whose servers the request goes to, if not to the third party's own.
    pub(super) service: Option<Arc<Service>>,
    /// Those of them that have failed it.
    pub(super) tried: Vec<usize>,
    /// The token that it is sent with, and where it is kept.
    pub(super) token: Option<(Arc<Slot>, HeaderValue)>,
    /// What of the API.
    pub operation: Option<&'a Operation>,
    /// The parameters in its path.
    pub parameters: Vec<(Arc<str>, String)>,
    /// What policies have kept.
    pub variables: Vec<(Arc<str>, Value)>,
    /// What has failed.
    pub error: Option<Box<Fault>>,
    /// The numbers of its flow, and of it among the flow's requests.
    pub id: (u64, u64),
    /// When it came: by the clock.
    pub now: SystemTime,
    /// When it came: since some time before, for counting.
    pub at: Duration,
    /// What it holds until its answer has ended.
    pub held: Vec<Held>,
    /// What was done, where somebody wants to know.
    pub steps: Option<Vec<Step>>,
    /// Parameters of the query that are secrets.
    pub(super) secret_parameters: Vec<Arc<str>>,
    /// Whether a secret is in the request's body.
    pub(super) secret_body: bool,
    /// Whether one is in its path, or anywhere in what `rewrite-uri` made of it.
    pub(super) secret_target: bool,
    /// Those secrets.
    pub(super) secrets_of_target: Vec<String>,
    /// The secrets of requests that were sent: they are masked where the third party repeats them.
    pub(super) injected: Vec<String>,
    /// Fields of the response that policies have set or removed.
    pub(super) decided: Vec<HeaderName>,
    /// Whether expressions see secrets, as they do for what is signed: nothing but a signature comes of it.
    pub(super) unmasked: bool,
    /// Under what the answer is kept, if it was looked up.
    pub(super) cached_under: Option<Under>,
    /// The headers of an answer that may be kept, as they came.
    pub(super) came: Option<Box<HeaderMap>>,
    /// Others wait for its answer.
    pub(super) leading: Option<Leading>,
    /// An answer that is kept, and that may not be given as it is.
    pub(super) stale: Option<Stale>,
    /// Whether the third party says of that one that it is still so.
    pub(super) still_so: bool,
    /// What policies would have refused that only report: their names, and why.
    pub reports: Vec<(&'static str, Reason, String)>,
    /// What is to be done when the answer has ended.
    pub meters: Meters,
    /// What the policy that runs has told, for the records.
    pub(super) told: Vec<Told>,
    /// What was seen of the answer's body, for the policy that runs.
    pub(super) peeked: Option<Peeked>,
    /// Most bytes of a body that policies may look at.
    pub(super) max_body: usize,
    /// Whether anything looks at the request after it was sent.
    pub(super) looks_back: bool,
    /// What counts only if the answer says so.
    pub(super) undecided: Vec<Undecided>,
    /// Which section runs.
    pub(super) section: Section,
    /// Fields that the answer will have, whatever it is.
    pub(super) later: Vec<(HeaderName, HeaderValue)>,
}

/// What a policy did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Where it stands.
    pub section: Section,
    /// Whose it is.
    pub scope: Arc<str>,
    /// Its name.
    pub policy: &'static str,
    /// Its owner's name for it.
    pub id: Option<Arc<str>>,
    /// Whether it was only looked at.
    pub report: bool,
    /// What it did; secrets are masked.
    pub did: String,
}

/// What has failed, and what the caller is told.
#[derive(Debug)]
pub struct Fault {
    /// Why.
    pub reason: Reason,
    /// 400 to 599.
    pub status: u16,
    /// For people.
    pub message: String,
    /// When there is sense in another try.
    pub retry_after: Option<Duration>,
    /// The policy that failed.
    pub source: Option<Source>,
    /// Where the third party gave no answer: what breaks the caller's connection.
    pub unanswered: Option<Unanswerable>,
}

/// A policy that has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name.
    pub policy: &'static str,
    /// Its owner's name for it.
    pub id: Option<Arc<str>>,
    /// Whose it is.
    pub scope: Arc<str>,
    /// Where it stands.
    pub section: Section,
}

impl Fault {
    /// Of this reason.
    pub fn new(reason: Reason, status: u16, message: impl Into<String>) -> Box<Self> {
        let message = message.into();
        Box::new(Self { reason, status, message, retry_after: None, source: None, unanswered: None })
    }

    /// A secret would leave Egret in the clear.
    pub(super) fn secret_in_clear() -> Box<Self> {
        let message = "a secret would be sent without TLS: backend: {scheme: https}, or plain_secrets: true";
        Self::new(Reason::SecretInClear, 500, message)
    }

    /// Where there is no sense in another try before.
    pub(super) fn after(mut self: Box<Self>, wait: Duration) -> Box<Self> {
        self.retry_after = Some(wait);
        self
    }

    /// Of this policy, if not of one in it.
    pub(super) fn of(mut self: Box<Self>, policy: &Policy, section: Section) -> Box<Self> {
        self.source.get_or_insert_with(|| Source {
            policy: policy.statement.label(),
            id: policy.id.clone(),
            scope: Arc::clone(&policy.scope),
            section,
        });
        self
    }
}

impl<'a> Call<'a> {
    /// Returns the secrets that policies put into the request, for masking what comes back.
    pub fn injected(&self) -> &[String] {
        &self.injected
    }

    /// Returns the fields of the response that policies have set or removed: no trailer stands for one of them.
    pub fn decided(&self) -> &[HeaderName] {
        &self.decided
    }

    /// That nothing was done with yet.
    pub fn new(
        request: request::Parts,
        workload: &'a Workload,
        api: &'a Api,
        host: &'a Host,
        now: SystemTime,
        at: Duration,
    ) -> Self {
        Self {
            request,
            request_body: None,
            response: None,
            response_body: None,
            workload,
            api,
            host,
            original_dst: None,
            scheme: "https",
            may_be_secret: true,
            product: "",
            subscription: "",
            plain_secrets: false,
            service: None,
            tried: Vec::new(),
            token: None,
            operation: None,
            parameters: Vec::new(),
            variables: Vec::new(),
            error: None,
            id: (0, 0),
            now,
            at,
            held: Vec::new(),
            steps: None,
            reports: Vec::new(),
            meters: Meters::default(),
            told: Vec::new(),
            peeked: None,
            cached_under: None,
            came: None,
            leading: None,
            stale: None,
            still_so: false,
            secret_parameters: Vec::new(),
            secret_body: false,
            secret_target: false,
            secrets_of_target: Vec::new(),
            injected: Vec::new(),
            decided: Vec::new(),
            unmasked: false,
            max_body: 0,
            looks_back: true,
            undecided: Vec::new(),
            section: Section::Inbound,
            later: Vec::new(),
        }
    }

    /// The request's head, which nothing looks at any more but for what it speaks.
    pub(super) fn take_request(&mut self) -> request::Parts {
        let (mut empty, ()) = http::Request::new(()).into_parts();
        empty.method = self.request.method.clone();
        if let Some(kind) = self.request.headers.get(CONTENT_TYPE) {
            empty.headers.insert(CONTENT_TYPE, kind.clone());
        }
        std::mem::replace(&mut self.request, empty)
    }

    /// For the caller and the log.
    pub(super) fn request_id(&self) -> String {
        format!("{}-{}", self.id.0, self.id.1)
    }

    /// Lets what is filled now be for this server; gives what was said of the third party.
    pub(super) fn secrets_for(&mut self, endpoint: &Endpoint) -> bool {
        std::mem::replace(&mut self.may_be_secret, endpoint.tls.is_some() || self.plain_secrets)
    }

    /// Keeps a value for later policies.
    pub(super) fn set_variable(&mut self, name: &Arc<str>, value: Value, secret: bool) {
        self.note(|| format!("{name} = {}", expression::shown(&value, secret)));
        self.variables.push((Arc::clone(name), value));
    }

    /// Whether a secret is in the request.
    pub(super) fn has_secret(&self) -> bool {
        let in_head = self.request.headers.values().any(HeaderValue::is_sensitive);
        in_head || self.secret_body || self.secret_target || !self.secret_parameters.is_empty()
    }

    /// Whether a secret is in the request's body.
    pub(super) fn has_secret_body(&self) -> bool {
        self.secret_body
    }

    /// The request's path, with secrets masked.
    pub(super) fn shown_path(&self) -> &str {
        if self.secret_target { MASK } else { self.request.uri.path() }
    }

    /// Returns the request's path as expressions see it: in the one spelling of all that mean the same, so that no spelling gets past
    /// a condition. What is signed sees it as it is sent.
    pub(super) fn path(&self) -> Cow<'_, str> {
        let path = self.request.uri.path();
        match (self.unmasked, self.secret_target) {
            (false, true) => Cow::Borrowed(MASK),
            (false, false) if path.contains('%') => spelled(path),
            _ => Cow::Borrowed(path),
        }
    }

    /// The request's path and query, with secrets masked.
    pub(super) fn shown_target(&self) -> String {
        self.shown(self.request.uri.path(), self.request.uri.query().unwrap_or_default())
    }

    /// A path and a query that it had, with secrets masked.
    pub(super) fn shown(&self, path: &str, query: &str) -> String {
        if self.secret_target {
            return MASK.to_owned();
        }
        let pairs = parameters(query).map(|(name, value)| {
            let secret = self.secret_parameters.iter().any(|known| **known == *name);
            format!("{name}={}", if secret { MASK } else { &value })
        });
        match pairs.collect::<Vec<_>>().join("&") {
            query if query.is_empty() => path.to_owned(),
            query => format!("{path}?{query}"),
        }
    }

    /// The head that a section is about.
    pub(super) fn headers(&mut self) -> Option<&mut HeaderMap> {
        match self.side() {
            Side::Request => Some(&mut self.request.headers),
            Side::Response => self.response.as_mut().map(|response| &mut response.headers),
        }
    }

    /// Notes that a policy sets or removes this field of the head that the section is about.
    pub(super) fn decides(&mut self, name: &HeaderName) {
        if self.side() == Side::Response && !self.decided.contains(name) {
            self.decided.push(name.clone());
        }
    }

    /// What a section is about.
    pub(super) fn side(&self) -> Side {
        match self.section {
            Section::Inbound | Section::Backend => Side::Request,
            Section::Outbound | Section::OnError => Side::Response,
        }
    }

    /// Says what is done, if somebody wants to know.
    pub(super) fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(step) = self.steps.as_mut().and_then(|steps| steps.last_mut()) {
            if !step.did.is_empty() {
                step.did.push_str("; ");
            }
            step.did.push_str(&what());
        }
    }

    pub(super) fn begins(&mut self, policy: &Policy) {
        let section = self.section;
        if let Some(steps) = &mut self.steps {
            steps.push(Step {
                section,
                scope: Arc::clone(&policy.scope),
                policy: policy.statement.label(),
                id: policy.id.clone(),
                report: policy.report,
                did: String::new(),
            });
        }
    }
}
