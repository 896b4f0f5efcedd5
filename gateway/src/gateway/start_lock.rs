//! One process at a time starts: of several that start at once, each takes over from the one before.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::Instant;

/// Maximum wait for other processes that are starting.
const PATIENCE: Duration = Duration::from_secs(90);

/// Held by the process that is starting, until it serves. The kernel releases it if the process ends.
pub(super) struct StartLock {
    /// Locked while it is open.
    _file: File,
}

impl StartLock {
    /// Waits until no other process is starting. The lock file is beside the admin socket and is never removed.
    pub(super) async fn acquire(socket: &Path) -> anyhow::Result<Self> {
        let path = socket.with_extension("lock");
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
        }
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.with_context(|| format!("cannot open {}", path.display()))?;
        let deadline = Instant::now() + PATIENCE;
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) if Instant::now() > deadline => {
                    bail!("another egret has been starting for {} s: stop it first", PATIENCE.as_secs());
                }
                Err(TryLockError::WouldBlock) => {
                    if !told {
                        tracing::info!("another egret is starting: waiting until it serves");
                        told = true;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("cannot lock {}", path.display()));
                }
            }
        }
    }
}
