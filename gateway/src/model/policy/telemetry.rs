//! Policies that tell: they change neither request nor answer.

use std::sync::Arc;

use http::HeaderName;

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
