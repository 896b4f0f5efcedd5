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

/// What a workload is known by; all that is said must hold.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct WorkloadFile {
    /// Its name, as `egret inspect flows` shows it; `*` stands for anything.
    #[serde(default)]
    pub(in crate::config) name: Option<String>,
    /// The path of its cgroup; `*` stands for anything.
    #[serde(default)]
    pub(in crate::config) cgroup: Option<String>,
    /// The unit of the node's systemd; `*` stands for anything, but not for none, here and below.
    #[serde(default)]
    pub(in crate::config) unit: Option<String>,
    /// The id of its container, in full. Whoever may make cgroups calls his own as he likes: say also whose it is.
    #[serde(default)]
    pub(in crate::config) container: Option<String>,
    /// The uid of its Kubernetes pod.
    #[serde(default)]
    pub(in crate::config) pod: Option<String>,
    /// The namespace of its Kubernetes pod, from the kubelet's directories on the node (`kubelet`). They are found by the
    /// pod's cgroup: who can write there, or below the cgroup kubepods, is root on the node. A pod so young that it is not in
    /// them is in no namespace: rather `allow` some than `forbid` others.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) namespace: Option<Spanned<String>>,
    /// The name of its Kubernetes pod, found likewise. Others may be called so elsewhere: say also the namespace.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) pod_name: Option<Spanned<String>>,
    /// The name of its pod's service account, found likewise, in the token that the kubelet has put into the pod; none
    /// where it puts none (`automountServiceAccountToken: false`). Say also the namespace: others have accounts of this
    /// name, and who may make pods in a namespace may use, and pretend, any account of it.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) service_account: Option<Spanned<String>>,
    /// The path of what it runs. Others can call theirs so in a container: say also whose.
    #[serde(default)]
    pub(in crate::config) executable: Option<String>,
    /// Its user's number.
    #[serde(default)]
    pub(in crate::config) uid: Option<u32>,
    /// Its user's name on the node, or the number.
    #[serde(default)]
    pub(in crate::config) user: Option<String>,
}
