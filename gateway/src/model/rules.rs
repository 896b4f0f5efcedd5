//! The operations of an API, and how a request is matched to one of them.

use std::fmt;
use std::sync::Arc;

use super::{ByProduct, CarriedPolicies, Contract, Product};

/// The operations of an API, and the policies for its requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// The operations in the order of the configuration; of those that a request matches, the most exact applies.
    pub operations: Vec<Operation>,
    /// The policies for a request that matches none of them.
    pub otherwise: ByProduct,
    /// The products to which callers may subscribe.
    pub products: Vec<Product>,
    /// Whether a request that matches no operation is refused.
    pub only_operations: bool,
    /// Whether a request is refused whose path servers read in different ways.
    pub strict_paths: bool,
    /// Whether policies need to see every request, so that no connection may become a tunnel unless its owner says so.
    pub every_request: bool,
    /// The largest body that a policy may read, in bytes.
    pub max_body: usize,
    /// Whether secrets may be sent without TLS.
    pub plain_secrets: bool,
}

/// An operation of a third party's API: a method and a path template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The name, unique in its API.
    pub name: Arc<str>,
    /// The method; any method, where this is absent.
    pub method: Option<Arc<str>>,
    /// The template of the path.
    pub path: PathTemplate,
    /// The policies for its requests, including those of wider scopes.
    pub policies: ByProduct,
    /// The description by an OpenAPI document, where its policies need it.
    pub contract: Option<Arc<Contract>>,
}

/// A path with parameters: `/prices/{id}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathTemplate {
    /// The parts between the slashes.
    pub segments: Vec<Segment>,
    /// Whether any further segments may follow: `/prices/*`.
    pub open: bool,
}

/// A part of a path between slashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Exactly this text.
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
    /// Returns the lists of policies that may apply to its requests.
    pub fn each(&self) -> impl Iterator<Item = &CarriedPolicies> {
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
