//! Network namespaces, and what runs in them.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

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
    /// Directory of the lab's `hosts` and `resolv.conf`.
    pub(crate) files: &'a Path,
}

impl Place<'_> {
    /// The command will run here: in the namespace, in the cgroup before it makes any socket, with the lab's files
    /// in /etc. (`ip netns exec` would hide the cgroups.)
    pub(crate) fn put(&self, command: &mut Command) {
        let namespace = self.namespace.open();
        let procs = self.cgroup.join("cgroup.procs");
        let (hosts, resolv) = (self.files.join("hosts"), self.files.join("resolv.conf"));
        // SAFETY: between fork and exec only system calls are made on values prepared before.
        unsafe {
            command.pre_exec(move || {
                const NONE: Option<&str> = None;
                fs::write(&procs, "0")?;
                setns(&namespace, CloneFlags::CLONE_NEWNET)?;
                unshare(CloneFlags::CLONE_NEWNS)?;
                // Received mounts (a bpffs) stay visible on the host; those of /etc do not.
                mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
                mount(Some(&hosts), "/etc/hosts", NONE, MsFlags::MS_BIND, NONE)?;
                mount(Some(&resolv), "/etc/resolv.conf", NONE, MsFlags::MS_BIND, NONE)?;
                Ok(())
            });
        }
    }
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
