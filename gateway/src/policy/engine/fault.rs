//! Failures of requests.

use std::sync::Arc;
use std::time::Duration;

use super::world::Unanswerable;
use crate::model::{Reason, Section};

/// Why a request failed, and what the caller is told.
#[derive(Debug)]
pub struct Fault {
    /// The reason, for records and expressions.
    pub reason: Reason,
    /// The status of the response, from 400 to 599.
    pub status: u16,
    /// The message for people.
    pub message: String,
    /// The time after which another request may succeed.
    pub retry_after: Option<Duration>,
    /// The policy that failed.
    pub source: Option<Source>,
    /// What ends the caller's connection, where the third party gave no response.
    pub unanswered: Option<Unanswerable>,
}

/// A policy that has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The name of the policy, as in the configuration.
    pub policy: &'static str,
    /// The `id` of the policy.
    pub id: Option<Arc<str>>,
    /// The scope in which the policy is written.
    pub scope: Arc<str>,
    /// The section in which the policy ran.
    pub section: Section,
}

impl Fault {
    /// Returns a failure with this status and message.
    pub fn new(reason: Reason, status: u16, message: impl Into<String>) -> Box<Self> {
        let message = message.into();
        Box::new(Self { reason, status, message, retry_after: None, source: None, unanswered: None })
    }

    /// Returns the failure of a request that would carry a secret without TLS.
    pub(in crate::policy) fn secret_in_clear() -> Box<Self> {
        let message = "a secret would be sent without TLS: backend: {scheme: https}, or plain_secrets: true";
        Self::new(Reason::SecretInClear, 500, message)
    }

    /// Adds the time after which another request may succeed.
    pub(in crate::policy) fn after(mut self: Box<Self>, wait: Duration) -> Box<Self> {
        self.retry_after = Some(wait);
        self
    }

    /// Adds the policy that failed, unless a policy within it is known already.
    pub(super) fn of(mut self: Box<Self>, source: impl FnOnce() -> Source) -> Box<Self> {
        self.source.get_or_insert_with(source);
        self
    }
}
