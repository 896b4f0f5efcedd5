use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::{Origin, Workload};

/// Cgroup ids to names, remembered.
#[derive(Debug)]
pub struct Workloads {
    root: PathBuf,
    known: Mutex<HashMap<u64, Names>>,
}

/// What a cgroup is called.
#[derive(Clone, Debug)]
struct Names {
    name: Arc<str>,
    cgroup: Arc<str>,
}

impl Workloads {
    /// Cgroups come and go: past this many the memory starts anew.
    const REMEMBERED: usize = 4096;

    /// Below this mount of the cgroup v2 hierarchy.
    pub fn new(root: PathBuf) -> Self {
        Self { root, known: Mutex::default() }
    }

    /// Who an origin is.
    pub fn identify(&self, origin: Origin) -> Workload {
        let Names { name, cgroup } = self.names_of(origin.cgroup, origin.pid);
        Workload { name, cgroup, pid: origin.pid, uid: origin.uid, command: origin.command }
    }

    fn names_of(&self, id: u64, pid: u32) -> Names {
        let names = |cgroup: String| Names { name: name_of(&cgroup).into(), cgroup: cgroup.into() };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(&id) {
            return found.clone();
        }
        let Some(path) = self.of_process(id, pid).or_else(|| find(&self.root, &self.root, id)) else {
            return names(format!("#{id}"));
        };
        if known.len() >= Self::REMEMBERED {
            known.clear();
        }
        known.entry(id).or_insert_with(|| names(path)).clone()
    }

    /// What the process says, if its cgroup still is the one the kernel saw.
    fn of_process(&self, id: u64, pid: u32) -> Option<String> {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
        let directory = self.root.join(path.trim_start_matches('/'));
        (fs::metadata(directory).ok()?.ino() == id).then(|| path.to_owned())
    }
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

/// What a person calls it: the innermost systemd unit, container or pod in the path; else the path.
fn name_of(cgroup: &str) -> String {
    cgroup.rsplit('/').find_map(name_of_part).unwrap_or_else(|| cgroup.to_owned())
}

fn name_of_part(part: &str) -> Option<String> {
    const CONTAINER: usize = 64;
    let bare = part.strip_suffix(".scope").unwrap_or(part);
    let id = bare.rsplit(['-', ':']).next()?;
    if id.len() == CONTAINER && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Some(format!("container {}", &id[..12]));
    }
    if let Some((_, pod)) =
        bare.rsplit_once("pod").filter(|(before, pod)| (before.is_empty() || before.ends_with('-')) && pod.len() >= 32)
    {
        return Some(format!("pod {}", pod.trim_end_matches(".slice").replace('_', "-")));
    }
    (part.ends_with(".service") || part.ends_with(".scope")).then(|| part.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_names() {
        let id = "0123456789abcdef".repeat(4);
        for (path, name) in [
            ("/system.slice/billing.service".to_owned(), "billing.service"),
            (format!("/system.slice/docker-{id}.scope"), "container 0123456789ab"),
            (format!("/kubepods/burstable/pod1/{id}"), "container 0123456789ab"),
            ("/user.slice/session-3.scope".to_owned(), "session-3.scope"),
            ("/batch/nightly".to_owned(), "/batch/nightly"),
        ] {
            assert_eq!(name_of(&path), name);
        }
    }
}
