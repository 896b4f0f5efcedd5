//! Which network namespaces nobody is in any more.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Where container runtimes keep namespaces that have no process yet.
pub(super) const NAMED: [&str; 2] = ["/run/netns", "/run/docker/netns"];

/// Returns those of these network namespaces, by inode number, that no container runtime keeps, and in which no thread of a process is.
pub(super) fn deserted(mut namespaces: HashSet<u64>) -> HashSet<u64> {
    let entries = |directory: &Path| fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    for path in NAMED.iter().flat_map(|directory| entries(Path::new(directory))) {
        if let Ok(named) = fs::metadata(path) {
            namespaces.remove(&named.ino());
        }
    }
    let mut leave = |path: &Path| {
        if let Some(inode) = fs::read_link(path.join("ns/net")).ok().as_deref().and_then(inode_in) {
            namespaces.remove(&inode);
        }
        namespaces.is_empty()
    };
    let processes: Vec<_> = entries(Path::new("/proc")).collect();
    // Few processes have threads in several namespaces: most looks need no threads.
    if !processes.iter().any(|process| leave(process)) {
        processes.iter().flat_map(|process| entries(&process.join("task"))).any(|thread| leave(&thread));
    }
    namespaces
}

/// Returns the number in a link `net:[4026531840]` (proc_pid_ns(5)).
pub(super) fn inode_in(link: &Path) -> Option<u64> {
    link.to_str()?.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_namespace_of_a_running_process_is_inhabited() {
        let own = inode_in(&fs::read_link("/proc/self/ns/net").unwrap()).unwrap();
        assert_eq!(deserted(HashSet::from([own, 1])), HashSet::from([1]));
        assert_eq!(inode_in(Path::new("net:[4026531840]")), Some(4_026_531_840));
        assert_eq!(inode_in(Path::new("mnt:[1]")), None);
    }
}
