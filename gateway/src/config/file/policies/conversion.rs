use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::Text;

/// Makes XML of JSON.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct JsonToXmlFile {
    /// `content-type` (default): where Content-Type says that it is JSON; or `always`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) apply: Option<Text>,
    /// Of answers: whether only where the caller's Accept names XML; `*/*` does not. Default true.
    #[serde(default)]
    #[schemars(with = "Option<bool>")]
    pub(in crate::config) consider_accept_header: Option<Spanned<bool>>,
    /// The element that is around all, where the JSON is no object with one key: its items are `item` then, if it is a list.
    /// Default Document.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) root: Option<Text>,
}

/// Makes JSON of XML.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct XmlToJsonFile {
    /// `content-type` (default): where Content-Type says that it is XML; or `always`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) apply: Option<Text>,
    /// Of answers: whether only where the caller's Accept names JSON; `*/*` does not. Default true.
    #[serde(default)]
    #[schemars(with = "Option<bool>")]
    pub(in crate::config) consider_accept_header: Option<Spanned<bool>>,
    /// `direct` (default): attributes are `@name`, texts beside others `#text`, CDATA is `#cdata-section`.
    /// `javascript-friendly`: attributes are like elements, names have no prefixes, texts beside others are `text`.
    /// Either way elements of one name make a list, all values are texts, and an element with nothing in it is null.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) kind: Option<Text>,
}
