use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use super::{Condition, Escaping, Secret};

/// A CEL expression, compiled and checked.
#[derive(Clone)]
pub struct Expression {
    /// The expression as written.
    pub source: Arc<str>,
    /// The compiled program for the interpreter.
    pub program: Arc<cel::Program>,
    /// The same as a native condition, where that is possible.
    pub condition: Option<Condition>,
    /// Whether the expression reads the request body.
    pub reads_request_body: bool,
    /// Whether the expression reads the request body as raw bytes, compressed or not.
    pub reads_request_bytes: bool,
    /// Whether the expression reads the response body.
    pub reads_response_body: bool,
    /// The fields that the expression reads.
    pub reads: Arc<[FieldRead]>,
    /// Whether the result may contain a secret, because the expression reads a secret variable.
    pub is_secret: bool,
}

/// A field that an expression reads, like `request.path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRead {
    /// The value that has the field, like `request`.
    pub root: Arc<str>,
    /// The name of the field, like `path`.
    pub field: Arc<str>,
    /// The entry of the field that it reads, where the field is a map and the key is fixed: in small letters for header fields.
    pub entry: Option<Arc<str>>,
}

impl Expression {
    /// Most levels of operations in one another.
    pub const DEEPEST: usize = 100;

    /// Returns whether the expression reads a field.
    pub fn reads_field(&self, root: &str, field: &str) -> bool {
        self.reads.iter().any(|read| *read.root == *root && *read.field == *field)
    }
}

/// Runs what reads or evaluates an expression, on a stack that has room for it: the interpreter calls itself for each level. Without
/// optimisation a level takes up to 100 KiB.
pub fn with_stack<T>(run: impl FnOnce() -> T) -> T {
    const NEEDED: usize = if cfg!(debug_assertions) { 16 << 20 } else { 1 << 20 };
    stacker::maybe_grow(NEEDED, 64 << 20, run)
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
    /// A literal text.
    Text(Arc<str>),
    /// The value of an expression when the template is evaluated, encoded for where it stands.
    Expression(Expression, Escaping),
    /// The named value when the template is evaluated.
    Named(Arc<NamedValue>),
}

impl Template {
    /// Returns the text, where the template has no holes.
    pub fn literal(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Returns the expressions of the template.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.0.iter().filter_map(|part| match part {
            Part::Expression(expression, _) => Some(expression),
            Part::Text(_) | Part::Named(_) => None,
        })
    }

    /// Returns the current value, where the template has no expressions.
    pub fn constant(&self) -> Option<Vec<u8>> {
        let part = |part: &Part| match part {
            Part::Text(text) => Some(text.as_bytes().to_vec()),
            Part::Named(value) => Some(value.current().expose().to_vec()),
            Part::Expression(..) => None,
        };
        self.0.iter().map(part).collect::<Option<Vec<_>>>().map(|parts| parts.concat())
    }

    /// Returns whether the template contains a secret.
    pub fn is_secret(&self) -> bool {
        self.0.iter().any(|part| match part {
            Part::Text(_) => false,
            Part::Expression(expression, _) => expression.is_secret,
            Part::Named(value) => value.is_secret(),
        })
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_string().fmt(f)
    }
}

/// Shows the template as written.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |part: &Part| match part {
            Part::Text(text) => text.replace("${", "$${"),
            Part::Expression(expression, _) => format!("${{{}}}", expression.source),
            Part::Named(value) => format!("{value:?}"),
        };
        self.0.iter().map(part).try_for_each(|part| f.write_str(&part))
    }
}

/// A value that the configuration names and that is stored outside of it.
pub struct NamedValue {
    /// The name that templates use.
    pub name: Arc<str>,
    /// The place where the value is stored.
    pub source: ValueSource,
    /// When it expires, as far as the configuration says so.
    pub expires: Option<SystemTime>,
    /// The current value: a file may change at any time.
    current: RwLock<Arc<Secret>>,
}

/// The place where a named value is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueSource {
    /// The configuration itself; the value is not a secret.
    Text(Arc<str>),
    /// A file, without the newline at its end; Egret reads it again when it changes.
    File(std::path::PathBuf),
    /// A variable of the process's environment.
    Environment(Arc<str>),
}

impl NamedValue {
    /// Creates a named value with its current content.
    pub fn new(name: Arc<str>, source: ValueSource, expires: Option<SystemTime>, current: Secret) -> Self {
        Self { name, source, expires, current: RwLock::new(Arc::new(current)) }
    }

    /// Returns whether the value is a secret.
    pub fn is_secret(&self) -> bool {
        !matches!(self.source, ValueSource::Text(_))
    }

    /// Returns the current value.
    pub fn current(&self) -> Arc<Secret> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the value. Returns whether it changed.
    pub fn replace(&self, new: Secret) -> bool {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let changed = **current != new;
        if changed {
            *current = Arc::new(new);
        }
        changed
    }
}

/// Compares the place, not the content: the content changes without the configuration.
impl PartialEq for NamedValue {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.source, self.expires) == (&other.name, &other.source, other.expires)
    }
}

impl Eq for NamedValue {}

impl fmt::Debug for NamedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{{{}}}}}", self.name)
    }
}
