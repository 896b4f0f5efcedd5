//! Which instances have been replaced. The kubelet starts a container again that has ended, also in a pod that a newer one has
//! replaced; such a process must not take over from the newer one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::start_lock::StartLock;
use super::stop::Signals;
use crate::admin::{Client, Error, Request, Response, Status};

/// How often a process that was replaced looks whether it is needed. Less than a process serves on after SIGTERM.
const PAUSE: Duration = Duration::from_millis(200);

/// Names of replaced instances that are kept; the oldest are forgotten.
const REMEMBERED: usize = 256;

/// The instance that this process is one of.
#[derive(Clone, Debug)]
pub(super) struct Instance {
    name: Option<String>,
    socket: PathBuf,
}

/// The right to start.
pub(super) struct Turn {
    /// Held until the process serves.
    pub(super) lock: StartLock,
    /// The instance of the running process, if this process makes it a replaced one.
    pub(super) replaces: Option<String>,
}

impl Instance {
    /// Takes the name of the instance, and the path of the admin socket.
    pub(super) fn new(name: Option<String>, socket: &Path) -> Self {
        Self { name, socket: socket.to_owned() }
    }

    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Waits until this process may start. Returns nothing if a signal ended the wait.
    pub(super) async fn turn(&self, signals: &mut Signals) -> anyhow::Result<Option<Turn>> {
        loop {
            if !self.needed(signals, false).await {
                return Ok(None);
            }
            let lock = tokio::select! {
                lock = StartLock::acquire(&self.socket) => lock?,
                _ = signals.next() => return Ok(None),
            };
            let daemon = self.daemon().await;
            if self.is_replaced() {
                // Another process may have started meanwhile. A newer instance is never replaced by an older one.
                if !daemon.serves_on() {
                    return Ok(Some(Turn { lock, replaces: None }));
                }
            } else {
                let replaces = daemon.instance();
                return Ok(Some(Turn { lock, replaces: replaces.filter(|other| Some(other) != self.name.as_ref()) }));
            }
        }
    }

    /// Waits while a newer instance serves, which it does if this process has `drained`, or was recorded as replaced. Returns whether none
    /// does; a signal ends the wait.
    pub(super) async fn needed(&self, signals: &mut Signals, drained: bool) -> bool {
        let mut told = false;
        while drained || self.is_replaced() {
            let daemon = tokio::select! {
                // One that came during the drain, too.
                biased;
                _ = signals.next() => return false,
                daemon = self.daemon() => daemon,
            };
            if !daemon.serves_on() {
                break;
            }
            if !told {
                tracing::info!("a newer instance serves: waiting until it ends, or until SIGTERM");
                told = true;
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                _ = signals.next() => return false,
            }
        }
        true
    }

    /// Records that an instance has been replaced.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn record(&self, replaced: &str) -> io::Result<()> {
        let (path, fresh) = (self.path(), self.socket.with_extension("replaced.new"));
        let text = fs::read_to_string(&path).unwrap_or_default();
        let names: Vec<_> = text.lines().filter(|name| *name != replaced).chain([replaced]).collect();
        let newest = names.get(names.len().saturating_sub(REMEMBERED)..).unwrap_or_default();
        fs::write(&fresh, newest.join("\n") + "\n")?;
        fs::rename(fresh, path)
    }

    fn is_replaced(&self) -> bool {
        let text = fs::read_to_string(self.path()).unwrap_or_default();
        self.name.as_deref().is_some_and(|name| text.lines().any(|replaced| replaced == name))
    }

    fn path(&self) -> PathBuf {
        self.socket.with_extension("replaced")
    }

    /// Returns which process listens on the admin socket.
    async fn daemon(&self) -> Daemon {
        let socket = self.socket.clone();
        let look = move || match Client::connect(&socket).map(|mut client| client.ask(&Request::Status)) {
            Err(Error::NoDaemon { .. }) | Ok(Err(Error::NoDaemon { .. })) => Daemon::None,
            Ok(Ok(Response::Status(status))) => Daemon::Responds(status),
            _ => Daemon::Silent,
        };
        tokio::task::spawn_blocking(look).await.unwrap_or(Daemon::Silent)
    }
}

/// The process that listens on the admin socket.
enum Daemon {
    None,
    Responds(Box<Status>),
    /// It does not respond in time, or is of a version whose response this one does not know. It may serve.
    Silent,
}

impl Daemon {
    fn serves_on(&self) -> bool {
        match self {
            Self::None => false,
            Self::Responds(status) => !status.stopping,
            Self::Silent => true,
        }
    }

    fn instance(self) -> Option<String> {
        match self {
            Self::Responds(status) => status.instance,
            Self::None | Self::Silent => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_replaced_instances_are_remembered() {
        let directory = std::env::temp_dir().join(format!("egret-instance-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let instance = |name: &str| Instance::new(Some(name.to_owned()), &directory.join("admin.sock"));
        assert!(!instance("a").is_replaced());
        instance("b").record("a").unwrap();
        assert!(instance("a").is_replaced() && !instance("b").is_replaced());
        assert!(!Instance::new(None, &directory.join("admin.sock")).is_replaced());
        for number in 0..REMEMBERED - 1 {
            instance("b").record(&number.to_string()).unwrap();
            instance("b").record(&number.to_string()).unwrap();
        }
        assert!(instance("a").is_replaced());
        instance("b").record("c").unwrap();
        assert!(!instance("a").is_replaced() && instance("0").is_replaced());
        fs::remove_dir_all(directory).unwrap();
    }
}
