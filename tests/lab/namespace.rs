//! Network namespaces, and what runs in them.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// What the lab's processes have as /run/netns, in the directory of their files.
pub(crate) const NAMED: &str = "netns";
const RUN_NETNS: &str = "/run/netns";

/// A network namespace, named below /run/netns until dropped.
#[derive(Debug)]
pub(crate) struct Namespace(String);

impl Namespace {
    pub(crate) fn new(name: &str) -> Self {
        if Path::new("/run/netns").join(name).exists() {
            super::ip(&["netns", "delete", name]);
        }
        super::ip(&["netns", "add", name]);
        Self(name.to_owned())
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    /// Shows the namespace to the lab's processes, below /run/netns.
    pub(crate) fn show(&self, files: &Path) {
        // As the root of this process sees it: there it is mounted.
        let seen = format!("/proc/{}/root/run/netns/{}", std::process::id(), self.0);
        std::os::unix::fs::symlink(seen, files.join(NAMED).join(&self.0)).expect("a name for the namespace");
    }

    fn open(&self) -> File {
        File::open(Path::new("/run/netns").join(&self.0)).expect("the lab's namespace")
    }

    /// Moves the calling thread in.
    pub(crate) fn enter(&self) {
        setns(self.open(), CloneFlags::CLONE_NEWNET).expect("setns: run as root");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.0]).output();
    }
}

/// Where a process of the lab runs.
pub(crate) struct Place<'a> {
    pub(crate) namespace: &'a Namespace,
    pub(crate) cgroup: PathBuf,
    /// The mount namespace of which it gets a copy; else the test's.
    pub(crate) mounts: Option<&'a File>,
    /// Directory of the `hosts`, the `resolv.conf` and the `netns` that it has.
    pub(crate) files: &'a Path,
}

impl Place<'_> {
    /// The command will run here: in the namespace, in the cgroup before it makes any socket, with the lab's files
    /// in /etc and, in /run/netns, only the network namespaces that the lab or its runtime names. (`ip netns exec` would hide the cgroups.)
    pub(crate) fn put(&self, command: &mut Command) {
        let namespace = self.namespace.open();
        let procs = self.cgroup.join("cgroup.procs");
        let mounts = self.mounts.map(|mounts| mounts.try_clone().expect("a descriptor"));
        let files = self.files.to_owned();
        // SAFETY: between fork and exec only system calls are made on values prepared before.
        unsafe {
            command.pre_exec(move || {
                fs::write(&procs, "0")?;
                setns(&namespace, CloneFlags::CLONE_NEWNET)?;
                if let Some(mounts) = &mounts {
                    setns(mounts, CloneFlags::CLONE_NEWNS)?;
                }
                unshare(CloneFlags::CLONE_NEWNS)?;
                // Mounts of the host are received; those of /etc stay here.
                mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_SLAVE, NONE)?;
                mount_files(&files)?;
                if mounts.is_none() {
                    mount(Some(&files.join(NAMED)), RUN_NETNS, NONE, MsFlags::MS_BIND, NONE)?;
                }
                Ok(())
            });
        }
    }

    /// The command will run here, in this mount namespace itself.
    pub(crate) fn put_into(&self, mounts: &File, command: &mut Command) {
        let (namespace, mounts) = (self.namespace.open(), mounts.try_clone().expect("a descriptor"));
        let procs = self.cgroup.join("cgroup.procs");
        // SAFETY: as above.
        unsafe {
            command.pre_exec(move || {
                fs::write(&procs, "0")?;
                setns(&namespace, CloneFlags::CLONE_NEWNET)?;
                Ok(setns(&mounts, CloneFlags::CLONE_NEWNS)?)
            });
        }
    }
}

const NONE: Option<&str> = None;

/// Puts the lab's files into /etc.
fn mount_files(files: &Path) -> io::Result<()> {
    for (file, path) in [("hosts", "/etc/hosts"), ("resolv.conf", "/etc/resolv.conf")] {
        mount(Some(&files.join(file)), path, NONE, MsFlags::MS_BIND, NONE)?;
    }
    Ok(())
}

/// Mount namespaces of a lab with a container runtime.
pub(crate) struct Mounts {
    /// The node's: the directory of named network namespaces is the runtime's.
    pub(crate) node: File,
    /// The runtime's: it has all of its files, and a pure hierarchy of cgroups.
    pub(crate) runtime: File,
}

/// Makes the mount namespaces of a lab with a container runtime, whose files are in memory in this directory.
pub(crate) fn mounts_of_runtime(files: &Path, storage: &Path) -> Mounts {
    const OWN: &str = "/proc/thread-self/ns/mnt";
    fs::create_dir_all(storage).expect("a directory for the containers");
    let make = || -> io::Result<Mounts> {
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
        in_memory(Path::new(RUN_NETNS))?;
        // What is mounted there in one of the two is seen in both.
        mount(NONE, RUN_NETNS, NONE, MsFlags::MS_SHARED, NONE)?;
        let node = File::open(OWN)?;
        unshare(CloneFlags::CLONE_NEWNS)?;
        for directory in ["/dev/shm", "/run/lock", "/run/containers", "/var/lib/containers"] {
            in_memory(Path::new(directory))?;
        }
        in_memory(storage)?;
        mount_files(files)?;
        umount2("/sys/fs/cgroup", MntFlags::MNT_DETACH)?;
        mount(Some("cgroup2"), "/sys/fs/cgroup", Some("cgroup2"), MsFlags::empty(), NONE)?;
        Ok(Mounts { node, runtime: File::open(OWN)? })
    };
    // The thread that enters them ends with them.
    std::thread::scope(|scope| scope.spawn(make).join()).expect("a thread").expect("mount namespaces: run as root")
}

fn in_memory(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    Ok(mount(Some("tmpfs"), directory, Some("tmpfs"), MsFlags::empty(), NONE)?)
}

/// Pins must be seen by every process of the lab, each of which has a mount namespace of its own.
pub(crate) fn mount_bpffs() {
    const BPFFS: &str = "/sys/fs/bpf";
    let mounted =
        || nix::sys::statfs::statfs(BPFFS).is_ok_and(|found| found.filesystem_type() == nix::sys::statfs::BPF_FS_MAGIC);
    if !mounted() {
        eprintln!("lab: mounting a bpffs at {BPFFS}, for the pins of the hooks");
        let made = mount(Some("bpf"), BPFFS, Some("bpf"), MsFlags::empty(), None::<&str>);
        assert!(made.is_ok() || mounted(), "cannot mount a bpffs at {BPFFS}: {made:?}; run as root");
    }
}

/// Ends what still runs in a cgroup of the lab and below it, then removes it.
pub(crate) fn empty(cgroup: &Path) {
    let below = fs::read_dir(cgroup).into_iter().flatten().flatten().map(|entry| entry.path());
    below.filter(|path| path.is_dir()).for_each(|path| empty(&path));
    let end = Instant::now() + Duration::from_secs(5);
    while cgroup.exists() && fs::remove_dir(cgroup).is_err() && Instant::now() < end {
        for pid in fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default().lines() {
            if let Ok(pid) = pid.parse() {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
