use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::Text;

/// Lets calls to some addresses of the third party through, or all but those to some.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct IpFilterFile {
    /// Those that are let through: `203.0.113.7`, `2001:db8::/32`.
    #[serde(default)]
    #[schemars(with = "Option<Vec<String>>")]
    pub(in crate::config) allow: Option<Vec<Text>>,
    /// Those that are refused.
    #[serde(default)]
    #[schemars(with = "Option<Vec<String>>")]
    pub(in crate::config) forbid: Option<Vec<Text>>,
}

impl IpFilterFile {
    /// Which of the two it is, if it is one: whether they are let through, and which.
    pub(in crate::config) fn either(&self) -> Option<(bool, &[Spanned<String>])> {
        match (&self.allow, &self.forbid) {
            (Some(allow), None) => Some((true, allow)),
            (None, Some(forbid)) => Some((false, forbid)),
            _ => None,
        }
    }
}
