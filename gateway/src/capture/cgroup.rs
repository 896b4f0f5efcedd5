use std::fs;
use std::path::PathBuf;

use super::Error;

/// Mount point of the cgroup v2 hierarchy: found, not assumed (pure v2, or beside v1).
pub fn cgroup_root() -> Result<PathBuf, Error> {
    const MOUNTS: &str = "/proc/self/mountinfo";
    let text =
        fs::read_to_string(MOUNTS).map_err(|source| Error::Path { what: "read", path: MOUNTS.into(), source })?;
    root_in(&text).ok_or(Error::NoCgroup)
}

/// Fields of a line: proc_pid_mountinfo(5).
fn root_in(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        if !filesystem.starts_with("cgroup2 ") {
            return None;
        }
        mount.split(' ').nth(4).map(PathBuf::from)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_and_hybrid_mounts_are_found() {
        let hybrid = "31 27 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      32 27 0:28 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        assert_eq!(root_in(hybrid), Some("/sys/fs/cgroup/unified".into()));
        let pure = "25 19 0:22 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(root_in(pure), Some("/sys/fs/cgroup".into()));
        assert_eq!(root_in("25 19 0:22 / /proc rw - proc proc rw\n"), None);
    }
}
