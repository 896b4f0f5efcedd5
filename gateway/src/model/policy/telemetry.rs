//! Policies that tell: they change neither request nor answer.

use std::sync::Arc;

use http::HeaderName;

use crate::model::{Expression, Template};

/// Adds to a counter of the owner's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmitMetric {
    /// As metrics are named (Prometheus), without `egret_custom_` before it and `_total` after it.
    pub name: Arc<str>,
    /// How much, zero or more; 1, if absent.
    pub value: Option<Expression>,
    /// By what it is counted on its own: the names of labels, and their values.
    pub dimensions: Vec<(Arc<str>, Template)>,
}

/// Puts the request, or the answer, on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// What is said beside it.
    pub message: Option<Template>,
    /// Whether its body is on record, too.
    pub body: bool,
    /// Bytes of the body that are.
    pub max_bytes: usize,
    /// What is masked, beside what always is.
    pub redact: Redact,
}

/// What is masked before people read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redact {
    /// Fields of the head.
    pub headers: Vec<HeaderName>,
    /// Places in a body that is JSON (RFC 6901), decoded; `*` stands for each part of a place.
    pub json: Vec<Vec<Arc<str>>>,
    /// Whatever matches, in the path, in fields of the head and in the body.
    pub text: Vec<Pattern>,
}

impl Redact {
    /// Whether something in a body may be masked.
    pub fn looks_at_bodies(&self) -> bool {
        !self.json.is_empty() || !self.text.is_empty()
    }
}

/// A regular expression.
#[derive(Clone, Debug)]
pub struct Pattern(pub regex::Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

/// Says something, for the records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// How bad it is.
    pub severity: Severity,
    /// Who says it.
    pub source: Option<Arc<str>>,
    /// What.
    pub message: Template,
    /// Names and values.
    pub metadata: Vec<(Arc<str>, Template)>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Severity {
    /// For who searches.
    Debug,
    /// For who wants to know.
    #[default]
    Info,
    /// For who should have a look.
    Warning,
    /// For who must do something.
    Error,
}

impl Severity {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Debug, Self::Info, Self::Warning, Self::Error];

    /// The spelling in configuration, logs and the CLI.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}
