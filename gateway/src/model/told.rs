//! What policies tell, on its way to the records; secrets are masked.

use std::sync::Arc;

use super::{Section, Severity};

/// Something that a policy tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// `log`.
    Log(Box<Logged>),
    /// `emit-metric`.
    Metric(Counted),
    /// `trace`.
    Trace(Box<Traced>),
}

/// More of a counter.
#[derive(Clone, Debug, PartialEq)]
pub struct Counted {
    /// The counter.
    pub name: Arc<str>,
    /// How much; zero or more, finite.
    pub value: f64,
    /// The labels, and their values.
    pub dimensions: Vec<(Arc<str>, String)>,
}

/// A request, or an answer, at the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Where the policy stands.
    pub section: Section,
    /// Its owner's name for it.
    pub id: Option<Arc<str>>,
    /// What is said beside.
    pub message: Option<String>,
    /// The request's method.
    pub method: String,
    /// Its host and path; the query may hold what is nobody's business.
    pub target: String,
    /// The answer's status, if it is about the answer.
    pub status: Option<u16>,
    /// The fields of its head.
    pub headers: Vec<(String, String)>,
    /// Its body, where that is wanted, or why it is not there.
    pub body: Option<Result<LoggedBody, String>>,
}

/// What is on record of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedBody {
    /// What is not UTF-8 is replaced.
    pub text: String,
    /// Whether there was more of it.
    pub cut: bool,
}

/// What somebody said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traced {
    /// Where the policy stands.
    pub section: Section,
    /// Its owner's name for it.
    pub id: Option<Arc<str>>,
    /// How bad it is.
    pub severity: Severity,
    /// Who.
    pub source: Option<Arc<str>>,
    /// What.
    pub message: String,
    /// Names and values.
    pub metadata: Vec<(Arc<str>, String)>,
}
