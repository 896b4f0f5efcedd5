use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::Text;

/// Looks at bodies.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct ValidateContentFile {
    /// Most bytes of a body; at most `max_body`, which is the default. Where no length is said before, the body is read
    /// for it.
    #[serde(default)]
    #[schemars(with = "Option<u32>", range(min = 1))]
    pub(in crate::config) max_size: Option<Spanned<u32>>,
    /// With a body that has more: `prevent` (default), `detect` or `ignore`. It is not looked into.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) size_exceeded: Option<Text>,
    /// With a body of a type that `content` does not list, or that `openapi` does not name for the operation: `prevent`
    /// (default), `detect` or `ignore`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) unspecified_content_type: Option<Text>,
    /// What bodies are to be, by their type; the first that fits holds.
    pub(in crate::config) content: Vec<ContentFile>,
    /// A variable for the list of what is wrong, as texts; an empty list where nothing is.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) errors_variable: Option<Text>,
}

/// What bodies of a type are to be.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct ContentFile {
    /// The media type, without parameters: `application/json`, `application/*+json`; `*` stands for anything.
    #[serde(rename = "type")]
    #[schemars(with = "String")]
    pub(in crate::config) kind: Text,
    /// Path of a JSON Schema, in JSON or YAML, read with the configuration; other documents that it refers to are not
    /// fetched. Patterns have no look-around and no back-references; `format` is checked in drafts before 2019-09.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) schema: Option<Text>,
    /// Instead: true for what the API's `openapi` says of the operation. What has a schema there and is JSON is looked into.
    #[serde(default)]
    pub(in crate::config) openapi: bool,
    /// With a body that is not so: `prevent` (default), `detect` or `ignore`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) action: Option<Text>,
}

/// Looks at the parameters of requests.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct ValidateParametersFile {
    /// With a parameter that is not as described, or is missing: `prevent` (default), `detect` or `ignore`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) specified: Option<Text>,
    /// With one that is not described, as all are of a request that is none of the document's operations: `ignore`
    /// (default), `detect` or `prevent`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) unspecified: Option<Text>,
    /// For headers. What says how a message is sent, and Accept, Authorization and Content-Type, are no parameters.
    #[serde(default)]
    pub(in crate::config) headers: Option<DescribedFile>,
    /// For the query.
    #[serde(default)]
    pub(in crate::config) query: Option<DescribedFile>,
    /// For the path.
    #[serde(default)]
    pub(in crate::config) path: Option<DescribedFile>,
    /// A variable for the list of what is wrong, as texts; an empty list where nothing is.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) errors_variable: Option<Text>,
}

/// What is done with values that are described, and with others.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct DescribedFile {
    /// With one that is not as described, or is missing. Default: that of all.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) specified: Option<Text>,
    /// With one that is not described. Default: that of all.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) unspecified: Option<Text>,
    /// Names that may be there although they are not described.
    #[serde(default)]
    pub(in crate::config) except: Vec<String>,
}

/// Looks at the heads of answers.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct ValidateHeadersFile {
    /// With a header that is not as described, or is missing: `prevent` (default), `detect` or `ignore`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) specified: Option<Text>,
    /// With one that is not described, but for Content-Type, Date and those that say how a message is sent: `prevent`
    /// (default), `detect` or `ignore`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) unspecified: Option<Text>,
    /// Names that may be there although they are not described.
    #[serde(default)]
    pub(in crate::config) except: Vec<String>,
    /// A variable for the list of what is wrong, as texts; an empty list where nothing is.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) errors_variable: Option<Text>,
}

/// Looks at the statuses of answers.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct ValidateStatusCodeFile {
    /// With a status that the operation does not name; `default` and `4XX` name what they stand for: `prevent` (default),
    /// `detect` or `ignore`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) unspecified: Option<Text>,
    /// Statuses that are let through nonetheless.
    #[serde(default)]
    pub(in crate::config) except: Vec<u16>,
    /// A variable for the list of what is wrong, as texts; an empty list where nothing is.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) errors_variable: Option<Text>,
}
