use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_saphyr::Spanned;

use super::Text;
use crate::syntax::WorkloadFile;

/// What happens to connections that no API lists: an action, or a section.
#[derive(Debug, Default)]
pub(in crate::config) struct UnlistedFile {
    word: Option<String>,
    section: UnlistedSection,
}

/// What happens to connections (TCP and UDP) to destinations that no API lists. The kernel hooks decide when a program connects or
/// sends a datagram without `connect`. Connections that are open already are not touched. These destinations are always reached:
/// loopback, the node's own addresses, multicast that stays on the link, and port 53 of the DNS servers that Egret or the node uses
/// (`resolver.servers`, `resolver.trusted_servers`, `/etc/resolv.conf`, the servers of systemd-resolved).
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct UnlistedSection {
    /// What happens to connections of workloads that no rule selects. `allow`: they pass. `report`: they pass, and `egret inspect
    /// unlisted` lists them. `deny`: `connect` and `sendto` fail with EPERM. Default: `allow`. Example: `report`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) action: Option<Text>,
    /// Destinations that every workload reaches: addresses or networks, each with or without a port. Default: none. Example:
    /// `[10.96.0.0/12, "192.0.2.123:123", "[2001:db8::/32]:443"]`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(in crate::config) except: Vec<Text>,
    /// Rules for single workloads. The first rule that selects a workload decides. Default: none. Example: `[{workloads: [{unit:
    /// billing.service}], action: deny}]`.
    #[serde(default)]
    #[schemars(with = "Vec<UnlistedRuleFile>")]
    pub(in crate::config) rules: Vec<Spanned<UnlistedRuleFile>>,
    /// What happens to denied connections while Egret's heartbeat is missing. `closed`: they are refused. `open`: they pass, from
    /// five seconds after the last heartbeat. Default: `closed`. Example: `open`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) fail: Option<Text>,
}

/// What happens to connections of some workloads to destinations that no API lists.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct UnlistedRuleFile {
    /// The workloads. The kernel knows the cgroup of a caller, so only facts about it select: `cgroup`, `unit`, `container`, `pod`,
    /// `namespace`, `pod_name` and `service_account`. Example: `[{unit: billing.service}, {namespace: shop}]`.
    pub(in crate::config) workloads: Vec<WorkloadFile>,
    /// What happens to their connections: `allow`, `report` or `deny`. Example: `deny`.
    #[schemars(with = "String")]
    pub(in crate::config) action: Text,
    /// Destinations that these workloads reach, beside those of `unlisted.except`. Default: none. Example: `["10.1.2.3:5432"]`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(in crate::config) except: Vec<Text>,
}

impl UnlistedFile {
    /// Returns the action, where it is written.
    pub(in crate::config) fn action(&self, written: &Spanned<Self>) -> Option<Text> {
        let word =
            self.word.clone().map(|value| Spanned { value, referenced: written.referenced, defined: written.defined });
        word.or_else(|| self.section.action.clone())
    }

    /// Returns the section; an empty one if only the action is written.
    pub(in crate::config) fn section(&self) -> &UnlistedSection {
        &self.section
    }
}

impl<'de> Deserialize<'de> for UnlistedFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ActionOrSection;
        impl<'de> Visitor<'de> for ActionOrSection {
            type Value = UnlistedFile;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("allow, report or deny, or a section with `action`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<UnlistedFile, E> {
                Ok(UnlistedFile { word: Some(text.to_owned()), section: UnlistedSection::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<UnlistedFile, A::Error> {
                let section = UnlistedSection::deserialize(MapAccessDeserializer::new(map))?;
                Ok(UnlistedFile { word: None, section })
            }
        }
        deserializer.deserialize_any(ActionOrSection)
    }
}

/// Returns the schema of the key `unlisted`.
pub(super) fn schema(generator: &mut SchemaGenerator) -> Schema {
    let section = generator.subschema_for::<UnlistedSection>();
    schemars::json_schema!({"anyOf": [{"type": ["string", "null"]}, section]})
}
