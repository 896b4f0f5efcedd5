use schemars::JsonSchema;
use serde::Deserialize;

use super::Text;

/// Replaces a text in the body.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct FindAndReplaceFile {
    /// The text that is replaced. Example: `http://`.
    #[schemars(with = "String")]
    pub(in crate::config) from: Text,
    /// The text that replaces it. In JSON, XML and forms its values are encoded for the place. Example: `https://`.
    #[schemars(with = "String")]
    pub(in crate::config) to: Text,
}

/// Sets the path that the third party receives.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct RewriteUriFile {
    /// A template for the path, with or without a query. A value is encoded as one segment of the path or as one value of the
    /// query; `${raw(request.path)}` is inserted as it is. A request whose values would add a dot segment, or make the path one of
    /// an operation whose policies did not run, is refused (400, `path_not_allowed`). Example:
    /// `"/v2/prices/${request.parameters.id}"`.
    #[schemars(with = "String")]
    pub(in crate::config) template: Text,
    /// Whether the query of the request is kept. Default: true.
    #[serde(default)]
    pub(in crate::config) copy_query: Option<bool>,
}

/// Sets a header.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct SetHeaderFile {
    /// The name of the header. Example: `X-Team`.
    #[schemars(with = "String")]
    pub(in crate::config) name: Text,
    /// What happens to existing headers of this name: `override` replaces them, `skip` keeps them, `append` adds a value,
    /// `delete` removes them. Default: `override`. Example: `append`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) exists_action: Option<Text>,
    /// The value, a template. Default: none. Example: `"${workload.unit}"`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) value: Option<Text>,
    /// Several values instead of `value`, each a header of its own. Default: none. Example: `[a, b]`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(in crate::config) values: Vec<Text>,
}

/// Sets a parameter of the query.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct SetQueryParameterFile {
    /// The name of the parameter. Example: `page`.
    #[schemars(with = "String")]
    pub(in crate::config) name: Text,
    /// What happens to existing parameters of this name: `override` replaces them, `skip` keeps them, `append` adds a value,
    /// `delete` removes them. Default: `override`. Example: `skip`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) exists_action: Option<Text>,
    /// The value, a template. Default: none. Example: `"1"`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) value: Option<Text>,
    /// Several values instead of `value`, each a parameter of its own. Default: none. Example: `[a, b]`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(in crate::config) values: Vec<Text>,
}
