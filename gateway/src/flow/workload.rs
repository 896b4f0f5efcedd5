use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::cgroups::{Cgroups, PathOf};
use super::executable::Executables;
use super::kubelet::Kubelet;
use super::pods::Pods;
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

    /// Returns who an origin is.
    pub async fn identify(&self, origin: Origin) -> Workload {
        let names = self.cgroups.names(origin.cgroup, origin.pid).await;
        let owner = &names.owner;
        let pod = async {
            match &names.pod {
                Some(uid) => self.pods.named(uid, Instant::now()).await,
                None => None,
            }
        };
        let (pod, user, executable) =
            tokio::join!(pod, self.users.name(origin.uid, owner), self.executables.of(origin.pid, owner));
        let service_account = pod.as_ref().and_then(|pod| pod.service_account.clone());
        Workload {
            owner: Arc::clone(owner),
            name: match &pod {
                Some(pod) => format!("{}/{}", pod.namespace, pod.name).into(),
                None => Arc::clone(owner),
            },
            claimed_name: names.claimed_name.clone(),
            cgroup: Arc::clone(&names.cgroup),
            unit: names.unit.clone(),
            container: names.container.clone(),
            unknown: Unknown {
                cgroup: names.unknown,
                pod: names.pod.is_some() && pod.is_none(),
                service_account: names.pod.is_some() && service_account.is_none(),
                user: user.unknown,
            },
            pod: names.pod.clone(),
            namespace: pod.as_ref().map(|pod| Arc::clone(&pod.namespace)),
            pod_name: pod.map(|pod| pod.name),
            service_account,
            pid: origin.pid,
            uid: origin.uid,
            user: user.text,
            command: origin.command,
            executable,
        }
    }
}
