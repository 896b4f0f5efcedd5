use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::Text;

/// Validates bodies.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct ValidateContentFile {
    /// The largest body in bytes, at most `max_body`. A body of unknown length is read to measure it. Default: `max_body`.
    /// Example: `65536`.
    #[serde(default)]
    #[schemars(with = "Option<u32>", range(min = 1))]
    pub(in crate::config) max_size: Option<Spanned<u32>>,
    /// What happens to a larger body, which is not validated otherwise: `prevent` refuses it, `detect` records it, `ignore`
    /// lets it pass. Default: `prevent`. Example: `detect`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) size_exceeded: Option<Text>,
    /// What happens to a body of a type that `content` does not list, or that the `openapi` document does not describe for the
    /// operation: `prevent`, `detect` or `ignore`. Default: `prevent`. Example: `ignore`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) unspecified_content_type: Option<Text>,
    /// How bodies are validated, by their type. The first item that matches applies. Example: `[{type: application/json,
    /// openapi: true}]`.
    pub(in crate::config) content: Vec<ContentFile>,
    /// A variable that receives the list of errors as texts; the list is empty if there are none. Default: none. Example:
    /// `errors`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) errors_variable: Option<Text>,
}

/// How bodies of a type are validated. It has exactly one of `schema` and `openapi: true`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct ContentFile {
    /// The media type without parameters; `*` stands for anything. Example: `application/*+json`.
    #[serde(rename = "type")]
    #[schemars(with = "String")]
    pub(in crate::config) kind: Text,
    /// Path of a JSON Schema, in JSON or YAML. Egret reads it together with the configuration and fetches no other documents.
    /// Patterns have no look-around and no back-references; `format` is checked in drafts before 2019-09. Default: none.
    /// Example: `/etc/egret/order.schema.json`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) schema: Option<Text>,
    /// Whether bodies are validated by the API's `openapi` document. JSON bodies with a schema there are validated; of other
    /// bodies, only the type. Default: false.
    #[serde(default)]
    pub(in crate::config) openapi: bool,
    /// What happens to an invalid body: `prevent`, `detect` or `ignore`. Default: `prevent`. Example: `detect`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) action: Option<Text>,
}

/// Validates the parameters of requests.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct ValidateParametersFile {
    /// What happens to a request with an invalid parameter, or without a required one: `prevent` refuses it, `detect` records
    /// it, `ignore` lets it pass. Default: `prevent`. Example: `detect`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) specified: Option<Text>,
    /// What happens to a request with a parameter that the document does not describe, as are all parameters of a request that
    /// matches no operation of the document: `ignore`, `detect` or `prevent`. Default: `ignore`. Example: `prevent`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) unspecified: Option<Text>,
    /// Other actions for headers. Headers that say how a message is sent, and Accept, Authorization and Content-Type, are not
    /// parameters.
    #[serde(default)]
    pub(in crate::config) headers: Option<DescribedFile>,
    /// Other actions for the query.
    #[serde(default)]
    pub(in crate::config) query: Option<DescribedFile>,
    /// Other actions for the path.
    #[serde(default)]
    pub(in crate::config) path: Option<DescribedFile>,
    /// A variable that receives the list of errors as texts; the list is empty if there are none. Default: none. Example:
    /// `errors`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) errors_variable: Option<Text>,
}

/// Actions for parameters of one place.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct DescribedFile {
    /// What happens if one is invalid or missing. Default: as for all places. Example: `detect`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) specified: Option<Text>,
    /// What happens if one is not described. Default: as for all places. Example: `prevent`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) unspecified: Option<Text>,
    /// Names that are allowed although they are not described. Default: none. Example: `[debug]`.
    #[serde(default)]
    pub(in crate::config) except: Vec<String>,
}

/// Validates the headers of responses.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct ValidateHeadersFile {
    /// What happens to a response with an invalid header, or without a required one: `prevent` refuses it, `detect` records
    /// it, `ignore` lets it pass. Default: `prevent`. Example: `detect`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) specified: Option<Text>,
    /// What happens to a response with a header that the document does not describe, other than Content-Type, Date and those
    /// that say how a message is sent: `prevent`, `detect` or `ignore`. Default: `prevent`. Example: `ignore`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) unspecified: Option<Text>,
    /// Names that are allowed although they are not described. Default: none. Example: `[X-Request-Id]`.
    #[serde(default)]
    pub(in crate::config) except: Vec<String>,
    /// A variable that receives the list of errors as texts; the list is empty if there are none. Default: none. Example:
    /// `errors`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) errors_variable: Option<Text>,
}

/// Validates the statuses of responses.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct ValidateStatusCodeFile {
    /// What happens to a response with a status that the operation does not name (`default` and `4XX` name what they stand
    /// for): `prevent` refuses it, `detect` records it, `ignore` lets it pass. Default: `prevent`. Example: `detect`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) unspecified: Option<Text>,
    /// Statuses that are allowed although they are not named. Default: none. Example: `[503]`.
    #[serde(default)]
    pub(in crate::config) except: Vec<u16>,
    /// A variable that receives the list of errors as texts; the list is empty if there are none. Default: none. Example:
    /// `errors`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) errors_variable: Option<Text>,
}
