use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::Text;

/// Allows requests to some addresses of the third party, or forbids those to some.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct IpFilterFile {
    /// Addresses and networks that are allowed. Exactly one of `allow` and `forbid` is required. Default: none. Example:
    /// `[203.0.113.7, "2001:db8::/32"]`.
    #[serde(default)]
    #[schemars(with = "Option<Vec<String>>")]
    pub(in crate::config) allow: Option<Vec<Text>>,
    /// Addresses and networks that are forbidden. Default: none. Example: `[203.0.113.0/24]`.
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

/// Refuses requests that lack a header or have another value in it.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct CheckHeaderFile {
    /// The name of the header. Example: `X-Team`.
    #[schemars(with = "String")]
    pub(in crate::config) name: Text,
    /// Values that the header may have. Default: any. Example: `[payments, billing]`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(in crate::config) values: Vec<Text>,
    /// Whether upper and lower case are the same. Default: false.
    #[serde(default)]
    pub(in crate::config) ignore_case: bool,
    /// The status of a refusal. Default: 401. Example: `403`.
    #[serde(default)]
    #[schemars(range(min = 400, max = 599))]
    pub(in crate::config) failed_status: Option<u16>,
    /// The message of a refusal. Default: the reason. Example: `Name your team in X-Team`.
    #[serde(default)]
    pub(in crate::config) failed_message: Option<String>,
}

/// Allows some workloads, or forbids some.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct WorkloadFilterFile {
    /// Workloads that are allowed. Exactly one of `allow` and `forbid` is required. Default: none. Example: `[{unit:
    /// billing.service}]`.
    #[serde(default)]
    pub(in crate::config) allow: Option<Vec<WorkloadFile>>,
    /// Workloads that are forbidden. Default: none. Example: `[{unit: batch.service}]`.
    #[serde(default)]
    pub(in crate::config) forbid: Option<Vec<WorkloadFile>>,
}

/// Facts of a workload. All that are written must hold.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct WorkloadFile {
    /// The workload's name, as `egret inspect flows` shows it; `*` stands for anything. Default: any. Example:
    /// `billing.service`.
    #[serde(default)]
    pub(in crate::config) name: Option<String>,
    /// The path of the workload's cgroup; `*` stands for anything. Default: any. Example: `/system.slice/*`.
    #[serde(default)]
    pub(in crate::config) cgroup: Option<String>,
    /// The workload's systemd unit on the node. `*` stands for anything, but a workload without a unit does not match, here
    /// and in the keys below. Default: any. Example: `billing.service`.
    #[serde(default)]
    pub(in crate::config) unit: Option<String>,
    /// The full id of the workload's container. Whoever may create cgroups can choose this id: name another fact of the
    /// workload, too. Default: any. Example:
    /// `9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08`.
    #[serde(default)]
    pub(in crate::config) container: Option<String>,
    /// The uid of the workload's Kubernetes pod. Default: any. Example: `0ad2c1be-9d2c-4ae6-8d3c-5a1e0b7f9c11`.
    #[serde(default)]
    pub(in crate::config) pod: Option<String>,
    /// The namespace of the workload's Kubernetes pod, from the kubelet's directories on the node (`kubelet`). Egret finds
    /// them by the pod's cgroup: only root on the node can write there, or below the cgroup kubepods. A very young pod that is
    /// not in them has no namespace: prefer `allow` to `forbid`. Default: any. Example: `billing`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) namespace: Option<Spanned<String>>,
    /// The name of the workload's Kubernetes pod, found in the same way. Pods of other namespaces may have the same name: name
    /// the namespace, too. Default: any. Example: `billing-0`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) pod_name: Option<Spanned<String>>,
    /// The service account of the workload's Kubernetes pod, from the token that the kubelet mounts into the pod; none with
    /// `automountServiceAccountToken: false`. Name the namespace, too: service accounts of other namespaces may have the same
    /// name. Whoever may create pods in a namespace can use any service account of it. Default: any. Example: `billing`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) service_account: Option<Spanned<String>>,
    /// The path of the program that the workload runs. Containers can have a program of the same path: name another fact of the
    /// workload, too. Default: any. Example: `/usr/bin/billing`.
    #[serde(default)]
    pub(in crate::config) executable: Option<String>,
    /// The number of the workload's user. Default: any. Example: `1000`.
    #[serde(default)]
    pub(in crate::config) uid: Option<u32>,
    /// The name of the workload's user on the node, or its number. Default: any. Example: `billing`.
    #[serde(default)]
    pub(in crate::config) user: Option<String>,
}
