//! The operations of an API, and how a request is told to be one of them.

use std::fmt;
use std::sync::Arc;

use super::{ByProduct, Contract, Policies, Product};

/// The operations of an API, and what is done with its requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// In the order of the configuration; of those that a request matches, the most exact holds.
    pub operations: Vec<Operation>,
    /// For a request that matches none of them.
    pub otherwise: ByProduct,
    /// What callers may have subscribed to.
    pub products: Vec<Product>,
    /// Whether such a request is refused.
    pub only_operations: bool,
    /// Most bytes of a body that a policy may look at.
    pub max_body: usize,
    /// Whether secrets may be sent without TLS.
    pub plain_secrets: bool,
}

/// What a third party offers to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Unique in its API.
    pub name: Arc<str>,
    /// Any, if absent.
    pub method: Option<Arc<str>>,
    /// Its path.
    pub path: PathTemplate,
    /// What is done with its requests, wider scopes included.
    pub policies: ByProduct,
    /// What is said of it, where its policies look at that.
    pub contract: Option<Arc<Contract>>,
}

/// A path with parameters: `/prices/{id}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathTemplate {
    /// Between its slashes.
    pub segments: Vec<Segment>,
    /// Whether anything may follow: `/prices/*`.
    pub open: bool,
}

/// A part of a path between slashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Itself.
    Literal(Arc<str>),
    /// Parameters, each at least one character, between texts: `{base}...{head}`.
    Template {
        /// The text before the first parameter.
        before: Arc<str>,
        /// The name of each parameter, and the text after it.
        parameters: Vec<(Arc<str>, Arc<str>)>,
    },
}

impl Rules {
    /// The lists of policies that its requests may come to.
    pub fn each(&self) -> impl Iterator<Item = &Policies> {
        std::iter::once(&self.otherwise)
            .chain(self.operations.iter().map(|operation| &operation.policies))
            .flat_map(ByProduct::each)
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            match segment {
                Segment::Literal(text) => write!(f, "/{text}")?,
                Segment::Template { before, parameters } => {
                    write!(f, "/{before}")?;
                    parameters.iter().try_for_each(|(name, after)| write!(f, "{{{name}}}{after}"))?;
                }
            }
        }
        f.write_str(if self.open { "/*" } else { "" })
    }
}
