//! Network namespaces that exist before their first caller: those of processes when Egret starts, and those that a container runtime
//! makes before it starts a container.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use notify::event::{CreateKind, EventKind, ModifyKind, RenameMode};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use crate::gateway::deserted::{NAMED, inode_in};

/// A network namespace.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// A file of it.
    pub(super) path: PathBuf,
    pub(super) from: From,
}

/// Where a namespace was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// A directory of a container runtime.
    Runtime(&'static str),
    /// A process in this cgroup, by the inode number of its directory.
    Process(u64),
}

/// What has happened in the directories of container runtimes.
#[derive(Debug)]
pub(super) enum Change {
    /// A file is new.
    Found(Found),
    /// A file is gone.
    Gone,
    /// Some changes were lost.
    Lost,
}

/// Watches the directories of container runtimes.
pub(super) struct Named {
    watcher: RecommendedWatcher,
    changes: mpsc::UnboundedReceiver<Change>,
    /// The directories that it watches, and their inode numbers.
    watched: HashMap<&'static str, u64>,
}

impl Named {
    pub(super) fn open() -> notify::Result<Self> {
        let (sender, changes) = mpsc::unbounded_channel();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // The receiver goes with the watcher.
            event
                .map_or_else(|_| vec![Change::Lost], changes_of)
                .into_iter()
                .for_each(|change| drop(sender.send(change)));
        })?;
        Ok(Self { watcher, changes, watched: HashMap::new() })
    }

    /// Watches the directories that exist by now, and returns what is in those that were not watched yet.
    pub(super) fn watch(&mut self) -> Vec<Found> {
        let mut found = Vec::new();
        for directory in NAMED {
            let inode = fs::metadata(directory).ok().map(|metadata| metadata.ino());
            if self.watched.get(directory).copied() == inode {
                continue;
            }
            if self.watched.remove(directory).is_some() {
                // It is gone.
                let _ = self.watcher.unwatch(Path::new(directory));
            }
            if let Some(inode) = inode
                && self.watcher.watch(Path::new(directory), RecursiveMode::NonRecursive).is_ok()
            {
                self.watched.insert(directory, inode);
                found.extend(within(directory));
            }
        }
        found
    }

    /// Returns what is in the directories that it watches.
    pub(super) fn all(&self) -> Vec<Found> {
        self.watched.keys().copied().flat_map(within).collect()
    }

    /// Waits for a change. Cancel-safe.
    pub(super) async fn next(&mut self) -> Change {
        self.changes.recv().await.unwrap_or(Change::Lost)
    }
}

fn changes_of(event: notify::Event) -> Vec<Change> {
    if event.need_rescan() {
        return vec![Change::Lost];
    }
    match event.kind {
        EventKind::Create(CreateKind::File | CreateKind::Any | CreateKind::Other)
        | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => {
            event.paths.into_iter().filter_map(found).map(Change::Found).collect()
        }
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => vec![Change::Gone],
        _ => Vec::new(),
    }
}

fn found(path: PathBuf) -> Option<Found> {
    let directory = NAMED.into_iter().find(|directory| path.parent() == Some(Path::new(directory)))?;
    Some(Found { path, from: From::Runtime(directory) })
}

fn within(directory: &'static str) -> Vec<Found> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| Found { path: entry.path(), from: From::Runtime(directory) }).collect()
}

/// Returns the network namespaces of processes in this cgroup and below, each once, but for those with these inode numbers. It reads
/// files.
pub(super) fn of_processes(cgroup: &Path, mut known: HashSet<u64>) -> Vec<Found> {
    let (mut found, mut cgroups) = (Vec::new(), vec![cgroup.to_owned()]);
    while let Some(cgroup) = cgroups.pop() {
        let below = fs::read_dir(&cgroup).into_iter().flatten().flatten();
        cgroups
            .extend(below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()));
        let Ok(metadata) = fs::metadata(&cgroup) else { continue };
        for process in fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default().lines() {
            let path = Path::new("/proc").join(process).join("ns/net");
            let inode = fs::read_link(&path).ok().as_deref().and_then(inode_in);
            if inode.is_some_and(|inode| known.insert(inode)) {
                found.push(Found { path, from: From::Process(metadata.ino()) });
            }
        }
    }
    found
}

/// Returns a process in this cgroup or below for each network namespace, by inode number, and its cgroup. It reads files.
pub(super) fn by_namespace(cgroup: &Path) -> HashMap<u64, (u32, u64)> {
    let fact = |Found { path, from }: Found| {
        let From::Process(cgroup) = from else { return None };
        let pid = path.components().nth(2)?.as_os_str().to_str()?.parse().ok()?;
        Some((inode_in(&fs::read_link(&path).ok()?)?, (pid, cgroup)))
    };
    of_processes(cgroup, HashSet::new()).into_iter().filter_map(fact).collect()
}

/// Returns the inode number of the network namespace of this process.
pub(super) fn own() -> Option<u64> {
    fs::read_link("/proc/self/ns/net").ok().as_deref().and_then(inode_in)
}
