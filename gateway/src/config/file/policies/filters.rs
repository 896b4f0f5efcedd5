use std::collections::BTreeMap;

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
    /// Values that the header may have. Of several fields with this name each must have one of them. Default: any. Example: `[payments, billing]`.
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
    /// Workloads that are allowed. Exactly one of `allow` and `forbid` is required. A workload is refused while it is not known
    /// whether it is one of them. Default: none. Example: `[{unit: billing.service}]`.
    #[serde(default)]
    pub(in crate::config) allow: Option<Vec<WorkloadFile>>,
    /// Workloads that are forbidden. A workload is refused, too, while it is not known whether it is one of them. Default: none.
    /// Example: `[{unit: batch.service}]`.
    #[serde(default)]
    pub(in crate::config) forbid: Option<Vec<WorkloadFile>>,
}

/// Facts by which a workload is selected; it must have all of them. The kernel and the node's own daemons attest them, and `*`
/// stands for anything. What a caller names its own cgroups selects nothing.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(
    deny_unknown_fields,
    extend("x-removed" = {"name": {
        "rule": "`name` selects nothing: a caller chooses the name of its own cgroup",
        "help": "select by `unit`, `container`, `pod`, `namespace` or `cgroup`, like {unit: billing.service}",
    }})
)]
pub(in crate::config) struct WorkloadFile {
    /// The path of its cgroup below the root of the hierarchy; `*` may stand at the end. A caller can make cgroups below its own,
    /// so write a path in which others cannot. Default: any. Example: `/user.slice/*`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) cgroup: Option<Spanned<String>>,
    /// The unit of the node's systemd that it runs in: the outermost unit in the path of its cgroup. Units of a user are in
    /// `user@UID.service`. Default: any, or none. Example: `billing.service`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) unit: Option<Spanned<String>>,
    /// The full id of its container, of a runtime of the node. Containers of an unprivileged user, and containers in containers,
    /// are facts about their owner only. Default: any, or none. Example:
    /// `3f4a7e1c9b2d5f60817263544a5b6c7d8e9f00112233445566778899aabbccdd`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) container: Option<Spanned<String>>,
    /// The uid of its Kubernetes pod. Default: any, or none. Example: `9d3f2b1a-4c5e-4f60-8a7b-112233445566`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) pod: Option<Spanned<String>>,
    /// The namespace of its Kubernetes pod, from the kubelet's directories on the node (`kubelet`). Egret finds them by the pod's
    /// cgroup, which only the kubelet makes. For a short time after its creation a pod is not in them. Default: any, or none.
    /// Example: `billing`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) namespace: Option<Spanned<String>>,
    /// The name of its Kubernetes pod, found in the same way. Pods of other namespaces can have this name: select by `namespace`,
    /// too. Default: any, or none. Example: `api-*`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) pod_name: Option<Spanned<String>>,
    /// The name of its pod's service account, from the token that the kubelet puts into the pod; not known where it puts none
    /// (`automountServiceAccountToken: false`). Select by `namespace`, too: accounts of other namespaces can have this name, and
    /// whoever may create pods in a namespace can use any account of it. Default: any, or none. Example: `invoicer`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) service_account: Option<Spanned<String>>,
    /// What manages its pod, as `KIND/NAME`: the kind and name of the pod's controller, and `Deployment` in place of the ReplicaSet
    /// that belongs to one. Needs `kubernetes: {api: true}`, like `labels`, `container_name` and `image`; until the API server has
    /// told Egret of the pod, they are not known. Select by `namespace`, too: whoever may create pods in a namespace can give them
    /// any of these. Default: any, or none. Example: `Deployment/api`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) controller: Option<Spanned<String>>,
    /// The labels of its pod. Default: any. Example: `{app.kubernetes.io/name: billing}`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub(in crate::config) labels: BTreeMap<String, Spanned<String>>,
    /// The name of its container in the pod. The kubelet reports a container about a second after its start: until then it is not
    /// known. Default: any, or none. Example: `app`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) container_name: Option<Spanned<String>>,
    /// The image of its container, as the container runtime names it; known when `container_name` is. Default: any, or none. Example:
    /// `registry.example/billing/*`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) image: Option<Spanned<String>>,
    /// The path of the file that it runs, where the node has this very file (device and inode) at this path. Not known in most
    /// containers, and for a file that was replaced. Every user can run a file of the node and make it do what they like: select
    /// by `unit` or `uid`, too. Default: any. Example: `/usr/bin/curl`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) executable: Option<Spanned<String>>,
    /// The number of its user, in the node's user namespace. Default: any. Example: `1000`.
    #[serde(default)]
    pub(in crate::config) uid: Option<u32>,
    /// The name of its user on the node, or the number of a user without a name. Default: any. Example: `batch`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) user: Option<Spanned<String>>,
}
