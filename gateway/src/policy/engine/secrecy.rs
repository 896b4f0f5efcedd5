//! Which parts of a request are secret, and what masks them.

use std::sync::Arc;

/// The text that stands for a secret where people read.
pub const MASK: &str = "***";

/// Which parts of a request are secret. Secret header fields are marked in the request itself.
#[derive(Clone, Debug)]
pub struct Secrecy {
    /// Whether secrets may be in the request: it is sent over TLS, or its owner allows them without TLS.
    pub allowed: bool,
    /// The parameters of the query whose values are secret.
    pub(in crate::policy) parameters: Vec<Arc<str>>,
    /// Whether a secret is in the body of the request.
    pub(in crate::policy) body: bool,
    /// Whether a secret is in the path of the request, or anywhere in what `rewrite-uri` made of its target.
    pub(in crate::policy) target: bool,
    /// The secrets in the target.
    pub(in crate::policy) target_values: Vec<String>,
    /// The secrets of requests that were sent. They are masked where the third party repeats them.
    pub(in crate::policy) sent: Vec<String>,
    /// Whether expressions see secrets, as they do for what is signed: only a signature comes of them.
    pub(in crate::policy) unmasked: bool,
}

impl Default for Secrecy {
    fn default() -> Self {
        Self {
            allowed: true,
            parameters: Vec::new(),
            body: false,
            target: false,
            target_values: Vec::new(),
            sent: Vec::new(),
            unmasked: false,
        }
    }
}

impl Secrecy {
    /// Returns whether the value of a parameter of the query is secret.
    pub(in crate::policy) fn is_secret_parameter(&self, name: &str) -> bool {
        self.parameters.iter().any(|known| **known == *name)
    }
}
