use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::cgroups::{Cgroups, Names, PathOf};
use super::executable::Executables;
use super::kubelet::Kubelet;
use super::pods::Pods;
use super::tree::Tree;
use super::users::Users;
use crate::model::{Identity, Origin, Pod, PodOf, Workload};

/// Tells who a connection is from, by what the kernel reports of it.
#[derive(Debug)]
pub struct Workloads {
    cgroups: Cgroups,
    pods: Pods,
    users: Users,
    executables: Executables,
}

impl Workloads {
    /// Takes the mount of the cgroup v2 hierarchy, a way to find the paths of cgroups, the node's kubelet, and what the API server
    /// says of the node's pods, where it is asked.
    pub fn new(root: PathBuf, path_of: PathOf, kubelet: Kubelet, described: Option<PodOf>) -> Self {
        Self {
            cgroups: Cgroups::new(root, kubelet.cgroup().map(str::to_owned), path_of),
            pods: Pods::new(kubelet, described),
            users: Users::new(),
            executables: Executables::new(),
        }
    }

    /// Returns the owner of the processes in a cgroup, and the id of the owner's cgroup, which all of its processes are in or below.
    pub async fn owner(&self, cgroup: u64) -> (Arc<str>, u64) {
        let names = self.cgroups.names(cgroup, 0).await;
        (Arc::clone(names.owner()), names.owner_cgroup)
    }

    /// Returns the node's cgroups, to be looked at with [`Workloads::cgroups`].
    ///
    /// # Errors
    /// The kernel has no room for one more inotify instance.
    pub fn tree(&self) -> io::Result<Tree> {
        Tree::new(self.cgroups.finder())
    }

    /// Returns the ids of the node's cgroups, each after the one above it, and who all of their processes are.
    pub async fn cgroups(&self, tree: &Arc<Tree>) -> Vec<(u64, Arc<Identity>)> {
        let walking = Arc::clone(tree);
        let found = tokio::task::spawn_blocking(move || walking.walk()).await.unwrap_or_default();
        let mut all = Vec::with_capacity(found.len());
        for (id, names) in found {
            all.push((id, names.identity(self.pod(&names).await)));
        }
        all
    }

    /// Returns who all processes in a cgroup are.
    pub async fn in_cgroup(&self, cgroup: u64) -> Arc<Identity> {
        let names = self.cgroups.names(cgroup, 0).await;
        names.identity(self.pod(&names).await)
    }

    async fn pod(&self, names: &Names) -> Option<Arc<Pod>> {
        match names.pod() {
            Some(uid) => self.pods.named(uid, Instant::now()).await,
            None => None,
        }
    }

    /// Returns who an origin is.
    pub async fn identify(&self, origin: Origin) -> Workload {
        let names = self.cgroups.names(origin.cgroup, origin.pid).await;
        let owner = names.owner();
        let (pod, user, executable) =
            tokio::join!(self.pod(&names), self.users.name(origin.uid, owner), self.executables.of(origin.pid, owner));
        Workload {
            identity: names.identity(pod),
            pid: origin.pid,
            uid: origin.uid,
            user: user.text,
            user_unknown: user.unknown,
            command: origin.command,
            executable,
        }
    }
}
