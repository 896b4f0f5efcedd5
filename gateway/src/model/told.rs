//! Events that policies emit for logs, metrics and traces; secrets are masked.

use std::sync::Arc;

use super::{Section, Severity};

/// An event that a policy emits.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// An entry of the policy `log`.
    Log(Box<Logged>),
    /// An increment of the policy `emit-metric`.
    Metric(Counted),
    /// A message of the policy `trace`.
    Trace(Box<Traced>),
}

/// An increment of a counter.
#[derive(Clone, Debug, PartialEq)]
pub struct Counted {
    /// The name of the counter.
    pub name: Arc<str>,
    /// The increment; zero or more, finite.
    pub value: f64,
    /// The names and values of the labels.
    pub dimensions: Vec<(Arc<str>, String)>,
}

/// A request or response as it was when the policy ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// The section in which the policy stands.
    pub section: Section,
    /// The `id` of the policy, if it has one.
    pub id: Option<Arc<str>>,
    /// The message of the policy, if it has one.
    pub message: Option<String>,
    /// The request's method.
    pub method: String,
    /// The host and path, without the query, which may contain private data.
    pub target: String,
    /// The status of the response, where the event is about a response.
    pub status: Option<u16>,
    /// The header fields of the message.
    pub headers: Vec<(String, String)>,
    /// The body, where the policy logs it, or why it is missing.
    pub body: Option<Result<LoggedBody, String>>,
}

/// The part of a body that is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedBody {
    /// The text; bytes that are not UTF-8 are replaced.
    pub text: String,
    /// Whether the body was longer.
    pub cut: bool,
}

/// A message of the policy `trace`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traced {
    /// The section in which the policy stands.
    pub section: Section,
    /// The `id` of the policy, if it has one.
    pub id: Option<Arc<str>>,
    /// The severity of the message.
    pub severity: Severity,
    /// The source that the policy names.
    pub source: Option<Arc<str>>,
    /// The text of the message.
    pub message: String,
    /// The names and values of the metadata.
    pub metadata: Vec<(Arc<str>, String)>,
}
