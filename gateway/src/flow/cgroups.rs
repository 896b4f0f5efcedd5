//! From the id of a cgroup, which the kernel reports, to its path and its owner.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use moka::sync::Cache;
use nix::errno::Errno;

use super::cgroup;
use super::lookups::Lookups;
use crate::model::{Identity, Pod, Unknown};

/// Finds the path of a cgroup by its id, in constant time: ESTALE if there is none (any more).
pub type PathOf = Box<dyn Fn(u64) -> io::Result<String> + Send + Sync>;

/// What the path of a cgroup says, of the cgroups that were seen last.
#[derive(Debug)]
pub(super) struct Cgroups {
    finder: Arc<Finder>,
    known: Cache<u64, Arc<Names>>,
    missing: Cache<u64, ()>,
    lookups: Lookups,
}

/// Who the processes in a cgroup are.
#[derive(Debug)]
pub(super) struct Names {
    /// As far as the path says.
    of_path: Arc<Identity>,
    /// The id of the owner's cgroup; that of the caller's own, where the owner is not known.
    pub(super) owner_cgroup: u64,
    /// With what Kubernetes said of its pod last.
    with_pod: Mutex<Option<(Arc<Pod>, Arc<Identity>)>>,
}

pub(super) struct Finder {
    root: PathBuf,
    kubelet: Option<String>,
    path_of: PathOf,
    warned: Once,
}

impl Cgroups {
    const REMEMBERED: u64 = 4096;
    const MISSING: Duration = Duration::from_secs(1);
    const THREADS: usize = 8;
    const PATIENCE: Duration = Duration::from_secs(1);

    /// Below this mount of the cgroup v2 hierarchy; the kubelet makes `kubepods` below the cgroup `kubelet`.
    pub(super) fn new(root: PathBuf, kubelet: Option<String>, path_of: PathOf) -> Self {
        Self {
            finder: Arc::new(Finder { root, kubelet, path_of, warned: Once::new() }),
            known: Cache::new(Self::REMEMBERED),
            missing: Cache::builder().max_capacity(Self::REMEMBERED).time_to_live(Self::MISSING).build(),
            lookups: Lookups::new(Self::THREADS, Self::THREADS, Self::PATIENCE),
        }
    }

    /// Returns what finds the cgroups.
    pub(super) fn finder(&self) -> Arc<Finder> {
        Arc::clone(&self.finder)
    }

    /// Returns who lives in the cgroup with this id, from which process `pid` connected.
    pub(super) async fn names(&self, id: u64, pid: u32) -> Arc<Names> {
        if let Some(names) = self.known.get(&id) {
            return names;
        }
        if !self.missing.contains_key(&id) {
            let finder = Arc::clone(&self.finder);
            // Nobody can make these lookups slow, and whose they are is what is looked for.
            match self.lookups.run(&"".into(), move || finder.find(id, pid)).await {
                Some(Some(names)) => {
                    let names = Arc::new(names);
                    self.known.insert(id, Arc::clone(&names));
                    return names;
                }
                Some(None) => self.missing.insert(id, ()),
                None => {}
            }
        }
        Arc::new(Names::unknown(id))
    }
}

impl std::fmt::Debug for Finder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Finder").field("root", &self.root).finish_non_exhaustive()
    }
}

impl Finder {
    fn find(&self, id: u64, pid: u32) -> Option<Names> {
        let path = match (self.path_of)(id) {
            Ok(path) => path,
            Err(error) if error.raw_os_error() == Some(Errno::ESTALE as i32) => return None,
            Err(error) => {
                self.warned.call_once(|| {
                    tracing::warn!(
                        %error,
                        "cgroups cannot be found by their ids: Egret asks /proc, which knows only processes that still run. \
                         Grant CAP_DAC_READ_SEARCH"
                    );
                });
                self.of_process(id, pid)?
            }
        };
        let slices = cgroup::slices(&path).take_while(|slice| self.belongs_to_root(slice)).count();
        Some(self.names(id, &path, slices))
    }

    /// Returns who lives in the cgroup with this id, whose path begins with so many slices in which root alone makes cgroups.
    pub(super) fn names(&self, id: u64, path: &str, slices: usize) -> Names {
        let facts = cgroup::read(path, slices, self.kubelet.as_deref());
        let owners = path.split('/').filter(|part| !part.is_empty()).take(facts.depth);
        let owners = owners.fold(self.root.clone(), |path, part| path.join(part));
        let owner_cgroup = fs::metadata(owners).map_or(id, |directory| directory.ino());
        Names::of(path, facts, owner_cgroup)
    }

    /// Whether root alone makes cgroups in this one. Where that is so, a name in it is not the word of another user.
    fn belongs_to_root(&self, path: &str) -> bool {
        fs::metadata(self.below_root(path)).is_ok_and(|directory| directory.uid() == 0)
    }

    /// Returns what the process says, if its cgroup still is the one that the kernel saw.
    fn of_process(&self, id: u64, pid: u32) -> Option<String> {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
        (fs::metadata(self.below_root(path)).ok()?.ino() == id).then(|| path.to_owned())
    }

    pub(super) fn below_root(&self, path: &str) -> PathBuf {
        self.root.join(Path::new(path.trim_start_matches('/')))
    }
}

impl Names {
    fn of(path: &str, facts: cgroup::Facts<'_>, owner_cgroup: u64) -> Self {
        let is_pod = facts.pod.is_some();
        Self::new(
            Identity {
                claimed_name: facts.claimed.map(Arc::from),
                cgroup: path.into(),
                unit: facts.unit.map(Arc::from),
                container: facts.container.map(Arc::from),
                pod: facts.pod.as_deref().map(Arc::from),
                // Until Kubernetes has said something of it.
                unknown: Unknown {
                    pod: is_pod,
                    service_account: is_pod,
                    described: is_pod,
                    container: is_pod,
                    ..Unknown::default()
                },
                ..Identity::of(facts.owner)
            },
            owner_cgroup,
        )
    }

    /// A cgroup whose path cannot be found, because it is gone for example. All of them have one owner: a caller must not get a
    /// new one with each cgroup that it removes in time.
    fn unknown(id: u64) -> Self {
        Self::new(
            Identity {
                cgroup: format!("#{id}").into(),
                unknown: Unknown { cgroup: true, ..Unknown::default() },
                ..Identity::of("unknown")
            },
            id,
        )
    }

    fn new(identity: Identity, owner_cgroup: u64) -> Self {
        Self { of_path: Arc::new(identity), owner_cgroup, with_pod: Mutex::default() }
    }

    pub(super) fn owner(&self) -> &Arc<str> {
        &self.of_path.owner
    }

    pub(super) fn container(&self) -> Option<&Arc<str>> {
        self.of_path.container.as_ref()
    }

    /// Returns the uid of the pod.
    pub(super) fn pod(&self) -> Option<&Arc<str>> {
        self.of_path.pod.as_ref()
    }

    /// Returns who they are, with what Kubernetes says of their pod.
    pub(super) fn identity(&self, pod: Option<Arc<Pod>>) -> Arc<Identity> {
        let Some(pod) = pod else { return Arc::clone(&self.of_path) };
        let mut before = self.with_pod.lock().unwrap_or_else(PoisonError::into_inner);
        match &*before {
            Some((known, identity)) if Arc::ptr_eq(known, &pod) => Arc::clone(identity),
            _ => {
                let identity = Arc::new(self.in_pod(&pod));
                *before = Some((pod, Arc::clone(&identity)));
                identity
            }
        }
    }

    fn in_pod(&self, pod: &Pod) -> Identity {
        let described = pod.described.as_ref();
        let ours = self.of_path.container.as_ref();
        let container =
            described.and_then(|described| described.containers.iter().find(|container| Some(&container.id) == ours));
        Identity {
            name: format!("{}/{}", pod.namespace, pod.name).into(),
            namespace: Some(Arc::clone(&pod.namespace)),
            pod_name: Some(Arc::clone(&pod.name)),
            service_account: pod.service_account.clone(),
            controller: described.and_then(|described| described.controller.clone()),
            container_name: container.map(|container| Arc::clone(&container.name)),
            image: container.map(|container| Arc::clone(&container.image)),
            labels: described.map(|described| Arc::clone(&described.labels)).unwrap_or_default(),
            annotations: described.map(|described| Arc::clone(&described.annotations)).unwrap_or_default(),
            unknown: Unknown {
                pod: false,
                service_account: pod.service_account.is_none(),
                described: described.is_none(),
                container: container.is_none(),
                ..self.of_path.unknown
            },
            ..Identity::clone(&self.of_path)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn gone() -> io::Result<String> {
        Err(Errno::ESTALE.into())
    }

    #[tokio::test]
    async fn cgroups_that_are_gone_have_one_owner_and_are_not_looked_for_at_each_connection() {
        static ASKED: AtomicU32 = AtomicU32::new(0);
        let path_of: PathOf = Box::new(|_| {
            ASKED.fetch_add(1, Ordering::Relaxed);
            gone()
        });
        let cgroups = Cgroups::new("/nowhere".into(), None, path_of);
        for _ in 0..50 {
            let [one, other] = [cgroups.names(1, 0).await, cgroups.names(2, 0).await];
            assert_eq!((&*one.of_path.cgroup, &*other.of_path.cgroup), ("#1", "#2"));
            assert_eq!((&**one.owner(), &**other.owner()), ("unknown", "unknown"));
        }
        assert!(ASKED.load(Ordering::Relaxed) <= 4);
    }

    #[tokio::test]
    async fn where_ids_are_not_permitted_the_process_is_asked_if_it_still_is_in_that_cgroup() {
        let directory = std::env::temp_dir().join(format!("egret-cgroups-{}", std::process::id()));
        let own = fs::read_to_string("/proc/self/cgroup").unwrap();
        let own = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap();
        let path = directory.join(own.trim_start_matches('/'));
        fs::create_dir_all(&path).unwrap();
        let id = fs::metadata(&path).unwrap().ino();
        let cgroups = Cgroups::new(directory.clone(), None, Box::new(|_| Err(Errno::EPERM.into())));
        assert_eq!(&*cgroups.names(id, std::process::id()).await.of_path.cgroup, own);
        assert_eq!(&**cgroups.names(id + 1, std::process::id()).await.owner(), "unknown");
        fs::remove_dir_all(directory).unwrap();
    }

    #[tokio::test]
    async fn a_unit_in_a_slice_that_belongs_to_a_user_is_only_claimed() {
        let directory = std::env::temp_dir().join(format!("egret-slices-{}", std::process::id()));
        fs::create_dir_all(directory.join("batch.slice")).unwrap();
        let path_of = || -> PathOf { Box::new(|_| Ok("/batch.slice/billing.service".to_owned())) };
        let names = async |id| Cgroups::new(directory.clone(), None, path_of()).names(id, 0).await;
        assert_eq!(
            (&**names(1).await.owner(), names(1).await.of_path.unit.as_deref()),
            ("billing.service", Some("billing.service"))
        );
        std::os::unix::fs::chown(directory.join("batch.slice"), Some(12345), None).unwrap();
        let forged = names(1).await;
        assert_eq!((&**forged.owner(), forged.of_path.unit.as_deref()), ("/batch.slice", None));
        assert_eq!(forged.of_path.claimed_name.as_deref(), Some("billing.service"));
        fs::remove_dir_all(directory).unwrap();
    }
}
