//! What policies see and change of an exchange. Report mode clones it before a policy runs, and puts the clone back.

use std::sync::Arc;

use bytes::Bytes;
use cel::Value;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, request, response};

use super::query::parameters;
use super::secrecy::{MASK, Secrecy};
use super::slots::Slots;
use crate::model::Service;

/// A request, the response to it, and what policies know of both.
#[derive(Clone, Debug)]
pub struct Message {
    /// The head of the request, as it will be sent.
    pub request: request::Parts,
    /// The body of the request, where it is not the one that still comes from the caller.
    pub request_body: Option<Bytes>,
    /// The head of the response, as the caller will receive it.
    pub response: Option<response::Parts>,
    /// The body of the response, where it is not the one that still comes from the third party.
    pub response_body: Option<Bytes>,
    /// The variables that policies have set; the last one of a name counts.
    pub variables: Vec<(Arc<str>, Value)>,
    /// What of the request is secret.
    pub secrecy: Secrecy,
    /// The backend that the request goes to, where it is not the third party's own servers.
    pub(in crate::policy) backend: Option<Arc<Service>>,
    /// The servers of the backend that have failed for this request.
    pub(in crate::policy) tried: Vec<usize>,
    /// The fields of the response that policies have set or removed.
    pub(in crate::policy) decided: Vec<HeaderName>,
    /// The fields that are added to the response after all policies, whatever the response is.
    pub(in crate::policy) response_fields: Vec<(HeaderName, HeaderValue)>,
    /// The beginning of the response's body, where the policy that runs looks at it.
    pub(in crate::policy) peeked: Option<Peeked>,
    /// What a policy stores for itself and for later policies of its family.
    pub(in crate::policy) slots: Slots,
}

/// The beginning of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peeked {
    /// The first bytes of the body.
    pub bytes: Bytes,
    /// Whether these bytes are the whole body.
    pub whole: bool,
}

impl Message {
    pub(in crate::policy) fn new(request: request::Parts) -> Self {
        Self {
            request,
            request_body: None,
            response: None,
            response_body: None,
            variables: Vec::new(),
            secrecy: Secrecy::default(),
            backend: None,
            tried: Vec::new(),
            decided: Vec::new(),
            response_fields: Vec::new(),
            peeked: None,
            slots: Slots::default(),
        }
    }

    /// Takes the head of the request, of which only the method and the content type stay.
    pub(in crate::policy) fn take_request(&mut self) -> request::Parts {
        let (mut empty, ()) = http::Request::new(()).into_parts();
        empty.method = self.request.method.clone();
        if let Some(kind) = self.request.headers.get(CONTENT_TYPE) {
            empty.headers.insert(CONTENT_TYPE, kind.clone());
        }
        std::mem::replace(&mut self.request, empty)
    }

    /// Returns whether a secret is in the request.
    pub(in crate::policy) fn has_secret(&self) -> bool {
        let in_head = self.request.headers.values().any(HeaderValue::is_sensitive);
        in_head || self.secrecy.body || self.secrecy.target || !self.secrecy.parameters.is_empty()
    }

    /// Returns the path of the request, with secrets masked.
    pub(in crate::policy) fn shown_path(&self) -> &str {
        if self.secrecy.target { MASK } else { self.request.uri.path() }
    }

    /// Returns the path and the query of the request, with secrets masked.
    pub(in crate::policy) fn shown_target(&self) -> String {
        self.shown(self.request.uri.path(), self.request.uri.query().unwrap_or_default())
    }

    /// Returns a path and a query that the request had, with secrets masked.
    pub(in crate::policy) fn shown(&self, path: &str, query: &str) -> String {
        if self.secrecy.target {
            return MASK.to_owned();
        }
        let pairs = parameters(query).map(|(name, value)| {
            let secret = self.secrecy.is_secret_parameter(&name);
            format!("{name}={}", if secret { MASK } else { &value })
        });
        match pairs.collect::<Vec<_>>().join("&") {
            query if query.is_empty() => path.to_owned(),
            query => format!("{path}?{query}"),
        }
    }
}
