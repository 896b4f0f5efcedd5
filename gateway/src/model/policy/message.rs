use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use crate::model::Template;

/// What happens where there is something of that name already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exists {
    /// It is added.
    Append,
    /// What is there is removed, and nothing comes in its place.
    Delete,
    /// It takes the place of what is there.
    #[default]
    Override,
    /// What is there stays.
    Skip,
}

/// Sets a field of the request's or the answer's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetHeader {
    /// Which.
    pub name: HeaderName,
    /// What happens where there is one.
    pub exists: Exists,
    /// Its values, each a field of its own.
    pub values: Vec<Template>,
    /// The same, where they are always the same.
    pub fixed: Option<Vec<HeaderValue>>,
}

/// Sets a parameter of the request's query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetQueryParameter {
    /// As in the query, decoded.
    pub name: Arc<str>,
    /// What happens where there is one.
    pub exists: Exists,
    /// Its values.
    pub values: Vec<Template>,
}

/// Sets the path that the third party sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewriteUri {
    /// A path, with a query perhaps.
    pub template: Template,
    /// Whether the query that came goes along.
    pub copy_query: bool,
}

/// Sets the answer's status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetStatus {
    /// 200 to 599.
    pub code: u16,
}

/// Replaces a text in the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindAndReplace {
    /// What is looked for.
    pub from: Template,
    /// What comes in its place.
    pub to: Template,
}
