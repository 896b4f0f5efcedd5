//! The compiled policy.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use jsonwebtoken::Algorithm;

use crate::model::{Endpoint, KeySet, KeySource, Refusal, SecretKey, Template};

/// Allows requests with a valid token (RFC 7519).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidateJwt {
    /// Where the token is.
    pub token: TokenPlace,
    /// The keys that may have signed it.
    pub keys: Vec<TokenKeys>,
    /// Whether a token without `exp` is refused.
    pub require_expiration: bool,
    /// How much clocks may differ.
    pub clock_skew: Duration,
    /// The issuers that are allowed; any, if there are none.
    pub issuers: Vec<Template>,
    /// The audiences that are allowed; any, if there are none.
    pub audiences: Vec<Template>,
    /// The claims that a token must have.
    pub claims: Vec<RequiredClaim>,
    /// The variable that receives the claims.
    pub output: Option<Arc<str>>,
    /// What the caller receives if the token is not valid.
    pub failed: Refusal,
}

impl ValidateJwt {
    /// Returns the servers that have keys.
    pub(in crate::policy) fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        let sources = self.keys.iter().filter_map(|keys| match keys {
            TokenKeys::Public(set) => Some(&set.source),
            TokenKeys::Shared { .. } => None,
        });
        sources.flat_map(|source| match source {
            KeySource::Remote { endpoint, discovery, .. } => {
                let keys_at = discovery.as_ref().map(|discovery| &*discovery.keys_at);
                [Some(&**endpoint), keys_at].into_iter().flatten()
            }
            KeySource::Jwks(_) | KeySource::Pem { .. } => [None, None].into_iter().flatten(),
        })
    }

    /// Returns the templates of the policy.
    pub(in crate::policy) fn templates(&self) -> Vec<&Template> {
        let text = match &self.token {
            TokenPlace::Text(text) => Some(text),
            TokenPlace::Header { .. } | TokenPlace::QueryParameter(_) => None,
        };
        let keys = self.keys.iter().filter_map(|keys| match keys {
            TokenKeys::Shared { key, .. } => Some(&key.value),
            TokenKeys::Public(_) => None,
        });
        let claims = self.claims.iter().flat_map(|claim| &claim.values);
        text.into_iter().chain(keys).chain(&self.issuers).chain(&self.audiences).chain(claims).collect()
    }
}

/// Where a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenPlace {
    /// In a header field.
    Header {
        /// The name of the field.
        name: HeaderName,
        /// The scheme before the token. If absent, a word before a space is left out.
        scheme: Option<Arc<str>>,
    },
    /// In this parameter of the query.
    QueryParameter(Arc<str>),
    /// In this text.
    Text(Template),
}

/// Keys that may have signed a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenKeys {
    /// A key that the issuer has, too.
    Shared {
        /// The `kid` of its tokens.
        id: Option<Arc<str>>,
        /// The algorithm of its signatures.
        algorithm: Algorithm,
        /// The key.
        key: SecretKey,
    },
    /// Public keys, with which nobody can sign.
    Public(Arc<KeySet>),
}

/// A claim that a token must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequiredClaim {
    /// The name of the claim.
    pub name: Arc<str>,
    /// The values that it must have; any, if there are none.
    pub values: Vec<Template>,
    /// Whether one of the values is enough.
    pub any: bool,
    /// The separator of values in a claim that is a text.
    pub separator: Option<Arc<str>>,
}
