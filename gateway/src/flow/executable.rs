//! The file that a process runs, where that is a file of the node's.

use std::ffi::OsString;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use moka::sync::Cache;
use nix::fcntl::{OFlag, open, readlinkat};
use nix::sys::stat::{Mode, fstatat};

use super::lookups::Lookups;

/// What processes run. It remembers the processes that connected last.
#[derive(Debug)]
pub(super) struct Executables {
    known: Cache<u32, Arc<Process>>,
    lookups: Lookups,
}

/// A process that connected lately.
#[derive(Debug)]
struct Process {
    directory: Directory,
    /// What its link leads to, in its own mount namespace.
    link: OsString,
    /// The node's file, where that is the same.
    file: Option<Arc<str>>,
    looked: Instant,
}

/// The directory of a process in /proc. It is of this process alone: it is empty once the process is gone, also where another
/// process gets its number.
#[derive(Debug)]
struct Directory(OwnedFd);

impl Executables {
    /// Each of them is a descriptor.
    const REMEMBERED: u64 = 256;
    const IDLE: Duration = Duration::from_secs(10);
    /// A process may get another file at the same path, in a mount namespace of its own: after this time it is looked at again.
    const KNOWN: Duration = Duration::from_secs(1);
    const THREADS: usize = 16;
    const SHARE: usize = 4;
    const PATIENCE: Duration = Duration::from_millis(500);

    pub(super) fn new() -> Self {
        Self {
            known: Cache::builder().max_capacity(Self::REMEMBERED).time_to_idle(Self::IDLE).build(),
            lookups: Lookups::new(Self::THREADS, Self::SHARE, Self::PATIENCE),
        }
    }

    /// Returns the path of the file that a process of this owner runs, or `None` if that cannot be known.
    pub(super) async fn of(&self, pid: u32, owner: &Arc<str>) -> Option<Arc<str>> {
        let now = Instant::now();
        if let Some(known) = self.known.get(&pid)
            && now.duration_since(known.looked) < Self::KNOWN
            && known.directory.link("exe").as_ref() == Some(&known.link)
        {
            return known.file.clone();
        }
        let directory = Directory::of(pid)?;
        let link = directory.link("exe")?;
        let process = if directory.shares_the_nodes_mounts() {
            let file = of_the_node(&link);
            Process { directory, link, file, looked: now }
        } else {
            let look = move || {
                let file = directory.same_on_the_node(&link);
                Process { directory, link, file, looked: now }
            };
            self.lookups.run(owner, look).await?
        };
        let file = process.file.clone();
        self.known.insert(pid, Arc::new(process));
        file
    }
}

/// Returns the path of what a process in the node's own mount namespace and root directory runs. The kernel's word is enough there:
/// only root can put another file at a path.
fn of_the_node(link: &OsString) -> Option<Arc<str>> {
    // proc_pid_exe(5)
    link.to_str().filter(|path| path.starts_with('/') && !path.ends_with(" (deleted)")).map(Arc::from)
}

/// The root directory of the node's first process: paths in it mean what they mean on the node where Egret runs in a container.
const NODE: &str = "/proc/1/root/";

impl Directory {
    fn of(pid: u32) -> Option<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        open(Path::new(&format!("/proc/{pid}")), flags, Mode::empty()).ok().map(Self)
    }

    /// Returns where a link leads. The kernel says it without a look at what it leads to.
    fn link(&self, name: &str) -> Option<OsString> {
        readlinkat(&self.0, name).ok()
    }

    /// Returns whether the process, and Egret, are in the mount namespace of the node's first process, and the process in its root
    /// directory.
    fn shares_the_nodes_mounts(&self) -> bool {
        static NODES: OnceLock<Option<OsString>> = OnceLock::new();
        let mounts = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok().map(PathBuf::into_os_string);
        let nodes = NODES.get_or_init(|| {
            mounts("1").filter(|nodes| sees_the_nodes_processes() && mounts("self").as_ref() == Some(nodes))
        });
        nodes.is_some() && self.link("ns/mnt") == *nodes && self.link("root").is_some_and(|root| root == "/")
    }

    /// Returns the path of what the process runs, if the node has the very same file (device and inode) at this path. In a mount
    /// namespace of its own, which needs no privilege, a process can give any path to any file. A file that was replaced while it
    /// runs is not known either.
    fn same_on_the_node(&self, link: &OsString) -> Option<Arc<str>> {
        if !sees_the_nodes_processes() {
            return None;
        }
        let path = link.to_str()?;
        let below = path.strip_prefix('/')?;
        let own = fstatat(&self.0, "exe", nix::fcntl::AtFlags::empty()).ok()?;
        let node = Some(Path::new(NODE)).filter(|root| root.join(".").exists()).unwrap_or(Path::new("/"));
        let nodes = fs::metadata(node.join(below)).ok()?;
        ((own.st_dev, own.st_ino) == (nodes.dev(), nodes.ino())).then(|| path.into())
    }
}

/// Returns whether process ids that the kernel reports are those of /proc: the node's PID namespace has a fixed number
/// (`PROC_PID_INIT_INO` in the kernel's proc_ns.h).
pub fn sees_the_nodes_processes() -> bool {
    fs::read_link("/proc/self/ns/pid").is_ok_and(|link| link.as_os_str() == "pid:[4026531836]")
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    async fn file(executables: &Executables, pid: u32) -> Option<PathBuf> {
        executables.of(pid, &"a.service".into()).await.map(|path| PathBuf::from(&*path))
    }

    fn path(program: &str) -> Option<PathBuf> {
        fs::canonicalize(program).ok()
    }

    fn waiting_shell() -> Child {
        let program = "echo; read line; exec /bin/sleep 60";
        Command::new("/bin/sh").args(["-c", program]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    }

    #[test]
    fn both_ways_to_know_a_file_agree() {
        let own = Directory::of(std::process::id()).unwrap();
        let link = own.link("exe").unwrap();
        assert_eq!(own.same_on_the_node(&link).as_deref().map(Path::new), std::env::current_exe().ok().as_deref());
        if own.shares_the_nodes_mounts() {
            assert_eq!(of_the_node(&link), own.same_on_the_node(&link));
        }
        assert!(Directory::of(u32::MAX).is_none());
    }

    #[tokio::test]
    async fn a_process_that_runs_another_file_is_known_by_that_at_once() {
        use std::io::{Read, Write};
        let executables = Executables::new();
        let mut child = waiting_shell();
        child.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        assert_eq!(file(&executables, child.id()).await, path("/bin/sh"));
        child.stdin.take().unwrap().write_all(b"\n").unwrap();
        let other = Directory::of(child.id()).unwrap();
        while other.link("exe").is_some_and(|link| Some(link) != path("/bin/sleep").map(PathBuf::into_os_string)) {
            tokio::task::yield_now().await;
        }
        assert_eq!(file(&executables, child.id()).await, path("/bin/sleep"));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(file(&executables, child.id()).await, None, "its number is free");
    }
}
