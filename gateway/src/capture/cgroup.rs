use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Error;

const MOUNTS: &str = "/proc/self/mountinfo";

/// The cgroups that are captured.
#[derive(Debug)]
pub(super) struct Tree {
    /// Mount point of the hierarchy; the hooks are attached to its root.
    pub(super) root: PathBuf,
    /// The captured cgroup: the root, or one below it.
    pub(super) captured: PathBuf,
    /// Inode number of a captured cgroup below the root.
    pub(super) below: Option<u64>,
}

/// Returns the mount point of the cgroup v2 hierarchy: found, not assumed (pure v2, or beside v1).
pub fn cgroup_root() -> Result<PathBuf, Error> {
    mounts()?.into_iter().next().ok_or(Error::NoCgroup)
}

/// Returns the hierarchy of a configured cgroup, or the first one where none is configured.
pub(super) fn tree(configured: Option<&Path>) -> Result<Tree, Error> {
    let Some(captured) = configured else {
        let root = cgroup_root()?;
        return Ok(Tree { captured: root.clone(), root, below: None });
    };
    let failed = |cause: io::Error| Error::Path { what: "open", path: captured.to_owned(), cause };
    let captured = fs::canonicalize(captured).map_err(failed)?;
    let inode = fs::metadata(&captured).map_err(failed)?.ino();
    let root = root_of(&captured, mounts()?).ok_or_else(|| {
        failed(io::Error::other("it is not in a cgroup v2 hierarchy: name one that is in capture.cgroup"))
    })?;
    let below = (root != captured).then_some(inode);
    Ok(Tree { root, captured, below })
}

fn mounts() -> Result<Vec<PathBuf>, Error> {
    let text = fs::read_to_string(MOUNTS).map_err(|cause| Error::Path { what: "read", path: MOUNTS.into(), cause })?;
    Ok(mounts_in(&text))
}

/// Fields of a line: proc_pid_mountinfo(5).
fn mounts_in(mountinfo: &str) -> Vec<PathBuf> {
    let mount = |line: &str| {
        let (mount, filesystem) = line.split_once(" - ")?;
        if !filesystem.starts_with("cgroup2 ") {
            return None;
        }
        mount.split(' ').nth(4).map(PathBuf::from)
    };
    mountinfo.lines().filter_map(mount).collect()
}

/// Returns the innermost mount that a cgroup is below.
fn root_of(cgroup: &Path, mounts: Vec<PathBuf>) -> Option<PathBuf> {
    mounts.into_iter().filter(|mount| cgroup.starts_with(mount)).max_by_key(|mount| mount.components().count())
}

/// Finds the paths of cgroups by their ids.
#[derive(Debug)]
pub struct CgroupPaths {
    root: PathBuf,
    mount: File,
}

/// A file handle of open_by_handle_at(2) for a cgroup: `struct file_handle` with the id as its bytes.
#[repr(C)]
struct Handle {
    bytes: libc::c_uint,
    kind: libc::c_int,
    id: u64,
}

impl CgroupPaths {
    /// Takes the mount point of the cgroup v2 hierarchy.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn new(root: PathBuf) -> Result<Self, Error> {
        let mount = File::open(&root).map_err(|cause| Error::Path { what: "open", path: root.clone(), cause })?;
        Ok(Self { root, mount })
    }

    /// Returns the path below the root of the cgroup with this id. It takes the same time however many cgroups there are.
    ///
    /// # Errors
    /// `ESTALE` if there is no such cgroup (any more), `EPERM` without CAP_DAC_READ_SEARCH, `ENAMETOOLONG` if the path is longer
    /// than a page.
    pub fn path(&self, id: u64) -> io::Result<String> {
        let directory = self.open(id)?;
        let found = fs::read_link(format!("/proc/self/fd/{}", directory.as_raw_fd()))?;
        let below = found.strip_prefix(&self.root).map_err(|_| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(format!("/{}", below.display()))
    }

    /// Returns whether there is no cgroup with this id any more. Where that cannot be found out, there is one.
    pub fn is_gone(&self, id: u64) -> bool {
        self.open(id).is_err_and(|error| error.raw_os_error() == Some(libc::ESTALE))
    }

    /// Returns whether a cgroup is this one, or below it. One that is gone is not.
    pub(super) fn is_in(&self, id: u64, outer: u64) -> bool {
        let is_below = || -> io::Result<bool> { Ok(Path::new(&self.path(id)?).starts_with(self.path(outer)?)) };
        id == outer || is_below().unwrap_or(false)
    }

    fn open(&self, id: u64) -> io::Result<OwnedFd> {
        /// `FILEID_KERNFS` in the kernel's exportfs.h.
        const KERNFS: libc::c_int = 0xfe;
        let bytes = size_of::<u64>() as libc::c_uint;
        let mut handle = Handle { bytes, kind: KERNFS, id };
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
        // SAFETY: `handle` begins as `struct file_handle` does and has as many bytes after it as it says; it lives for the whole
        // call, which only reads it.
        let fd = unsafe { libc::open_by_handle_at(self.mount.as_raw_fd(), (&raw mut handle).cast(), flags) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call succeeded, so this is a new descriptor that nobody else owns.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "31 27 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                          32 27 0:28 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n\
                          33 27 0:28 / /host/cgroup rw,relatime - cgroup2 cgroup2 rw\n";

    #[test]
    fn a_cgroup_is_found_by_its_id_until_it_is_gone() {
        let root = cgroup_root().unwrap();
        let path = root.join(format!("egret-paths-{}/inner", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        let id = fs::metadata(&path).unwrap().ino();
        let paths = CgroupPaths::new(root.clone()).unwrap();
        assert!(!paths.is_gone(id));
        assert_eq!(paths.path(id).unwrap(), format!("/{}", path.strip_prefix(&root).unwrap().display()));
        fs::remove_dir(&path).unwrap();
        fs::remove_dir(path.parent().unwrap()).unwrap();
        assert_eq!(paths.path(id).unwrap_err().raw_os_error(), Some(libc::ESTALE));
        assert!(paths.is_gone(id));
    }

    #[test]
    fn pure_and_hybrid_mounts_are_found() {
        assert_eq!(mounts_in(HYBRID), [PathBuf::from("/sys/fs/cgroup/unified"), "/host/cgroup".into()]);
        let pure = "25 19 0:22 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(mounts_in(pure), [PathBuf::from("/sys/fs/cgroup")]);
        assert!(mounts_in("25 19 0:22 / /proc rw - proc proc rw\n").is_empty());
    }

    #[test]
    fn a_captured_cgroup_belongs_to_the_mount_it_is_below() {
        let root = |cgroup: &str| root_of(Path::new(cgroup), mounts_in(HYBRID));
        assert_eq!(root("/host/cgroup/system.slice"), Some("/host/cgroup".into()));
        assert_eq!(root("/sys/fs/cgroup/unified"), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(root("/sys/fs/cgroup/cpu/a"), None);
        assert_eq!(root("/sys/fs/cgroup/unified-not"), None);
    }
}
