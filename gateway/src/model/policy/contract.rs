use std::fmt;
use std::sync::Arc;

/// What an OpenAPI document says of an operation, as far as its policies look at it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contract {
    /// Of its requests; cookies are none of them.
    pub parameters: Vec<Parameter>,
    /// Headers and parameters of the query that say who calls (`securitySchemes`): they are described, and not looked into.
    pub credentials: Vec<(Place, Arc<str>)>,
    /// The bodies of its requests; none, if absent.
    pub body: Option<Content>,
    /// Its answers.
    pub answers: Vec<Answer>,
}

/// What a body may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Whether there must be one.
    pub required: bool,
    /// By media type, in lower case; `text/*` stands for all of its kind. What has no schema is anything.
    pub kinds: Vec<(Arc<str>, Option<Schema>)>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// For which.
    pub statuses: Statuses,
    /// Its body; none, if it has no kinds.
    pub content: Content,
    /// Fields of its head.
    pub headers: Vec<Parameter>,
}

/// Statuses as OpenAPI names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statuses {
    /// This one.
    One(u16),
    /// `4XX`: those that begin with this digit and have no name of their own.
    Class(u16),
    /// `default`: those without a name.
    Others,
}

/// Where a parameter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a field of the head.
    Header,
    /// In the path, between slashes.
    Path,
    /// In the query.
    Query,
}

impl Place {
    /// The spelling in messages.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Path => "path parameter",
            Self::Query => "query parameter",
        }
    }
}

/// A value in the head of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Where.
    pub place: Place,
    /// What it is called; of a header in lower case.
    pub name: Arc<str>,
    /// Whether it must be there.
    pub required: bool,
    /// How its value is written.
    pub style: Style,
    /// What it may be; anything, if absent.
    pub schema: Option<Schema>,
}

/// How a value is written as texts (OpenAPI 3.1 §4.8.12.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Style {
    /// A text that is JSON.
    Json,
    /// One text.
    Plain,
    /// A list: each item a parameter of its own.
    Repeated,
    /// A list in one text, its items between these: `a,b`.
    Separated(char),
    /// Names and values in one text: `a=1,b=2`.
    Assigned,
    /// Names and values in one text, one after the other: `a,1,b,2`.
    Alternating,
    /// Each property a parameter of its own, of its name: these.
    Properties(Vec<Arc<str>>),
    /// Each property a parameter of its own: `name[property]`.
    Deep,
}

/// A JSON Schema, compiled and checked.
#[derive(Clone)]
pub struct Schema {
    /// As text: two of the same are the same.
    pub source: Arc<str>,
    /// Says whether a value is so, in time that grows with its length, and what is wrong with it.
    pub validator: Arc<jsonschema::Validator>,
    /// What that may cost.
    pub telling: Telling,
}

/// What it costs to say what is wrong with a value, beyond that something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    /// The schema refers to itself: the time may double with each level of the value.
    Recursive,
    /// It has alternatives: with each, all that is wrong is gathered.
    Alternatives,
    /// The first thing that is wrong is found at once.
    Simple,
}

impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Schema {}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl Contract {
    /// What it says of answers of this status, most exactly.
    pub fn answer(&self, status: u16) -> Option<&Answer> {
        let named = |statuses| self.answers.iter().find(|answer| answer.statuses == statuses);
        named(Statuses::One(status))
            .or_else(|| named(Statuses::Class(status / 100)))
            .or_else(|| named(Statuses::Others))
    }
}
