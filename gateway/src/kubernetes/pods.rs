use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use lru::LruCache;
use tokio::sync::watch;

use super::facts::Described;
use crate::model::Pod;

/// Pods that the API server has forgotten, which are known until then: their last processes may still connect.
const GONE: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// Most pods of the node that are known. The kubelet runs 110, unless it is told otherwise (`maxPods`).
const MOST: usize = 2048;

/// The pods of this node, as the API server has described them.
#[derive(Debug)]
pub struct Pods {
    node: String,
    known: Mutex<Known>,
    /// Whether the API server has told of all pods once, or has not answered once.
    asked: watch::Sender<bool>,
}

#[derive(Debug)]
struct Known {
    pods: HashMap<Arc<str>, Arc<Pod>>,
    gone: LruCache<Arc<str>, Arc<Pod>>,
    status: Status,
}

/// How the watch is getting on.
#[derive(Clone, Debug)]
pub struct Status {
    /// The address of the API server, once it is known.
    pub server: Option<String>,
    /// Whether it answers.
    pub state: State,
    /// The time since which this holds.
    pub since: SystemTime,
    /// What went wrong last, while it does not answer.
    pub error: Option<String>,
}

/// Whether the API server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It has not said yet which pods there are.
    Starting,
    /// It tells of changes.
    Watching,
    /// It does not answer. What it said last holds.
    Away,
}

impl State {
    /// The spelling in the CLI and in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Watching => "watching",
            Self::Away => "away",
        }
    }
}

impl Pods {
    /// Knows no pod of the node with this name yet.
    pub fn new(node: String) -> Self {
        let status = Status { server: None, state: State::Starting, since: SystemTime::now(), error: None };
        let known = Mutex::new(Known { pods: HashMap::new(), gone: LruCache::new(GONE), status });
        Self { node, known, asked: watch::Sender::new(false) }
    }

    /// Returns the name of the node.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Returns the pod whose cgroup is named for this uid, if the API server has described it.
    pub fn get(&self, uid: &str) -> Option<Arc<Pod>> {
        let known = self.known();
        known.pods.get(uid).or_else(|| known.gone.peek(uid)).cloned()
    }

    /// Waits until the API server has told of all pods, or has been found not to answer.
    pub async fn asked(&self) {
        // The sender lives as long as this.
        let _ = self.asked.subscribe().wait_for(|asked| *asked).await;
    }

    /// Returns the number of pods.
    pub fn count(&self) -> usize {
        self.known().pods.len()
    }

    /// Returns how the watch is getting on.
    pub fn status(&self) -> Status {
        self.known().status.clone()
    }

    /// Takes all pods that there are.
    pub(super) fn replace(&self, all: Vec<Described>) {
        let mut known = self.known();
        let mut before = std::mem::take(&mut known.pods);
        for described in all {
            let old = before.remove(&described.uid);
            known.apply(described, old);
        }
        for (uid, pod) in before {
            known.gone.put(uid, pod);
        }
    }

    /// Takes a pod that is new or has changed.
    pub(super) fn apply(&self, described: Described) {
        let mut known = self.known();
        let old = known.pods.get(&described.uid).cloned();
        known.apply(described, old);
    }

    /// Takes a pod that is gone.
    pub(super) fn delete(&self, described: &Described) {
        let mut known = self.known();
        if let Some(pod) = known.pods.remove(&described.uid) {
            known.gone.put(Arc::clone(&described.uid), pod);
        }
    }

    pub(super) fn connecting_to(&self, server: String) {
        self.known().status.server = Some(server);
    }

    pub(super) fn watching(&self) {
        self.set_state(State::Watching, None);
    }

    pub(super) fn failed(&self, error: String) {
        self.set_state(State::Away, Some(error));
    }

    fn set_state(&self, state: State, error: Option<String>) {
        let mut known = self.known();
        if known.status.state != state {
            known.status.since = SystemTime::now();
        }
        known.status.state = state;
        known.status.error = error;
        drop(known);
        self.asked.send_replace(true);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn apply(&mut self, Described { uid, pod }: Described, old: Option<Arc<Pod>>) {
        if self.pods.len() >= MOST && !self.pods.contains_key(&uid) {
            return;
        }
        // What has not changed stays the same object: identities made of it hold.
        let pod = old.filter(|old| **old == pod).unwrap_or_else(|| Arc::new(pod));
        self.gone.pop(&uid);
        self.pods.insert(uid, pod);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kubernetes::facts::described;

    fn pod(name: &str, uid: &str, app: &str) -> Described {
        let metadata = json!({"name": name, "namespace": "billing", "uid": uid, "labels": {"app": app}});
        described(serde_json::from_value(json!({"metadata": metadata})).unwrap()).unwrap()
    }

    fn name(pods: &Pods, uid: &str) -> Option<String> {
        pods.get(uid).map(|pod| pod.name.to_string())
    }

    #[test]
    fn a_pod_that_is_gone_stays_known_and_one_that_has_not_changed_stays_the_same() {
        let pods = Pods::new("node-7".to_owned());
        pods.replace(vec![pod("api-0", "1", "api"), pod("api-1", "2", "api")]);
        let before = pods.get("1").unwrap();
        pods.replace(vec![pod("api-0", "1", "api")]);
        assert!(Arc::ptr_eq(&before, &pods.get("1").unwrap()));
        assert_eq!((pods.count(), name(&pods, "2").as_deref()), (1, Some("api-1")));
        pods.apply(pod("api-0", "1", "other"));
        assert_eq!(&*pods.get("1").unwrap().described.as_ref().unwrap().labels["app"], "other");
        pods.delete(&pod("api-0", "1", "other"));
        assert_eq!((pods.count(), name(&pods, "1").as_deref()), (0, Some("api-0")));
        assert_eq!(name(&pods, "3"), None);
    }

    #[test]
    fn a_flood_of_pods_is_bounded() {
        let pods = Pods::new("node-7".to_owned());
        let all = |from: usize| (from..from + 3000).map(|uid| pod("flood", &uid.to_string(), "x")).collect();
        pods.replace(all(0));
        assert_eq!(pods.count(), MOST);
        pods.replace(all(10_000));
        assert_eq!(pods.count(), MOST);
        assert!(pods.known().gone.len() <= GONE.get());
    }
}
