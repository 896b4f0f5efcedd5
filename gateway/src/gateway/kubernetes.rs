//! What the Kubernetes API server says, where Egret asks it: of this node's pods, and of the nodes that run Egret.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::capture::Capture;
use crate::config;
use crate::kubernetes::{self, Access, Dial, Leases, Pods};
use crate::model::PodOf;
use crate::names::Names;

/// Longest wait, at start, for what the API server says: until then, a fact that only it can tell is unknown, and nothing that depends
/// on it is allowed.
const FIRST_PODS: Duration = Duration::from_secs(2);

/// The environment variable that a DaemonSet sets to `spec.nodeName`, by custom.
const NODE_NAME: &str = "NODE_NAME";

/// What is known from the API server.
pub(super) struct Kubernetes {
    /// The pods of this node.
    pub(super) pods: Arc<Pods>,
    /// The Leases of the nodes, where this one reports to the others.
    pub(super) leases: Option<Arc<Leases>>,
}

/// Follows the pods of the node that is configured, until stopped. Returns once the API server has told of them, or does not answer.
///
/// # Errors
/// The node has no name.
pub(super) async fn spawn_kubernetes(
    settings: &config::Kubernetes,
    capture: &Arc<Capture>,
    names: &Arc<Names>,
    stop: &CancellationToken,
) -> anyhow::Result<Kubernetes> {
    let pods = Arc::new(Pods::new(node(settings)?));
    let (capture, names) = (Arc::clone(capture), Arc::clone(names));
    let dial = Dial {
        exempt: Arc::new(move |socket| capture.exempt(socket)),
        resolve: Arc::new(move |host| {
            let names = Arc::clone(&names);
            Box::pin(async move { names.look_up(&host).await })
        }),
    };
    let access = Access { kubeconfig: settings.kubeconfig.clone(), dial };
    let leases = settings.fleet.then(|| Arc::new(Leases::new(access.clone(), pods.node().to_owned())));
    let watched = Arc::clone(&pods);
    tokio::spawn(stop.clone().run_until_cancelled_owned(async move { kubernetes::watch(&watched, &access).await }));
    let asked = tokio::time::timeout(FIRST_PODS, pods.asked()).await;
    if asked.is_err() {
        tracing::warn!(
            node = pods.node(),
            "the Kubernetes API server has not told of this node's pods yet: Egret starts without"
        );
    }
    Ok(Kubernetes { pods, leases })
}

/// Returns the finder of what the API server says of a pod.
pub(super) fn described_by(pods: &Arc<Pods>) -> PodOf {
    let pods = Arc::clone(pods);
    Box::new(move |uid| pods.get(uid))
}

/// Returns the name of this node: the configured one, that of the DaemonSet's pod, or the host's, which the kubelet takes in lower case.
fn node(settings: &config::Kubernetes) -> anyhow::Result<String> {
    let of_pod = || std::env::var(NODE_NAME).ok().filter(|name| !name.is_empty());
    match settings.node.clone().or_else(of_pod) {
        Some(name) => Ok(name),
        None => Ok(nix::unistd::gethostname()?.to_string_lossy().to_lowercase()),
    }
}
