//! The directory of the pins, and the right of one process at a time to change what is pinned there.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};

use super::Error;
use super::container::{is_container, is_nodes};

/// Where a bpffs usually is.
const BPFFS: &str = "/sys/fs/bpf";

/// Why `--persist` cannot be kept.
const NOT_THE_NODES: &str = "this is not the node's bpffs, so the pins would end with the container, and all connections go direct then. \
     Mount the node's /sys/fs/bpf there (hostPath in a pod, `--volume /sys/fs/bpf:/sys/fs/bpf` with podman; on the node: `mount -t bpf \
     bpf /sys/fs/bpf`), or run without --persist";

/// Longest wait for a process that is ending and still holds the pins.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);

/// A lock on the directory of the pins. The kernel releases it with the process, however that ends.
#[derive(Debug)]
pub(super) struct Claim(Mutex<Option<Arc<File>>>);

impl Claim {
    fn held(directory: Arc<File>) -> Self {
        Self(Mutex::new(Some(directory)))
    }

    /// Gives the pins to the next process.
    pub(super) fn release(&self) {
        if let Some(directory) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // A thread that still waits for the lock holds the file as well.
            let _ = directory.unlock();
        }
    }
}

/// Makes the directory and claims it. During a take-over the running process holds the claim until it has handed over.
/// Fails if the pins must outlive this process's container, but their bpffs would end with it.
pub(super) fn claim(pins: &Path, taking_over: bool, outlive: bool) -> Result<Claim, Error> {
    let end = Instant::now() + PATIENCE;
    loop {
        prepare(pins, outlive)?;
        let failed = |what: &'static str| move |cause: io::Error| Error::Path { what, path: pins.to_owned(), cause };
        let directory = Arc::new(File::open(pins).map_err(failed("open"))?);
        match directory.try_lock() {
            Ok(()) if is_at(&directory, pins) => return Ok(Claim::held(directory)),
            // The process that ended has removed the directory meanwhile.
            Ok(()) => {}
            Err(TryLockError::WouldBlock) if taking_over => {
                let waiting = Arc::clone(&directory);
                let wait = move || drop(waiting.lock());
                std::thread::Builder::new().name("pins".to_owned()).spawn(wait).map_err(failed("wait for"))?;
                return Ok(Claim::held(directory));
            }
            Err(TryLockError::WouldBlock) if Instant::now() < end => std::thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => return Err(Error::InUse { pins: pins.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(failed("lock")(error)),
        }
    }
}

/// Whether an open directory is the one that the path names now.
fn is_at(directory: &File, path: &Path) -> bool {
    let same = |open: fs::Metadata, named: fs::Metadata| (open.dev(), open.ino()) == (named.dev(), named.ino());
    directory.metadata().is_ok_and(|open| fs::metadata(path).is_ok_and(|named| same(open, named)))
}

/// Makes the directory, on a bpffs, which is mounted where it usually is if it is not there yet.
fn prepare(pins: &Path, outlive: bool) -> Result<(), Error> {
    let path_error =
        |what: &'static str, path: &Path, cause: io::Error| Error::Path { what, path: path.to_owned(), cause };
    if pins.starts_with(BPFFS) && !on_bpffs(Path::new(BPFFS)) {
        if is_container() && outlive {
            return Err(path_error("pin in", pins, io::Error::other(NOT_THE_NODES)));
        }
        tracing::info!(path = BPFFS, "mounting a bpffs, for the pins of the hooks");
        if is_container() {
            tracing::warn!(
                path = BPFFS,
                "this bpffs is in a mount namespace of Egret's own and ends with it: after a kill the hooks are gone and \
                 connections go direct. Mount one on the host: `mount -t bpf bpf /sys/fs/bpf`"
            );
        }
        mount(Some("bpf"), BPFFS, Some("bpf"), MsFlags::empty(), None::<&str>).map_err(|error| {
            let why = format!("{error}: mount one as root (`mount -t bpf bpf {BPFFS}`), or name one in capture.pins");
            path_error("mount a bpffs at", Path::new(BPFFS), io::Error::other(why))
        })?;
    }
    let created = fs::DirBuilder::new().recursive(true).mode(0o700).create(pins);
    created.map_err(|cause| path_error("make", pins, cause))?;
    if on_bpffs(pins) && outlive && is_nodes(pins) == Some(false) {
        Err(path_error("pin in", pins, io::Error::other(NOT_THE_NODES)))
    } else if on_bpffs(pins) {
        Ok(())
    } else {
        let why = io::Error::other("not on a bpffs: choose capture.pins below /sys/fs/bpf");
        Err(path_error("pin in", pins, why))
    }
}

/// Whether a path is on a bpffs.
pub(super) fn on_bpffs(path: &Path) -> bool {
    nix::sys::statfs::statfs(path).is_ok_and(|found| found.filesystem_type() == nix::sys::statfs::BPF_FS_MAGIC)
}
