//! From a pod as the API server describes it to the facts that Egret uses.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod as Object, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use crate::model::{Pod, PodContainer, PodDescription};

/// The label by which a Deployment tells its ReplicaSets apart (`pod-template-hash` in Kubernetes' labels reference).
const TEMPLATE_HASH: &str = "pod-template-hash";

/// Most bytes of the labels of a pod, and of its annotations. Whoever makes a pod chooses them, and the API server lets it have 1.5 MB:
/// of a pod with more, nothing of what the API server says is known.
const MOST_BYTES: usize = 16 * 1024;

/// A pod, and its uid.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) uid: Arc<str>,
    pub(super) pod: Pod,
}

/// Returns the facts of a pod; nothing of an object without a name.
///
/// What stands at the API server for a static pod has another uid than the pod, which is in an annotation that anybody can write: static
/// pods are known by the kubelet's directories alone.
pub(super) fn described(object: Object) -> Option<Described> {
    let Object { metadata, spec, status } = object;
    let (namespace, name) = (metadata.namespace.as_deref()?.into(), metadata.name.as_deref()?.into());
    let uid = metadata.uid.as_deref()?.into();
    let labels = texts(metadata.labels);
    let controller = controller(metadata.owner_references.as_deref().unwrap_or_default(), &labels);
    let service_account = spec.as_ref().and_then(|spec| spec.service_account_name.as_deref()).map(Arc::from);
    let annotations = texts(metadata.annotations);
    let fits = bytes(&labels) <= MOST_BYTES && bytes(&annotations) <= MOST_BYTES;
    let description = PodDescription {
        controller,
        labels: Arc::new(labels),
        annotations: Arc::new(annotations),
        containers: containers(status.unwrap_or_default()),
    };
    let pod = Pod { namespace, name, service_account, described: fits.then_some(description) };
    Some(Described { uid, pod })
}

fn bytes(texts: &BTreeMap<Arc<str>, Arc<str>>) -> usize {
    texts.iter().map(|(name, text)| name.len() + text.len()).sum()
}

fn texts(texts: Option<BTreeMap<String, String>>) -> BTreeMap<Arc<str>, Arc<str>> {
    texts.unwrap_or_default().into_iter().map(|(name, text)| (name.into(), text.into())).collect()
}

/// Returns what manages a pod, as `KIND/NAME`: a Deployment in place of the ReplicaSet that it made, whose name ends with the hash in
/// the pod's label.
fn controller(owners: &[OwnerReference], labels: &BTreeMap<Arc<str>, Arc<str>>) -> Option<Arc<str>> {
    let owner = owners.iter().find(|owner| owner.controller == Some(true))?;
    let deployment = || {
        let hash = labels.get(TEMPLATE_HASH).filter(|_| owner.kind == "ReplicaSet")?;
        owner.name.strip_suffix(&**hash)?.strip_suffix('-')
    };
    Some(match deployment() {
        Some(name) => format!("Deployment/{name}").into(),
        None => format!("{}/{}", owner.kind, owner.name).into(),
    })
}

/// Returns the containers that the kubelet has reported, each with the image that its runtime named. The image in the pod's
/// specification can be changed while a container of the old one still runs.
fn containers(status: PodStatus) -> Vec<PodContainer> {
    let all = [status.container_statuses, status.init_container_statuses, status.ephemeral_container_statuses];
    let container = |reported: ContainerStatus| {
        // `containerd://ID`
        let id = reported.container_id.as_deref()?.rsplit_once("://")?.1.into();
        Some(PodContainer { id, name: reported.name.into(), image: reported.image.into() })
    };
    all.into_iter().flatten().flatten().filter_map(container).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(object: Value) -> Option<Described> {
        described(serde_json::from_value(object).unwrap())
    }

    fn of_deployment() -> Value {
        json!({
            "metadata": {
                "name": "api-6d9f-x2x", "namespace": "billing", "uid": "9d3f",
                "labels": {"app": "api", "pod-template-hash": "6d9f"},
                "annotations": {"team": "payments"},
                "ownerReferences": [
                    {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "api-6d9f", "uid": "1", "controller": true},
                ],
            },
            "spec": {"serviceAccountName": "invoicer", "containers": [{"name": "app", "image": "registry.example/api:next"}]},
            "status": {"containerStatuses": [
                {"name": "app", "image": "registry.example/api:7", "imageID": "", "ready": true, "restartCount": 0, "containerID": "containerd://3f4a"},
                {"name": "not-begun", "image": "x", "imageID": "", "ready": false, "restartCount": 0},
            ]},
        })
    }

    #[test]
    fn a_pod_of_a_deployment_is_known_by_the_deployment_and_its_containers_by_their_ids() {
        let Described { uid, pod } = read(of_deployment()).unwrap();
        assert_eq!((&*uid, &*pod.namespace, &*pod.name), ("9d3f", "billing", "api-6d9f-x2x"));
        assert_eq!(pod.service_account.as_deref(), Some("invoicer"));
        let description = pod.described.unwrap();
        assert_eq!(description.controller.as_deref(), Some("Deployment/api"));
        assert_eq!(description.labels.get("app").map(|text| &**text), Some("api"));
        assert_eq!(description.annotations.get("team").map(|text| &**text), Some("payments"));
        let app = PodContainer { id: "3f4a".into(), name: "app".into(), image: "registry.example/api:7".into() };
        assert_eq!(description.containers, [app]);
    }

    #[test]
    fn a_replica_set_of_no_deployment_is_itself_the_controller() {
        let mut object = of_deployment();
        object["metadata"]["labels"]["pod-template-hash"] = "other".into();
        assert_eq!(read(object).unwrap().pod.described.unwrap().controller.as_deref(), Some("ReplicaSet/api-6d9f"));
        let mut object = of_deployment();
        object["metadata"]["ownerReferences"][0]["controller"] = false.into();
        assert_eq!(read(object).unwrap().pod.described.unwrap().controller, None);
    }

    #[test]
    fn of_a_pod_with_more_labels_than_fit_nothing_is_known_but_its_names() {
        let mut object = of_deployment();
        object["metadata"]["annotations"]["large"] = "x".repeat(MOST_BYTES).into();
        let pod = read(object).unwrap().pod;
        assert_eq!((&*pod.name, pod.described), ("api-6d9f-x2x", None));
    }

    #[test]
    fn an_object_without_a_name_is_nothing() {
        assert_eq!(read(json!({"metadata": {"namespace": "billing", "uid": "1"}})), None);
        assert_eq!(read(json!({"metadata": {"name": "a", "namespace": "billing"}})), None);
    }
}
