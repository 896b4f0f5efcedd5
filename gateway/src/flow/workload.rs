use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::unistd::{Uid, User};

use super::cgroup;
use super::kubelet::{Kubelet, Pod};
use crate::model::{Origin, Workload};

/// Cgroup ids and users to names, remembered.
#[derive(Debug)]
pub struct Workloads {
    root: PathBuf,
    kubelet: Kubelet,
    known: Mutex<HashMap<u64, Names>>,
    users: Mutex<HashMap<u32, (Arc<str>, Instant)>>,
}

/// What a cgroup is called.
#[derive(Clone, Debug)]
struct Names {
    owner: Arc<str>,
    name: Arc<str>,
    claimed_name: Option<Arc<str>>,
    cgroup: Arc<str>,
    unit: Option<Arc<str>>,
    container: Option<Arc<str>>,
    pod: Option<Arc<str>>,
    /// What Kubernetes calls it, as far as that was found.
    kubernetes: Option<Pod>,
    /// When that was looked for.
    looked: Option<Instant>,
}

/// A user who is given another name has it after this time.
const USER_KNOWN: Duration = Duration::from_secs(60);

/// A pod may be younger than what the kubelet says of it: after this time it is looked for again.
const NOT_FOUND_KNOWN: Duration = Duration::from_secs(1);

impl Workloads {
    /// Cgroups come and go: past this many the memory starts anew.
    const REMEMBERED: usize = 4096;

    /// Below this mount of the cgroup v2 hierarchy, on the node of this kubelet.
    pub fn new(root: PathBuf, kubelet: Kubelet) -> Self {
        Self { root, kubelet, known: Mutex::default(), users: Mutex::default() }
    }

    /// Who an origin is.
    pub fn identify(&self, origin: Origin) -> Workload {
        let Names { owner, name, claimed_name, cgroup, unit, container, pod, kubernetes, .. } =
            self.names_of(origin.cgroup, origin.pid, Instant::now());
        Workload {
            owner,
            name,
            claimed_name,
            cgroup,
            unit,
            container,
            pod,
            namespace: kubernetes.as_ref().map(|pod| Arc::clone(&pod.namespace)),
            pod_name: kubernetes.as_ref().map(|pod| Arc::clone(&pod.name)),
            service_account: kubernetes.and_then(|pod| pod.service_account),
            pid: origin.pid,
            uid: origin.uid,
            user: self.user(origin.uid),
            command: origin.command,
            // One link is read for each connection, while its process is surely there.
            executable: executable(origin.pid),
        }
    }

    fn names_of(&self, id: u64, pid: u32, now: Instant) -> Names {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get_mut(&id) {
            found.ask(&self.kubelet, now);
            return found.clone();
        }
        let Some(path) = self.of_process(id, pid).or_else(|| find(&self.root, &self.root, id)) else {
            return Names::unknown(id);
        };
        if known.len() >= Self::REMEMBERED {
            known.clear();
        }
        let names = known.entry(id).or_insert_with(|| Names::of(&path, self.kubelet.cgroup()));
        names.ask(&self.kubelet, now);
        names.clone()
    }

    /// The node's name of a user, or its number.
    fn user(&self, uid: u32) -> Arc<str> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((name, _)) = users.get(&uid).filter(|(_, since)| since.elapsed() < USER_KNOWN) {
            return Arc::clone(name);
        }
        let found = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        let name: Arc<str> = found.map_or_else(|| uid.to_string(), |user| user.name).into();
        if users.len() >= Self::REMEMBERED {
            users.clear();
        }
        users.insert(uid, (Arc::clone(&name), Instant::now()));
        name
    }

    /// What the process says, if its cgroup still is the one the kernel saw.
    fn of_process(&self, id: u64, pid: u32) -> Option<String> {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
        let directory = self.root.join(path.trim_start_matches('/'));
        (fs::metadata(directory).ok()?.ino() == id).then(|| path.to_owned())
    }
}

impl Names {
    fn of(path: &str, kubelet: Option<&str>) -> Self {
        let facts = cgroup::read(path, kubelet);
        let owner: Arc<str> = facts.owner.into();
        Self {
            name: Arc::clone(&owner),
            owner,
            claimed_name: facts.claimed.map(Arc::from),
            cgroup: path.into(),
            unit: facts.unit.map(Arc::from),
            container: facts.container.map(Arc::from),
            pod: facts.pod.as_deref().map(Arc::from),
            kubernetes: None,
            looked: None,
        }
    }

    /// A cgroup whose path cannot be found, because it is gone for example. All of them have one owner: a caller must not get a
    /// new one with each cgroup that it removes in time.
    fn unknown(id: u64) -> Self {
        let owner: Arc<str> = "unknown".into();
        Self { name: Arc::clone(&owner), owner, cgroup: format!("#{id}").into(), ..Self::of("/", None) }
    }

    /// What Kubernetes calls its pod, until all of that is known.
    fn ask(&mut self, kubelet: &Kubelet, now: Instant) {
        let Some(uid) = &self.pod else { return };
        let whole = self.kubernetes.as_ref().is_some_and(|pod| pod.service_account.is_some());
        if whole || self.looked.is_some_and(|since| now.duration_since(since) < NOT_FOUND_KNOWN) {
            return;
        }
        self.looked = Some(now);
        // What was found stays while a pod that ends loses its directories.
        let Some(pod) = kubelet.pod(uid) else { return };
        self.name = format!("{}/{}", pod.namespace, pod.name).into();
        self.kubernetes = Some(pod);
    }
}

/// What a process runs, as its own root names it; also after that was replaced by a newer one.
fn executable(pid: u32) -> Option<Arc<str>> {
    let path = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let path = path.to_string_lossy();
    // proc_pid_exe(5)
    Some(path.strip_suffix(" (deleted)").unwrap_or(&path).into())
}

/// The directory below `directory` with this inode.
fn find(root: &Path, directory: &Path, id: u64) -> Option<String> {
    if fs::metadata(directory).ok()?.ino() == id {
        let below = directory.strip_prefix(root).ok()?;
        return Some(format!("/{}", below.display()));
    }
    let entries = fs::read_dir(directory).ok()?;
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .find_map(|entry| find(root, &entry.path(), id))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "9d3f2b1a-4c5e-4f60-8a7b-112233445566";

    #[test]
    fn a_pod_gets_its_names_when_the_kubelet_says_them_and_keeps_them() {
        let directory = std::env::temp_dir().join(format!("egret-workloads-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        let (cgroups, logs) = (directory.join("cgroups"), directory.join("logs"));
        let [pod, service] = ["kubepods/besteffort", "system.slice"].map(|name| cgroups.join(name));
        let (pod, service) = (pod.join(format!("pod{UID}")), service.join("billing.service"));
        let id = |path: &Path| {
            fs::create_dir_all(path).unwrap();
            fs::metadata(path).unwrap().ino()
        };
        let (pod, service) = (id(&pod), id(&service));
        let workloads = Workloads::new(cgroups, Kubelet::new(directory.join("pods"), logs.clone(), None));
        let start = Instant::now();
        let called = |id, after| {
            let names = workloads.names_of(id, 0, start + after);
            (names.name.to_string(), names.kubernetes.map(|pod| pod.namespace.to_string()))
        };
        let nobody = || (format!("pod {UID}"), None);
        let found = || ("billing/api-0".to_owned(), Some("billing".to_owned()));

        assert_eq!(called(pod, Duration::ZERO), nobody());
        let log = logs.join(format!("billing_api-0_{UID}"));
        fs::create_dir_all(&log).unwrap();
        assert_eq!(called(pod, NOT_FOUND_KNOWN / 2), nobody(), "it is not looked for at each connection");
        assert_eq!(called(pod, NOT_FOUND_KNOWN), found());
        fs::remove_dir(log).unwrap();
        assert_eq!(called(pod, NOT_FOUND_KNOWN * 3), found(), "it is the same pod while it ends");
        assert_eq!(called(service, Duration::ZERO), ("billing.service".to_owned(), None));
        fs::remove_dir_all(directory).unwrap();
    }
}
