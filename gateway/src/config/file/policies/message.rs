use schemars::JsonSchema;
use serde::Deserialize;

use super::Text;

/// Replaces a text in the body.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct FindAndReplaceFile {
    /// What is looked for.
    #[schemars(with = "String")]
    pub(in crate::config) from: Text,
    /// What comes in its place.
    #[schemars(with = "String")]
    pub(in crate::config) to: Text,
}

/// Sets the path that the third party sees.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct RewriteUriFile {
    /// A path, perhaps with a query: `/v2/prices/${request.parameters.id}`.
    #[schemars(with = "String")]
    pub(in crate::config) template: Text,
    /// Whether the request's query goes along. Default true.
    #[serde(default)]
    pub(in crate::config) copy_query: Option<bool>,
}

/// Sets a header.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct SetHeaderFile {
    /// The header.
    #[schemars(with = "String")]
    pub(in crate::config) name: Text,
    /// Where there is one: `override` (default), `skip`, `append` or `delete`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) exists_action: Option<Text>,
    /// What it says.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) value: Option<Text>,
    /// Instead of `value`: one header for each of these.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(in crate::config) values: Vec<Text>,
}

/// Sets a parameter of the query.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct SetQueryParameterFile {
    /// Its name.
    #[schemars(with = "String")]
    pub(in crate::config) name: Text,
    /// Where there is one: `override` (default), `skip`, `append` or `delete`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) exists_action: Option<Text>,
    /// What it is.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) value: Option<Text>,
    /// Instead of `value`: one parameter for each of these.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(in crate::config) values: Vec<Text>,
}
