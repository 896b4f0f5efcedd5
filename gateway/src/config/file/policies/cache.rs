use schemars::JsonSchema;
use serde::Deserialize;

use super::Text;

/// Answers from what is kept.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct CacheLookupFile {
    /// Headers of the request by which answers differ, beside those that the third party names (Vary).
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(in crate::config) vary_by_header: Vec<Text>,
    /// The parameters of the query by which answers differ. Default: all.
    #[serde(default)]
    pub(in crate::config) vary_by_query_parameter: Option<Vec<String>>,
    /// Whether workloads do not share answers. Default false.
    #[serde(default)]
    pub(in crate::config) vary_by_workload: bool,
    /// Whether also requests with an Authorization of the caller's are looked up. Default false.
    #[serde(default)]
    pub(in crate::config) share_authorized: bool,
}

/// Keeps the answer.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct CacheStoreFile {
    /// How long it is fresh. Default: as long as the third party says.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) duration: Option<Text>,
    /// How long after that it is given where the third party gives none, or one of 500 and more. Default 0s.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) stale_if_error: Option<Text>,
}

/// Reads a value that was kept.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct CacheLookupValueFile {
    /// An expression.
    #[schemars(with = "String")]
    pub(in crate::config) key: Text,
    /// The variable that it goes to.
    #[schemars(with = "String")]
    pub(in crate::config) variable: Text,
    /// An expression: what it is if there is none. Default: null.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) default: Option<Text>,
}

/// Keeps a value.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct CacheStoreValueFile {
    /// An expression.
    #[schemars(with = "String")]
    pub(in crate::config) key: Text,
    /// An expression.
    #[schemars(with = "String")]
    pub(in crate::config) value: Text,
    /// How long, like 5m.
    #[schemars(with = "String")]
    pub(in crate::config) duration: Text,
}

/// Forgets a value.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct CacheRemoveValueFile {
    /// An expression.
    #[schemars(with = "String")]
    pub(in crate::config) key: Text,
}
