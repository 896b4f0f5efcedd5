//! Whether this process runs in a container, and which of the node's files it sees there.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The node's PID namespace has a fixed number (`PROC_PID_INIT_INO` in the kernel's proc_ns.h), and so has its cgroup namespace.
const NODES_PIDS: &str = "pid:[4026531836]";
const NODES_CGROUPS: &str = "cgroup:[4026531835]";

/// A mount of this process: a line of /proc/self/mountinfo (proc_pid_mountinfo(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The directory of the file system that is mounted.
    pub root: String,
    /// Where it is mounted.
    pub at: PathBuf,
    /// The type of the file system.
    pub kind: String,
    /// Whether nothing can be written through this mount.
    pub read_only: bool,
}

/// Returns the mounts that this process sees, innermost last; none if that cannot be read.
pub fn mounts() -> Vec<Mount> {
    fs::read_to_string("/proc/self/mountinfo").map(|text| text.lines().filter_map(mount).collect()).unwrap_or_default()
}

fn mount(line: &str) -> Option<Mount> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut fields = mount.split(' ').skip(3);
    let (root, at, options) = (fields.next()?, fields.next()?, fields.next()?);
    Some(Mount {
        root: root.to_owned(),
        at: at.into(),
        kind: filesystem.split(' ').next()?.to_owned(),
        read_only: options.split(',').any(|option| option == "ro"),
    })
}

/// Returns whether this process has the node's PID namespace.
pub fn has_nodes_pids() -> bool {
    is_in("pid", NODES_PIDS)
}

/// Returns whether this process has the node's cgroup namespace.
pub fn has_nodes_cgroups() -> bool {
    is_in("cgroup", NODES_CGROUPS)
}

fn is_in(kind: &str, namespace: &str) -> bool {
    fs::read_link(format!("/proc/self/ns/{kind}")).is_ok_and(|link| link.as_os_str() == namespace)
}

/// Returns whether this process is in the same namespace of a kind as the first process that it sees; nothing if that cannot be read.
pub fn is_with_the_first(kind: &str) -> Option<bool> {
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
    Some(namespace("self")? == namespace("1")?)
}

/// Returns whether this process runs in a container. A unit of systemd with a mount namespace of its own is taken for one.
pub fn is_container() -> bool {
    !has_nodes_pids() || is_with_the_first("mnt") == Some(false)
}

/// Returns whether a directory of this process and of the node's first process are on one file system; nothing if that cannot be read.
pub fn is_nodes(directory: &Path) -> Option<bool> {
    if !has_nodes_pids() {
        return None;
    }
    let nodes = Path::new("/proc/1/root").join(directory.strip_prefix("/").ok()?);
    let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).ok();
    Some(device(directory)? == device(&nodes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_read_with_its_options() {
        let line = "31 27 0:27 /../.. /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw,nsdelegate";
        let expected = Mount {
            root: "/../..".to_owned(),
            at: "/sys/fs/cgroup".into(),
            kind: "cgroup2".to_owned(),
            read_only: true,
        };
        assert_eq!(mount(line), Some(expected));
        assert!(!mount("1 2 0:3 / / rw,shared:1 - ext4 /dev/vda ro").unwrap().read_only);
        assert_eq!(mount("nothing"), None);
        assert!(mounts().iter().any(|mount| mount.at == Path::new("/proc")));
    }
}
