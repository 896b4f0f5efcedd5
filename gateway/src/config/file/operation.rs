use schemars::JsonSchema;
use serde::Deserialize;

use super::Text;
use super::policies::PoliciesFile;

/// An operation of an API: a method and a path.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct OperationFile {
    /// Unique name of the operation in its API. Example: `get-price`.
    #[schemars(with = "String")]
    pub(in crate::config) name: Text,
    /// The HTTP method. Default: any method; for an operation of the `openapi` document, its method. Example: `GET`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) method: Option<Text>,
    /// A path template. `{name}` stands for one or more characters without a slash; a segment may have several, with text
    /// between. `*` as the last segment stands for any rest. Percent-encoding, `.`, `..`, repeated slashes and a slash at the
    /// end make no difference. Other spellings that a third party may treat alike (capitals, encoded slashes, `;`) do not
    /// match, and are refused by `paths: strict`. Default: the path of the operation of this name in the `openapi` document. Example: `/prices/{id}`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) path: Option<Text>,
    /// Policies that apply to the requests of this operation. Example: `{inbound: [{rate-limit: {calls: 10, period: 1s}}]}`.
    #[serde(default)]
    pub(in crate::config) policies: Option<PoliciesFile>,
}
