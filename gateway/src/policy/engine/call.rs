//! A request of an API with policies: what policies see and change of it, who sends it to whom, and what they do beside that.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cel::Value;
use http::{HeaderMap, HeaderName, request};

use super::effects::Effects;
use super::fault::Fault;
use super::message::Message;
use super::secrecy::MASK;
use super::side::Side;
use crate::model::{Api, Endpoint, Host, Operation, OriginalDst, Section, Workload, spelled};

/// A request from its arrival until its policies have run.
#[derive(Debug)]
pub struct Call<'a> {
    /// The request, the response, and what policies know of them. Report mode restores it as a whole.
    pub message: Message,
    /// Who calls whom, when, and under which rules. Policies read it and never change it.
    pub context: Context<'a>,
    /// What policies do beside changing the message.
    pub effects: Effects,
}

/// Who calls whom, when, and under which rules.
#[derive(Debug)]
pub struct Context<'a> {
    /// The workload that sends the request.
    pub workload: &'a Workload,
    /// The API that the request is for.
    pub api: &'a Api,
    /// The name of the third party that the caller used.
    pub host: &'a Host,
    /// The address that the caller connected to. It may be unknown only where nothing is sent.
    pub original_dst: Option<OriginalDst>,
    /// The protocol that the caller speaks: `http` or `https`.
    pub scheme: &'static str,
    /// The number of the flow, and the number of the request in the flow.
    pub id: (u64, u64),
    /// When the request arrived, by the clock.
    pub time: SystemTime,
    /// When the request arrived, on the monotonic clock of [`super::World::at`].
    pub at: Duration,
    /// The operation of the API that the request matches.
    pub operation: Option<&'a Operation>,
    /// The parameters in the path of the request, as the operation names them.
    pub parameters: Vec<(Arc<str>, String)>,
    /// The product to which the caller has subscribed; empty without one.
    pub product: &'a str,
    /// The caller's subscription; empty without one.
    pub subscription: &'a str,
    /// The failure that the on-error section is about.
    pub error: Option<Box<Fault>>,
    /// The section that runs.
    pub(in crate::policy) section: Section,
    /// The largest body that policies may read, in bytes.
    pub(in crate::policy) max_body: usize,
    /// Whether the owner of the API allows secrets in requests without TLS.
    pub(in crate::policy) plain_secrets: bool,
    /// Whether a policy reads the request after it was sent.
    pub(in crate::policy) is_read_after_sending: bool,
}

impl<'a> Call<'a> {
    /// Returns a call whose policies have not run yet.
    pub fn new(
        request: request::Parts,
        workload: &'a Workload,
        api: &'a Api,
        host: &'a Host,
        time: SystemTime,
        at: Duration,
    ) -> Self {
        let context = Context {
            workload,
            api,
            host,
            original_dst: None,
            scheme: "https",
            id: (0, 0),
            time,
            at,
            operation: None,
            parameters: Vec::new(),
            product: "",
            subscription: "",
            error: None,
            section: Section::Inbound,
            max_body: 0,
            plain_secrets: false,
            is_read_after_sending: true,
        };
        Self { message: Message::new(request), context, effects: Effects::default() }
    }

    /// Returns the secrets that policies put into requests that were sent, for masking what comes back.
    pub fn sent_secrets(&self) -> &[String] {
        &self.message.secrecy.sent
    }

    /// Returns the fields of the response that policies have set or removed: no trailer stands for one of them.
    pub fn decided(&self) -> &[HeaderName] {
        &self.message.decided
    }

    /// Returns the id of the request, for the caller and the log.
    pub(in crate::policy) fn request_id(&self) -> String {
        format!("{}-{}", self.context.id.0, self.context.id.1)
    }

    /// Allows secrets in templates as a request to this server does. Returns what was allowed before.
    pub(in crate::policy) fn secrets_for(&mut self, endpoint: &Endpoint) -> bool {
        let allowed = endpoint.tls.is_some() || self.context.plain_secrets;
        std::mem::replace(&mut self.message.secrecy.allowed, allowed)
    }

    /// Sets a variable for later policies.
    pub(in crate::policy) fn set_variable(&mut self, name: &Arc<str>, value: Value) {
        self.message.variables.push((Arc::clone(name), value));
    }

    /// Returns the request's path as expressions see it: in the one spelling of all that mean the same, so that no spelling gets past
    /// a condition. What is signed sees it as it is sent.
    pub(in crate::policy) fn path(&self) -> Cow<'_, str> {
        let path = self.message.request.uri.path();
        let secrecy = &self.message.secrecy;
        match (secrecy.unmasked, secrecy.target) {
            (false, true) => Cow::Borrowed(MASK),
            (false, false) if path.contains('%') => spelled(path),
            _ => Cow::Borrowed(path),
        }
    }

    /// Returns the header fields of the message that the section is about.
    pub(in crate::policy) fn headers(&mut self) -> Option<&mut HeaderMap> {
        match self.side() {
            Side::Request => Some(&mut self.message.request.headers),
            Side::Response => self.message.response.as_mut().map(|response| &mut response.headers),
        }
    }

    /// Records that a policy sets or removes this field of the message that the section is about.
    pub(in crate::policy) fn decides(&mut self, name: &HeaderName) {
        if self.side() == Side::Response && !self.message.decided.contains(name) {
            self.message.decided.push(name.clone());
        }
    }

    /// Returns the message that the section is about.
    pub(in crate::policy) fn side(&self) -> Side {
        match self.context.section {
            Section::Inbound | Section::Backend => Side::Request,
            Section::Outbound | Section::OnError => Side::Response,
        }
    }

    /// Adds to the account of the policy that runs, where somebody wants one.
    pub(in crate::policy) fn note(&mut self, what: impl FnOnce() -> String) {
        self.effects.note(what);
    }
}
