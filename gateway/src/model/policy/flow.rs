use std::sync::Arc;
use std::time::Duration;

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
