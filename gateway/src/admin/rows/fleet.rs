//! What is told of all nodes of a cluster.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A node that runs Egret, as its Lease says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRow {
    /// The name of the node.
    pub node: String,
    /// Whether it is this one.
    pub this: bool,
    /// `reporting`, or `silent` if it has not renewed its Lease in time.
    pub state: String,
    /// Seconds since it renewed its Lease, by its own clock and this node's.
    pub last_seconds_ago: Option<u64>,
    /// The version of Egret.
    pub version: Option<String>,
    /// The digest of the files of its configuration.
    pub config: Option<String>,
    /// The generation of its configuration.
    pub generation: Option<u32>,
    /// Its egress addresses, those of single APIs included.
    pub egress: Vec<IpAddr>,
    /// Why its report cannot be read.
    pub error: Option<String>,
}

/// The addresses that a third party must list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllowlistRow {
    /// The name of the API.
    pub api: String,
    /// The hosts of the third party.
    pub hosts: Vec<String>,
    /// The ports of the third party.
    pub ports: Vec<u16>,
    /// The addresses that connections leave from.
    pub addresses: Vec<AllowlistAddress>,
    /// The proxy that connections go through: the third party sees its address, and it sees `addresses`.
    #[serde(default)]
    pub proxy: Option<String>,
    /// `open` or `closed`: with `open`, connections leave from any address of a node while Egret is down there.
    pub fail: String,
}

/// An address, and the nodes that leave from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllowlistAddress {
    /// The source address that the third party sees.
    pub address: IpAddr,
    /// The names of the nodes.
    pub nodes: Vec<String>,
}

/// How the renewals of this node's Lease are getting on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LeaseRow {
    /// The Lease as `NAMESPACE/NAME`, once it was renewed.
    pub lease: Option<String>,
    /// Seconds since it was renewed.
    pub last_seconds_ago: Option<u64>,
    /// Why the newest renewal failed, if it did.
    pub error: Option<String>,
}
