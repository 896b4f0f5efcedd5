use std::sync::Arc;

use http::HeaderName;

use super::Fact;

/// A native condition: comparisons of texts and numbers that need no interpreter. It always has the same result as the expression
/// that it was compiled from, and it fails only where a fact about the workload is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// All of these conditions hold.
    All(Vec<Self>),
    /// At least one of these conditions holds.
    Any(Vec<Self>),
    /// This condition does not hold.
    Not(Box<Self>),
    /// A field of the call compares to a text like this.
    Text(Field, Like, Arc<str>),
    /// The response's status compares to a number like this.
    Status(Order, i64),
    /// The request or response has this header field.
    Has(HeadersOf, HeaderName),
}

/// A field of a call that is a text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of expressions")]
pub enum Field {
    ApiName,
    Header(HeadersOf, HeaderName),
    Host,
    Method,
    OperationName,
    Path,
    ProductName,
    Scheme,
    SubscriptionName,
    Workload(Fact),
}

/// The message whose header fields are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadersOf {
    /// The header fields of the request.
    Request,
    /// The header fields of the response.
    Response,
}

/// How a text is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Like {
    /// The texts are equal (`==`).
    Is,
    /// The field starts with the text (`startsWith`).
    Begins,
    /// The field ends with the text (`endsWith`).
    Ends,
    /// The field contains the text (`contains`).
    Contains,
}

/// How numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "as they say")]
pub enum Order {
    Equal,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}
