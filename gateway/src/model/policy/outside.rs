//! What is asked of others than the third party.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::Algorithm;

use http::Method;

use crate::model::{Endpoint, Service, Template};

/// Sends a request of its own, and keeps the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendRequest {
    /// To whom.
    pub endpoint: Arc<Endpoint>,
    /// Path and query.
    pub target: Template,
    /// `GET`, if not said.
    pub method: Method,
    /// Fields of its head.
    pub headers: Vec<(Arc<str>, Template)>,
    /// What it says.
    pub body: Template,
    /// Whether it begins as a copy of the caller's request: method, head and body.
    pub copy: bool,
    /// Longest wait for the whole answer.
    pub timeout: Duration,
    /// Where the answer goes: `status`, `headers` and `body`. Absent: nobody waits for it.
    pub variable: Option<Arc<str>>,
    /// Whether there is nothing wrong in having no answer: the variable is null then.
    pub ignore_error: bool,
}

/// Sends several requests at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Whether one answer is enough; the others are given up.
    pub any: bool,
    /// What is sent.
    pub requests: Vec<SendRequest>,
}

/// Sends the request to another server than the one that it was for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetBackend {
    /// To one of these.
    pub service: Arc<Service>,
}

/// `Authorization: Bearer`, with a token that is fetched for the gateway itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oauth2 {
    /// Who gives tokens.
    pub endpoint: Arc<Endpoint>,
    /// Path and query of its token endpoint.
    pub target: Template,
    /// Who.
    pub client_id: Template,
    /// Proof.
    pub proof: Proof,
    /// By what right.
    pub grant: Grant,
    /// What for.
    pub scope: Option<Template>,
    /// For whom: a parameter that many servers want beside the standard's.
    pub audience: Option<Template>,
    /// Whether client and secret are in the body (RFC 6749 §2.3.1), not in `Authorization: Basic`.
    pub in_body: bool,
    /// Longest wait for a token.
    pub timeout: Duration,
}

/// How a client shows who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Not at all.
    None,
    /// With a secret that both know.
    Secret(Template),
    /// With a statement that is signed (RFC 7523 §2.2); the key is never sent.
    Key(AssertionKey),
}

/// What statements are signed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssertionKey {
    /// The private key, in PEM.
    pub pem: Template,
    /// By which the server knows the public one.
    pub id: Option<Template>,
    /// How.
    pub algorithm: Algorithm,
}

/// By what right there is a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// The client's own (RFC 6749 §4.4).
    ClientCredentials,
    /// A user's, who has once consented (RFC 6749 §6).
    RefreshToken(Template),
    /// The signed statement itself (RFC 7523 §2.1): of this subject, or of the client.
    JwtBearer(Option<Template>),
}

impl SendRequest {
    /// Returns the templates of the request.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        self.headers.iter().map(|(_, value)| value).chain([&self.target, &self.body])
    }
}

impl Oauth2 {
    /// Returns the templates of the request for a token.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        let proof = match &self.proof {
            Proof::None => [None, None],
            Proof::Secret(secret) => [Some(secret), None],
            Proof::Key(key) => [Some(&key.pem), key.id.as_ref()],
        };
        let grant = match &self.grant {
            Grant::ClientCredentials => None,
            Grant::RefreshToken(token) => Some(token),
            Grant::JwtBearer(subject) => subject.as_ref(),
        };
        let optional = self.scope.iter().chain(&self.audience).chain(proof.into_iter().flatten()).chain(grant);
        [&self.target, &self.client_id].into_iter().chain(optional)
    }
}
