use std::collections::BTreeMap;
use std::sync::Arc;

/// What Kubernetes calls a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// The namespace of the pod.
    pub namespace: Arc<str>,
    /// Its name in the namespace.
    pub name: Arc<str>,
    /// Its service account; absent where it is not known.
    pub service_account: Option<Arc<str>>,
    /// What the API server alone says; absent where it has not said it.
    pub described: Option<PodDescription>,
}

/// What the API server says of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodDescription {
    /// What manages it, like `Deployment/api`; absent where nothing does.
    pub controller: Option<Arc<str>>,
    /// The labels of the pod.
    pub labels: Arc<BTreeMap<Arc<str>, Arc<str>>>,
    /// The annotations of the pod.
    pub annotations: Arc<BTreeMap<Arc<str>, Arc<str>>>,
    /// Its containers that have begun, as far as the kubelet has reported them.
    pub containers: Vec<PodContainer>,
}

/// A container of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodContainer {
    /// The id that its runtime gave it, which its cgroup is named for.
    pub id: Arc<str>,
    /// Its name in the pod.
    pub name: Arc<str>,
    /// Its image, as the runtime names it.
    pub image: Arc<str>,
}

/// Finds what the API server says of the pod with this uid. It does not wait.
pub type PodOf = Box<dyn Fn(&str) -> Option<Arc<Pod>> + Send + Sync>;
