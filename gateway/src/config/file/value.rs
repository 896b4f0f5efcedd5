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
    /// When the credential expires: a date (the beginning of that day in UTC) or a time as in RFC 3339. It changes nothing but the
    /// metric `egret_expiry_timestamp_seconds`, on which an alert warns in time. Default: what the value says itself, if it is a JSON
    /// Web Token or a certificate in PEM. Example: `2027-01-31`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) expires: Option<Text>,
}
