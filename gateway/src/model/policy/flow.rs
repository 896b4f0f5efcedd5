use std::sync::Arc;
use std::time::Duration;

use super::Policy;
use crate::model::{Expression, Template};

/// Keeps something for later policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetVariable {
    /// Expressions say `variables.NAME`.
    pub name: Arc<str>,
    /// Whether what it holds is a secret.
    pub secret: bool,
    /// What it is.
    pub value: Expression,
}

/// Policies under a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// Absent: otherwise.
    pub when: Option<Expression>,
    /// What is done then.
    pub then: Vec<Arc<Policy>>,
}

/// An answer of the owner's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// 200 to 599.
    pub status: u16,
    /// Fields of its head.
    pub headers: Vec<(Arc<str>, Template)>,
    /// What it says.
    pub body: Template,
}

/// Sends the request to the third party.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forward {
    /// Longest wait for the head of the answer.
    pub timeout: Option<Duration>,
    /// Whether an answer of 400 or more is an error.
    pub fail_on_error_status: bool,
    /// How many redirects to the third party itself are followed.
    pub follow_redirects: u32,
    /// Whether the request is there as a whole before it is sent.
    pub buffer_request: bool,
    /// Whether the answer is there as a whole before anything is done with it, if it is not too long for that.
    pub buffer_response: bool,
}

/// Does it again while a condition holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Whether once more; looked at after each time. Absent: no answer, or 502, 503 or 504.
    pub condition: Option<Expression>,
    /// How many times more.
    pub count: u32,
    /// The first pause.
    pub interval: Duration,
    /// The longest.
    pub max_interval: Duration,
    /// Whether requests are sent again that are not safe to be sent twice (RFC 9110 §9.2.2).
    pub any_method: bool,
    /// What its budget is kept under, over reloads.
    pub identity: Arc<str>,
    /// So many of a hundred requests may be sent once more; any, if absent.
    pub budget: Option<u32>,
    /// What is done.
    pub policies: Vec<Arc<Policy>>,
}
