use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Api, Model};

/// What the Egret of a node tells the others of its cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    /// The version of Egret.
    pub version: String,
    /// The generation of the configuration, which each process counts for itself.
    pub generation: u32,
    /// The digest of the files of the configuration: nodes with the same files have the same.
    pub config: String,
    /// The addresses that APIs without egress settings of their own leave from, at most one per family.
    pub egress: Vec<IpAddr>,
    /// Those of APIs with egress settings of their own, by name. Absent if there are too many to tell.
    pub apis: Option<BTreeMap<String, Vec<IpAddr>>>,
}

impl NodeReport {
    /// Returns what there is to tell of a model.
    pub fn of(model: &Model, version: &str, config: &str) -> Self {
        let own = |api: &Api| Some((api.name.to_string(), api.egress.as_ref()?.sources()));
        Self {
            version: version.to_owned(),
            generation: model.generation.0,
            config: config.to_owned(),
            egress: model.egress.sources(),
            apis: Some(model.apis.iter().filter_map(own).collect()),
        }
    }

    /// Returns the addresses that an API leaves from on this node, if they are known.
    pub fn sources_of(&self, api: &str) -> Option<&[IpAddr]> {
        let own = self.apis.as_ref()?.get(api);
        Some(own.unwrap_or(&self.egress))
    }
}
