use schemars::JsonSchema;
use serde::Deserialize;

use super::Text;
use super::policies::PoliciesFile;
use crate::syntax::WorkloadFile;

/// A set of APIs with their subscribers and policies.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct ProductFile {
    /// Unique name of the product. Example: `trading`.
    #[schemars(with = "String")]
    pub(in crate::config) name: Text,
    /// Names of the APIs. Example: `[partner]`.
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub(in crate::config) apis: Vec<Text>,
    /// Whether requests to these APIs by callers without a subscription are refused (401). Default: true.
    #[serde(default)]
    pub(in crate::config) subscription_required: Option<bool>,
    /// The subscribers. A caller has the first subscription that it matches. Example: `[{name: billing, workloads: [{unit:
    /// billing.service}]}]`.
    #[serde(default)]
    pub(in crate::config) subscriptions: Vec<SubscriptionFile>,
    /// Policies that apply to the requests of subscribers. They run between the policies of all APIs and those of the API.
    /// Example: `{inbound: [{quota: {calls: 10000, period: 1d}}]}`.
    #[serde(default)]
    pub(in crate::config) policies: Option<PoliciesFile>,
}

/// A subscriber of a product, known by `workloads`, by `key`, or by both.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct SubscriptionFile {
    /// Unique name of the subscription. Example: `billing`.
    #[schemars(with = "String")]
    pub(in crate::config) name: Text,
    /// Workloads, one of which the caller must be. Default: any workload. Example: `[{unit: billing.service}]`.
    #[serde(default)]
    pub(in crate::config) workloads: Vec<WorkloadFile>,
    /// The value that callers send in the header `Egret-Subscription-Key`, usually a `{{named value}}`. Egret removes the
    /// header. Default: none. Example: `"{{billing-key}}"`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) key: Option<Text>,
}
