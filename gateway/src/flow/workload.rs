use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::cgroups::{Cgroups, Names, PathOf};
use super::executable::Executables;
use super::kubelet::{Kubelet, Pod};
use super::pods::Pods;
use super::tree::Tree;
use super::users::Users;
use crate::model::{Origin, Unknown, Workload};

/// Tells who a connection is from, by what the kernel reports of it.
#[derive(Debug)]
pub struct Workloads {
    cgroups: Cgroups,
    pods: Pods,
    users: Users,
    executables: Executables,
}

impl Workloads {
    /// Takes the mount of the cgroup v2 hierarchy, a way to find the paths of cgroups, and the node's kubelet.
    pub fn new(root: PathBuf, path_of: PathOf, kubelet: Kubelet) -> Self {
        Self {
            cgroups: Cgroups::new(root, kubelet.cgroup().map(str::to_owned), path_of),
            pods: Pods::new(kubelet),
            users: Users::new(),
            executables: Executables::new(),
        }
    }

    /// Returns the owner of the processes in a cgroup, and the id of the owner's cgroup, which all of its processes are in or below.
    pub async fn owner(&self, cgroup: u64) -> (Arc<str>, u64) {
        let names = self.cgroups.names(cgroup, 0).await;
        (Arc::clone(&names.owner), names.owner_cgroup)
    }

    /// Returns the node's cgroups, to be looked at with [`Workloads::cgroups`].
    ///
    /// # Errors
    /// The kernel has no room for one more inotify instance.
    pub fn tree(&self) -> io::Result<Tree> {
        Tree::new(self.cgroups.finder())
    }

    /// Returns the ids of the node's cgroups, each after the one above it, and what is known of all of their processes. Processes,
    /// users and executables are empty.
    pub async fn cgroups(&self, tree: &Arc<Tree>) -> Vec<(u64, Workload)> {
        let walking = Arc::clone(tree);
        let found = tokio::task::spawn_blocking(move || walking.walk()).await.unwrap_or_default();
        let mut all = Vec::with_capacity(found.len());
        for (id, names) in found {
            all.push((id, of(&names, self.pod(&names).await)));
        }
        all
    }

    /// Returns what is known of all processes in a cgroup. Processes, users and executables are empty.
    pub async fn in_cgroup(&self, cgroup: u64) -> Workload {
        let names = self.cgroups.names(cgroup, 0).await;
        of(&names, self.pod(&names).await)
    }

    async fn pod(&self, names: &Names) -> Option<Pod> {
        match &names.pod {
            Some(uid) => self.pods.named(uid, Instant::now()).await,
            None => None,
        }
    }

    /// Returns who an origin is.
    pub async fn identify(&self, origin: Origin) -> Workload {
        let names = self.cgroups.names(origin.cgroup, origin.pid).await;
        let owner = &names.owner;
        let (pod, user, executable) =
            tokio::join!(self.pod(&names), self.users.name(origin.uid, owner), self.executables.of(origin.pid, owner));
        let facts = of(&names, pod);
        Workload {
            unknown: Unknown { user: user.unknown, ..facts.unknown },
            pid: origin.pid,
            uid: origin.uid,
            user: user.text,
            command: origin.command,
            executable,
            ..facts
        }
    }
}

/// Returns what a cgroup says of the processes in it.
fn of(names: &Names, pod: Option<Pod>) -> Workload {
    let service_account = pod.as_ref().and_then(|pod| pod.service_account.clone());
    Workload {
        owner: Arc::clone(&names.owner),
        name: match &pod {
            Some(pod) => format!("{}/{}", pod.namespace, pod.name).into(),
            None => Arc::clone(&names.owner),
        },
        claimed_name: names.claimed_name.clone(),
        cgroup: Arc::clone(&names.cgroup),
        unit: names.unit.clone(),
        container: names.container.clone(),
        unknown: Unknown {
            cgroup: names.unknown,
            pod: names.pod.is_some() && pod.is_none(),
            service_account: names.pod.is_some() && service_account.is_none(),
            user: false,
        },
        pod: names.pod.clone(),
        namespace: pod.as_ref().map(|pod| Arc::clone(&pod.namespace)),
        pod_name: pod.map(|pod| pod.name),
        service_account,
        ..Workload::default()
    }
}
