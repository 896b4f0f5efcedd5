use schemars::JsonSchema;
use serde::Deserialize;

use super::Text;
use super::policies::{PoliciesFile, WorkloadFile};

/// APIs for those who have subscribed.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct ProductFile {
    /// Unique.
    #[schemars(with = "String")]
    pub(in crate::config) name: Text,
    /// Names of APIs.
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub(in crate::config) apis: Vec<Text>,
    /// Whether requests of others to these APIs are refused (401). Default true.
    #[serde(default)]
    pub(in crate::config) subscription_required: Option<bool>,
    /// Who has subscribed; a caller has the first subscription that it is like.
    #[serde(default)]
    pub(in crate::config) subscriptions: Vec<SubscriptionFile>,
    /// What is done with the requests of those who have: between the policies of all APIs and those of the API.
    #[serde(default)]
    pub(in crate::config) policies: Option<PoliciesFile>,
}

/// Callers of a product: `workloads`, `key`, or both.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct SubscriptionFile {
    /// Unique.
    #[schemars(with = "String")]
    pub(in crate::config) name: Text,
    /// Any of these.
    #[serde(default)]
    pub(in crate::config) workloads: Vec<WorkloadFile>,
    /// What they say in the header `Egret-Subscription-Key`, as a rule `{{named value}}`; the third party does not see it.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) key: Option<Text>,
}
