//! The file that a process runs, where that is a file of the node's.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::lookups::Lookups;

/// What processes run.
#[derive(Debug)]
pub(super) struct Executables {
    lookups: Lookups,
}

impl Executables {
    const THREADS: usize = 16;
    const SHARE: usize = 4;
    const PATIENCE: Duration = Duration::from_millis(500);

    pub(super) fn new() -> Self {
        Self { lookups: Lookups::new(Self::THREADS, Self::SHARE, Self::PATIENCE) }
    }

    /// Returns the path of the file that a process of this owner runs, or `None` if that cannot be known.
    pub(super) async fn of(&self, pid: u32, owner: &Arc<str>) -> Option<Arc<str>> {
        if shares_the_nodes_mounts(pid) {
            return of_the_node(pid);
        }
        self.lookups.run(owner, move || executable(pid)).await.flatten()
    }
}

/// Returns the path of what a process in the node's own mount namespace and root directory runs. The kernel's word is enough there:
/// only root can put another file at a path. It reads a link of /proc, which does not touch the file that the link leads to.
fn of_the_node(pid: u32) -> Option<Arc<str>> {
    let path = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    // proc_pid_exe(5)
    path.to_str().filter(|path| path.starts_with('/') && !path.ends_with(" (deleted)")).map(Arc::from)
}

/// Returns whether a process, and Egret, are in the mount namespace of the node's first process, and the process in its root
/// directory. It reads links of /proc only.
fn shares_the_nodes_mounts(pid: u32) -> bool {
    static NODES: OnceLock<Option<PathBuf>> = OnceLock::new();
    let mounts = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    let nodes = NODES.get_or_init(|| {
        mounts("1").filter(|nodes| sees_the_nodes_processes() && mounts("self").as_ref() == Some(nodes))
    });
    let pid = pid.to_string();
    nodes.is_some()
        && mounts(&pid) == *nodes
        && fs::read_link(format!("/proc/{pid}/root")).is_ok_and(|root| root == Path::new("/"))
}

/// The root directory of the node's first process: paths in it mean what they mean on the node where Egret runs in a container.
const NODE: &str = "/proc/1/root/";

/// Returns the path of what a process runs, if the node has the very same file (device and inode) at this path. In a mount
/// namespace of its own, which needs no privilege, a process can give any path to any file. A file that was replaced while it
/// runs is not known either.
fn executable(pid: u32) -> Option<Arc<str>> {
    if !sees_the_nodes_processes() {
        return None;
    }
    let link = format!("/proc/{pid}/exe");
    let path = fs::read_link(&link).ok()?;
    let text = path.to_str()?;
    let below = text.strip_prefix('/')?;
    let file = |path: &Path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    let node = Some(Path::new(NODE)).filter(|root| root.join(".").exists()).unwrap_or(Path::new("/"));
    (file(Path::new(&link))? == file(&node.join(below))?).then(|| text.into())
}

/// Returns whether process ids that the kernel reports are those of /proc: the node's PID namespace has a fixed number
/// (`PROC_PID_INIT_INO` in the kernel's proc_ns.h).
pub fn sees_the_nodes_processes() -> bool {
    fs::read_link("/proc/self/ns/pid").is_ok_and(|link| link.as_os_str() == "pid:[4026531836]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_the_node_is_known_by_its_file() {
        let own = std::env::current_exe().unwrap();
        assert_eq!(executable(std::process::id()).as_deref(), own.to_str());
        assert_eq!(executable(u32::MAX), None);
        if shares_the_nodes_mounts(std::process::id()) {
            assert_eq!(of_the_node(std::process::id()), executable(std::process::id()));
        }
        assert!(!shares_the_nodes_mounts(u32::MAX));
    }
}
