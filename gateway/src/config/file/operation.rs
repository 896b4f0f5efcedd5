use schemars::JsonSchema;
use serde::Deserialize;

use super::Text;
use super::policies::PoliciesFile;

/// What a third party offers to do.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct OperationFile {
    /// Unique in its API.
    #[schemars(with = "String")]
    pub(in crate::config) name: Text,
    /// Default: any.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) method: Option<Text>,
    /// Like `/prices/{id}`; `*` as the last segment stands for any rest. Default: that of the operation of this name in
    /// `openapi`. However it is spelled: percent-encoding, `.` and `..`, two slashes for one and one at the end make no
    /// difference; where a third party takes more for the same (capitals, an encoded slash, `;`), `only_operations` refuses it.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) path: Option<Text>,
    /// What is done with its requests.
    #[serde(default)]
    pub(in crate::config) policies: Option<PoliciesFile>,
}
