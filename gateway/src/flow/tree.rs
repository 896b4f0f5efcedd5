//! The cgroups of the node at which facts about workloads begin, and when there are new ones.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::io;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::sync::{Arc, Once};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::sync::Notify;

use super::cgroups::{Finder, Names};

/// Deepest level of cgroups that is looked at; the hooks look no deeper.
const DEEPEST: usize = 16;

/// Cgroups that are looked at for one owner.
const EACH: usize = 1024;

/// The cgroups that belong to root, down to those of containers. Below, and in cgroups that belong to another user, callers make
/// cgroups of their own, which are like the one above them.
pub struct Tree {
    finder: Arc<Finder>,
    watches: Arc<Inotify>,
    changed: Arc<Notify>,
    warned: Once,
}

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tree").finish_non_exhaustive()
    }
}

impl Tree {
    pub(super) fn new(finder: Arc<Finder>) -> io::Result<Self> {
        let watches = Arc::new(Inotify::init(InitFlags::IN_CLOEXEC)?);
        let (events, changed) = (Arc::clone(&watches), Arc::new(Notify::new()));
        let tell = Arc::clone(&changed);
        // It waits in the kernel for as long as the process lives.
        std::thread::Builder::new().name("cgroups".to_owned()).spawn(move || {
            while events.read_events().is_ok() {
                tell.notify_one();
            }
        })?;
        Ok(Self { finder, watches, changed, warned: Once::new() })
    }

    /// Waits until there may be cgroups that the last walk has not seen.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Returns the cgroups, each after the one above it. It reads directories.
    pub(super) fn walk(&self) -> Vec<(u64, Names)> {
        let mut found = Vec::new();
        let mut owners: HashMap<Arc<str>, usize> = HashMap::new();
        let mut left = VecDeque::from([(String::new(), 0, 0)]);
        while let Some((path, slices, level)) = left.pop_front() {
            let directory = self.finder.below_root(&path);
            // The watch comes first: what is created after it is seen by the next walk.
            let watched = self.watches.add_watch(&directory, AddWatchFlags::IN_CREATE | AddWatchFlags::IN_ONLYDIR);
            if let Err(error) = watched
                && error != Errno::ENOENT
            {
                self.warned.call_once(|| {
                    tracing::warn!(
                        %error,
                        "cannot watch all cgroups: new ones are found within a second. Raise fs.inotify.max_user_watches"
                    );
                });
            }
            let Ok(entries) = fs::read_dir(&directory) else { continue };
            for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
                let Ok(name) = entry.file_name().into_string() else { continue };
                let path = format!("{path}/{name}");
                let is_roots = entry.metadata().is_ok_and(|metadata| metadata.uid() == 0);
                let is_slice = is_roots && slices == level && name.ends_with(".slice");
                let slices = slices + usize::from(is_slice);
                let names = self.finder.names(entry.ino(), &path, slices);
                let seen = owners.entry(Arc::clone(names.owner())).or_default();
                *seen += 1;
                if *seen > EACH {
                    continue;
                }
                if is_roots && names.container().is_none() && level + 1 < DEEPEST {
                    left.push_back((path, slices, level + 1));
                }
                found.push((entry.ino(), names));
            }
        }
        found
    }
}
