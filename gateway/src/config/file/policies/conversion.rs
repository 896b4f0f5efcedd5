use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::Text;

/// Converts JSON to XML.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct JsonToXmlFile {
    /// `content-type`: converts bodies whose Content-Type is JSON. `always`: converts all bodies. Default: `content-type`.
    /// Example: `always`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) apply: Option<Text>,
    /// Whether a response is converted only if the caller's Accept header names XML; `*/*` does not. Default: true.
    #[serde(default)]
    #[schemars(with = "Option<bool>")]
    pub(in crate::config) consider_accept_header: Option<Spanned<bool>>,
    /// The name of the root element, if the JSON is not an object with one key. Items of a list are `item` elements then.
    /// Default: `Document`. Example: `Order`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) root: Option<Text>,
}

/// Converts XML to JSON.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct XmlToJsonFile {
    /// `content-type`: converts bodies whose Content-Type is XML. `always`: converts all bodies. Default: `content-type`.
    /// Example: `always`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) apply: Option<Text>,
    /// Whether a response is converted only if the caller's Accept header names JSON; `*/*` does not. Default: true.
    #[serde(default)]
    #[schemars(with = "Option<bool>")]
    pub(in crate::config) consider_accept_header: Option<Spanned<bool>>,
    /// `direct`: attributes become `@name`, text beside elements `#text`, CDATA `#cdata-section`. `javascript-friendly`:
    /// attributes become members like elements, names lose their prefixes, text beside elements becomes `text`. With both,
    /// elements of one name become a list, all values are texts, and an empty element becomes null. Default: `direct`.
    /// Example: `javascript-friendly`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) kind: Option<Text>,
}
