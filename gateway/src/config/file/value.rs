use schemars::JsonSchema;
use serde::Deserialize;

use super::Text;

/// A value that templates refer to as `{{name}}`. It has exactly one of `file`, `env`, `credential` and `value`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct NamedValueFile {
    /// Path of a file that contains the value. Egret reads it again when it changes. The value is a secret. Default: none.
    /// Example: `/etc/egret/partner.key`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) file: Option<Text>,
    /// Name of an environment variable of Egret that contains the value. The value is a secret. Default: none. Example:
    /// `PARTNER_KEY`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) env: Option<Text>,
    /// Name of a systemd credential (`LoadCredential=`) that contains the value. The value is a secret. Default: none.
    /// Example: `partner-key`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) credential: Option<Text>,
    /// The value itself. It is not a secret. Default: none. Example: `acme`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) value: Option<Text>,
}
