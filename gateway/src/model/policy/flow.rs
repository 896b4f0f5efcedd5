use std::sync::Arc;

use crate::model::Template;

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
