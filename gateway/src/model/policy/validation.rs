use std::sync::Arc;

use super::contract::Schema;

/// What is done where something is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnInvalid {
    /// It goes on record, and on its way.
    Detect,
    /// Nothing.
    Ignore,
    /// It is refused.
    Prevent,
}

/// Looks at bodies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidateContent {
    /// Most bytes; those that a policy may look at, if absent.
    pub max_size: Option<usize>,
    /// What is done with more.
    pub size_exceeded: OnInvalid,
    /// What is done with a body of a type that is none of these, or that the operation does not name.
    pub unspecified_content_type: OnInvalid,
    /// What bodies are to be, by their type; the first that fits holds.
    pub content: Vec<ContentRule>,
    /// Where what was found goes.
    pub errors_variable: Option<Arc<str>>,
}

/// What bodies of a type are to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentRule {
    /// The media type, in lower case; `*` stands for anything.
    pub kind: Arc<str>,
    /// What it is to be; what the operation's [`Contract`](super::Contract) says, if absent.
    pub schema: Option<Schema>,
    /// What is done where it is not.
    pub action: OnInvalid,
}

/// Looks at the parameters of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidateParameters {
    /// Those in the head.
    pub headers: Described,
    /// Those in the query.
    pub query: Described,
    /// Those in the path.
    pub path: Described,
    /// Where what was found goes.
    pub errors_variable: Option<Arc<str>>,
}

/// What is done with values that the operation's [`Contract`](super::Contract) describes, and with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// With one that is not as described, or is missing.
    pub specified: OnInvalid,
    /// With one that is not described.
    pub unspecified: OnInvalid,
    /// Names that may be there undescribed; of headers in lower case.
    pub except: Vec<Arc<str>>,
}

/// Looks at the heads of answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidateHeaders {
    /// What is done with its fields.
    pub headers: Described,
    /// Where what was found goes.
    pub errors_variable: Option<Arc<str>>,
}

/// Looks at the statuses of answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidateStatusCode {
    /// What is done with one that the operation's [`Contract`](super::Contract) does not name.
    pub unspecified: OnInvalid,
    /// Those that are let through nonetheless.
    pub except: Vec<u16>,
    /// Where what was found goes.
    pub errors_variable: Option<Arc<str>>,
}
