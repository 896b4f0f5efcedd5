use std::sync::Arc;

use http::HeaderName;

/// A condition as most are: comparisons of texts, which need no interpreter. It says what the expression says that it was made
/// of, always, and cannot fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Each holds.
    All(Vec<Self>),
    /// One holds.
    Any(Vec<Self>),
    /// It does not hold.
    Not(Box<Self>),
    /// A part of a call is like a text.
    Text(Field, Like, Arc<str>),
    /// The answer's status is so.
    Status(Order, i64),
    /// The request, or the answer, has this field.
    Has(HeadersOf, HeaderName),
}

/// A part of a call that is a text.
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
    WorkloadName,
    WorkloadNamespace,
    WorkloadOwner,
    WorkloadPodName,
    WorkloadServiceAccount,
    WorkloadUnit,
}

/// Whose headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadersOf {
    /// The request's.
    Request,
    /// The answer's.
    Response,
}

/// How a text is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Like {
    /// `==`
    Is,
    /// `startsWith`
    Begins,
    /// `endsWith`
    Ends,
    /// `contains`
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
