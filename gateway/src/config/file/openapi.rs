use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_saphyr::Spanned;

use super::Text;

/// An OpenAPI document, as its path or as a section.
#[derive(Debug)]
pub(in crate::config) struct OpenApiFile {
    text: Option<String>,
    section: Option<Text>,
    /// Whether what Egret does not understand in the document is an error.
    pub(in crate::config) strict: bool,
}

impl OpenApiFile {
    /// Returns the path of the document, where it is written.
    pub(in crate::config) fn file(&self, written: &Spanned<Self>) -> Text {
        let text = self.text.clone().unwrap_or_default();
        let text = Spanned { value: text, referenced: written.referenced, defined: written.defined };
        self.section.clone().unwrap_or(text)
    }
}

/// An OpenAPI document (3.0 or 3.1, YAML or JSON).
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct OpenApiSection {
    /// Path of the document. Egret reads it together with the configuration: at most 64 MiB, and 4 million keys, values and lists.
    /// Example: `partner.openapi.yaml`.
    #[schemars(with = "String")]
    file: Text,
    /// Whether the configuration is refused if Egret does not understand all of the document. If false, it is a warning of
    /// `egret check`, `egret status` and the log, and the operations concerned count as not described. Default: false.
    #[serde(default)]
    strict: bool,
}

impl<'de> Deserialize<'de> for OpenApiFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PathOrSection;
        impl<'de> Visitor<'de> for PathOrSection {
            type Value = OpenApiFile;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the path of an OpenAPI document, or `file` and `strict`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<OpenApiFile, E> {
                Ok(OpenApiFile { text: Some(text.to_owned()), section: None, strict: false })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OpenApiFile, A::Error> {
                let OpenApiSection { file, strict } = OpenApiSection::deserialize(MapAccessDeserializer::new(map))?;
                Ok(OpenApiFile { text: None, section: Some(file), strict })
            }
        }
        deserializer.deserialize_any(PathOrSection)
    }
}

/// Returns the schema of the key `openapi`.
pub(super) fn schema(generator: &mut SchemaGenerator) -> Schema {
    let section = generator.subschema_for::<OpenApiSection>();
    schemars::json_schema!({"anyOf": [{"type": ["string", "null"]}, section]})
}
