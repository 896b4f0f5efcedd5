use schemars::JsonSchema;
use serde::Deserialize;

use super::Text;

/// A value that is kept elsewhere: templates say `{{name}}`. One of `file`, `env`, `credential` and `value`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct NamedValueFile {
    /// Path of a file with it; read again when it changes. A secret.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) file: Option<Text>,
    /// Variable of Egret's environment. A secret.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) env: Option<Text>,
    /// Name of a systemd credential (`LoadCredential=`). A secret.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) credential: Option<Text>,
    /// Itself, for all to see.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) value: Option<Text>,
}
