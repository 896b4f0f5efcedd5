use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

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
pub struct WorkloadFile {
    /// The path of its cgroup below the root of the hierarchy; `*` may stand at the end. A caller can make cgroups below its own,
    /// so write a path in which others cannot. Default: any. Example: `/user.slice/*`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub cgroup: Option<Spanned<String>>,
    /// The unit of the node's systemd that it runs in: the outermost unit in the path of its cgroup. Units of a user are in
    /// `user@UID.service`. Default: any, or none. Example: `billing.service`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub unit: Option<Spanned<String>>,
    /// The full id of its container, of a runtime of the node. Containers of an unprivileged user, and containers in containers,
    /// are facts about their owner only. Default: any, or none. Example:
    /// `3f4a7e1c9b2d5f60817263544a5b6c7d8e9f00112233445566778899aabbccdd`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub container: Option<Spanned<String>>,
    /// The uid of its Kubernetes pod. Default: any, or none. Example: `9d3f2b1a-4c5e-4f60-8a7b-112233445566`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub pod: Option<Spanned<String>>,
    /// The namespace of its Kubernetes pod, from the kubelet's directories on the node (`kubelet`). Egret finds them by the pod's
    /// cgroup, which only the kubelet makes. For a short time after its creation a pod is not in them. Default: any, or none.
    /// Example: `billing`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub namespace: Option<Spanned<String>>,
    /// The name of its Kubernetes pod, found in the same way. Pods of other namespaces can have this name: select by `namespace`,
    /// too. Default: any, or none. Example: `api-*`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub pod_name: Option<Spanned<String>>,
    /// The name of its pod's service account, from the token that the kubelet puts into the pod; not known where it puts none
    /// (`automountServiceAccountToken: false`). Select by `namespace`, too: accounts of other namespaces can have this name, and
    /// whoever may create pods in a namespace can use any account of it. Default: any, or none. Example: `invoicer`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub service_account: Option<Spanned<String>>,
    /// What manages its pod, as `KIND/NAME`: the kind and name of the pod's controller, and `Deployment` in place of the ReplicaSet
    /// that belongs to one. Needs `kubernetes: {api: true}`, like `labels`, `container_name` and `image`; until the API server has
    /// told Egret of the pod, they are not known. Select by `namespace`, too: whoever may create pods in a namespace can give them
    /// any of these. Default: any, or none. Example: `Deployment/api`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub controller: Option<Spanned<String>>,
    /// The labels of its pod. Default: any. Example: `{app.kubernetes.io/name: billing}`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub labels: BTreeMap<String, Spanned<String>>,
    /// The name of its container in the pod. The kubelet reports a container about a second after its start: until then it is not
    /// known. Default: any, or none. Example: `app`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub container_name: Option<Spanned<String>>,
    /// The image of its container, as the container runtime names it; known when `container_name` is. Default: any, or none. Example:
    /// `registry.example/billing/*`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub image: Option<Spanned<String>>,
    /// The path of the file that it runs, where the node has this very file (device and inode) at this path. Not known in most
    /// containers, and for a file that was replaced. Every user can run a file of the node and make it do what they like: select
    /// by `unit` or `uid`, too. Default: any. Example: `/usr/bin/curl`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub executable: Option<Spanned<String>>,
    /// The number of its user, in the node's user namespace. Default: any. Example: `1000`.
    #[serde(default)]
    pub uid: Option<u32>,
    /// The name of its user on the node, or the number of a user without a name. Default: any. Example: `batch`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub user: Option<Spanned<String>>,
}
