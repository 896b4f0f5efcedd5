//! What Kubernetes calls pods, cached.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::sync::Cache;

use super::kubelet::Kubelet;
use super::lookups::Lookups;
use crate::model::{Pod, PodOf};

/// The pods of this node.
pub(super) struct Pods {
    described: Option<PodOf>,
    kubelet: Arc<Kubelet>,
    known: Cache<Arc<str>, Entry>,
    lookups: Lookups,
}

#[derive(Clone, Debug)]
struct Entry {
    /// As far as it was found.
    pod: Option<Arc<Pod>>,
    looked: Instant,
}

/// A pod may be younger than the kubelet's directories of it: after this time it is looked for again.
const NOT_FOUND_KNOWN: Duration = Duration::from_secs(1);

impl std::fmt::Debug for Pods {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pods").field("kubelet", &self.kubelet).finish_non_exhaustive()
    }
}

impl Pods {
    const REMEMBERED: u64 = 4096;
    const THREADS: usize = 8;
    const SHARE: usize = 1;
    const PATIENCE: Duration = Duration::from_millis(500);

    /// Takes the kubelet's directories, and what the API server says, where it is asked.
    pub(super) fn new(kubelet: Kubelet, described: Option<PodOf>) -> Self {
        Self {
            described,
            kubelet: Arc::new(kubelet),
            known: Cache::new(Self::REMEMBERED),
            lookups: Lookups::new(Self::THREADS, Self::SHARE, Self::PATIENCE),
        }
    }

    /// Returns what Kubernetes calls the pod with this uid, as far as it is known now. The API server's word is the whole one.
    pub(super) async fn named(&self, uid: &Arc<str>, now: Instant) -> Option<Arc<Pod>> {
        match self.described.as_ref().and_then(|described| described(uid)) {
            Some(pod) => Some(pod),
            None => self.on_node(uid, now).await,
        }
    }

    /// Returns what the kubelet's directories call it.
    async fn on_node(&self, uid: &Arc<str>, now: Instant) -> Option<Arc<Pod>> {
        let before = self.known.get(uid);
        if let Some(Entry { pod, looked }) = &before {
            let whole = pod.as_ref().is_some_and(|pod| pod.service_account.is_some());
            if whole || now.duration_since(*looked) < NOT_FOUND_KNOWN {
                return pod.clone();
            }
        }
        let (kubelet, asked) = (Arc::clone(&self.kubelet), Arc::clone(uid));
        let found = self.lookups.run(uid, move || kubelet.pod(&asked)).await.flatten();
        // What was found stays while a pod that ends loses its directories.
        let pod = found.map(Arc::new).or_else(|| before.and_then(|before| before.pod));
        self.known.insert(Arc::clone(uid), Entry { pod: pod.clone(), looked: now });
        pod
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const UID: &str = "9d3f2b1a-4c5e-4f60-8a7b-112233445566";

    #[tokio::test]
    async fn a_pod_gets_its_names_when_the_kubelet_says_them_and_keeps_them() {
        let directory = std::env::temp_dir().join(format!("egret-pods-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        let logs = directory.join("logs");
        let pods = Pods::new(Kubelet::new(directory.join("pods"), logs.clone(), None), None);
        let start = Instant::now();
        let uid = UID.into();
        let named = async |after| pods.named(&uid, start + after).await.map(|pod| pod.namespace.to_string());
        let found = || Some("billing".to_owned());

        assert_eq!(named(Duration::ZERO).await, None);
        let log = logs.join(format!("billing_api-0_{UID}"));
        fs::create_dir_all(&log).unwrap();
        assert_eq!(named(NOT_FOUND_KNOWN / 2).await, None, "it is not looked for at each connection");
        assert_eq!(named(NOT_FOUND_KNOWN).await, found());
        fs::remove_dir(log).unwrap();
        assert_eq!(named(NOT_FOUND_KNOWN * 3).await, found(), "it is the same pod while it ends");
        fs::remove_dir_all(directory).unwrap();
    }
}
