//! What `egret explain` is asked and told.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::calls::Caller;

/// A request to explain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Its URL, with scheme and host.
    pub url: String,
    /// Its method. Default: GET, or POST if it has a body.
    pub method: Option<String>,
    /// Its header fields, except `Host` and `Content-Length`.
    pub headers: Vec<(String, String)>,
    /// Its body, in Base64 (RFC 4648 §4).
    pub body: Option<String>,
    /// The assumed caller, and the address that it connects to.
    pub caller: Caller,
}

/// What was or would be done with a request. Secrets are masked.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Explained {
    /// The name of the API.
    pub api: Option<String>,
    /// The API's mode.
    pub mode: Option<String>,
    /// The operation of the API.
    pub operation: Option<String>,
    /// The parameters in the path.
    pub parameters: BTreeMap<String, String>,
    /// The subscription and the product.
    pub subscription: Option<String>,
    /// The API's egress addresses.
    pub leaves_from: Vec<IpAddr>,
    /// The proxy, and its address.
    pub through: Option<String>,
    /// The source address, if the request was sent.
    pub left_from: Option<SocketAddr>,
    /// The address that it was sent to, the third party's or the proxy's.
    pub went_to: Option<SocketAddr>,
    /// What each policy did, in order.
    pub steps: Vec<StepRow>,
    /// The request that the third party gets.
    pub sent: Option<MessageRow>,
    /// The response that the caller gets.
    pub answered: Option<MessageRow>,
    /// A remark on the result.
    pub note: Option<String>,
}

/// What one policy did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StepRow {
    /// `inbound`, `backend`, `outbound` or `on-error`.
    pub section: String,
    /// The scope of the policy.
    pub scope: String,
    /// The name of the policy.
    pub policy: String,
    /// The id that the configuration gives it.
    pub id: Option<String>,
    /// Whether it is in report mode.
    pub report: bool,
    /// What it did.
    pub did: String,
}

/// A request or a response.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MessageRow {
    /// Method and target, or status.
    pub start: String,
    /// The header fields of the message.
    pub headers: Vec<(String, String)>,
    /// Its body, if it is known and no secret.
    pub body: Option<String>,
    /// Whether the body is cut.
    pub cut: bool,
}

/// What happens to connections to a destination.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DestinationExplained {
    /// What decides, in order.
    pub steps: Vec<DestinationStep>,
    /// What happens to the connection.
    pub verdict: String,
    /// The generation of the configuration in force; absent where no gateway was asked.
    pub generation: Option<u32>,
}

/// A step of a decision about connections.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DestinationStep {
    /// What is looked at.
    pub what: String,
    /// What was found.
    pub found: String,
    /// The key of the configuration that decides it.
    pub key: Option<String>,
    /// The file and line of the key; absent where its default holds.
    pub at: Option<String>,
}
