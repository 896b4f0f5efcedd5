//! APIs, and the names and addresses of their hosts.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// An API and its hosts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ApiRow {
    /// The name of the API.
    pub name: String,
    /// Its hosts, with what resolution says of them.
    pub hosts: Vec<NameRow>,
    /// The ports that are captured.
    pub ports: Vec<u16>,
    /// The mode of the API.
    pub mode: String,
    /// Its fail mode.
    pub fail: String,
    /// The workloads that it is for, and what happens to others; absent where it is for all.
    #[serde(default)]
    pub workloads: Option<String>,
    /// What happens to connections to its addresses that name another host: `carry` or `refuse`.
    #[serde(default)]
    pub strangers: String,
    /// Where it leaves from.
    pub egress: Vec<IpAddr>,
    /// The proxy, and its address.
    pub proxy: Option<String>,
}

/// A listed host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NameRow {
    /// The host name itself.
    pub name: String,
    /// Its addresses, current first.
    pub addresses: Vec<IpAddr>,
    /// The addresses in the newest DNS response that it may not have, and why.
    #[serde(default)]
    pub refused: Vec<String>,
    /// Why it could not be resolved the last time.
    pub error: Option<String>,
    /// The number of names below a wildcard that DNS responses to callers have taught.
    #[serde(default)]
    pub learnt: usize,
}

/// A name of an API, and what is known of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HostRow {
    /// The host name in lower case.
    pub name: String,
    /// The API that lists it, by its name or by a wildcard; absent for servers that Egret itself uses.
    pub api: Option<String>,
    /// `resolved` by Egret, `seen` in a caller's DNS response, or `seen_untrusted`: seen, but its server is not trusted.
    pub learnt: String,
    /// Whose connections to its addresses are captured: `everybody`, or `owner` for those of the owner alone.
    #[serde(default)]
    pub scope: String,
    /// The owner whose DNS response it was.
    pub owner: Option<String>,
    /// Its addresses, with the seconds until each is looked up again (`resolved`) or forgotten (`seen`).
    pub addresses: Vec<HostAddress>,
    /// Why Egret could not resolve it the last time.
    pub error: Option<String>,
}

/// An address of a name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HostAddress {
    /// The address of the name.
    pub address: IpAddr,
    /// Seconds until it is looked up again, or forgotten.
    pub ttl_seconds: Option<u64>,
    /// Running flows whose callers connected to it.
    pub flows: usize,
}
