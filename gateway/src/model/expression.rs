use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use super::{Condition, Secret};

/// A CEL expression, compiled and checked.
#[derive(Clone)]
pub struct Expression {
    /// As written.
    pub source: Arc<str>,
    /// For the interpreter.
    pub program: Arc<cel::Program>,
    /// The same without an interpreter, if it is as most conditions are.
    pub condition: Option<Condition>,
    /// Whether it looks at the body of the request.
    pub reads_request_body: bool,
    /// Whether it takes the body of the request as it is, compressed or not.
    pub reads_request_bytes: bool,
    /// Whether it looks at the body of the answer.
    pub reads_response_body: bool,
    /// Whether a secret may come of it: it looks at a variable that is one.
    pub is_secret: bool,
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Expression {}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

/// A text with holes: `${expression}` and `{{named value}}`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Template(pub Vec<Part>);

/// A part of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// As it is.
    Text(Arc<str>),
    /// What the expression says at the time.
    Expression(Expression),
    /// What the named value is at the time.
    Named(Arc<NamedValue>),
}

impl Template {
    /// The text, where there is no hole.
    pub fn literal(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Its expressions.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.0.iter().filter_map(|part| match part {
            Part::Expression(expression) => Some(expression),
            Part::Text(_) | Part::Named(_) => None,
        })
    }

    /// What it is now, where there are no expressions in it.
    pub fn constant(&self) -> Option<Vec<u8>> {
        let part = |part: &Part| match part {
            Part::Text(text) => Some(text.as_bytes().to_vec()),
            Part::Named(value) => Some(value.current().expose().to_vec()),
            Part::Expression(_) => None,
        };
        self.0.iter().map(part).collect::<Option<Vec<_>>>().map(|parts| parts.concat())
    }

    /// Whether a secret is in it.
    pub fn is_secret(&self) -> bool {
        self.0.iter().any(|part| match part {
            Part::Text(_) => false,
            Part::Expression(expression) => expression.is_secret,
            Part::Named(value) => value.is_secret(),
        })
    }
}

/// As written.
impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |part: &Part| match part {
            Part::Text(text) => text.replace("${", "$${"),
            Part::Expression(expression) => format!("${{{}}}", expression.source),
            Part::Named(value) => format!("{value:?}"),
        };
        self.0.iter().map(part).collect::<String>().fmt(f)
    }
}

/// A value that the configuration names, and that is kept elsewhere.
pub struct NamedValue {
    /// What templates call it.
    pub name: Arc<str>,
    /// Where it is.
    pub source: ValueSource,
    /// What it is now: a file may change at any time.
    current: RwLock<Arc<Secret>>,
}

/// Where a named value is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueSource {
    /// In the configuration, for all to see.
    Text(Arc<str>),
    /// In a file, without the newline at its end; read again when it changes.
    File(std::path::PathBuf),
    /// In a variable of the process's environment.
    Environment(Arc<str>),
}

impl NamedValue {
    /// With what it is now.
    pub fn new(name: Arc<str>, source: ValueSource, current: Secret) -> Self {
        Self { name, source, current: RwLock::new(Arc::new(current)) }
    }

    /// Whether nobody is to see it.
    pub fn is_secret(&self) -> bool {
        !matches!(self.source, ValueSource::Text(_))
    }

    /// What it is now.
    pub fn current(&self) -> Arc<Secret> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another one in its place; whether it is another one.
    pub fn replace(&self, new: Secret) -> bool {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let changed = **current != new;
        if changed {
            *current = Arc::new(new);
        }
        changed
    }
}

/// Where it is decides: what it is changes without the configuration.
impl PartialEq for NamedValue {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.source) == (&other.name, &other.source)
    }
}

impl Eq for NamedValue {}

impl fmt::Debug for NamedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{{{}}}}}", self.name)
    }
}
