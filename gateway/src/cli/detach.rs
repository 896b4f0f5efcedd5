use std::path::PathBuf;

use clap::Args;
use nix::sys::signal::{SigSet, Signal};

use super::{Daemon, Failure, ask, out};
use crate::model::number;
use crate::{admin, capture, config, gateway};

#[derive(Debug, Args)]
pub(super) struct Detach {
    /// The directory in which the hooks are pinned.
    #[arg(long, value_name = "PATH", default_value = config::DEFAULT_PINS)]
    pins: PathBuf,
    /// Also remove the files that Egret leaves: the CA with its key, quotas, refresh tokens, and what is beside the admin socket. No
    /// daemon may run.
    #[arg(long)]
    purge: bool,
    /// Remove nothing; exit with 1 if hooks or files of Egret are left.
    #[arg(long, conflicts_with_all = ["purge", "stay"])]
    check: bool,
    /// Afterwards wait for SIGTERM or SIGINT, as a pod must that would be started again.
    #[arg(long)]
    stay: bool,
    #[command(flatten)]
    daemon: Daemon,
    /// The directory in which Egret stores what outlives it, as `state.directory` has it.
    #[arg(long, value_name = "PATH", default_value = config::DEFAULT_STATE)]
    state: PathBuf,
}

impl Detach {
    pub(super) fn run(self) -> Result<(), Failure> {
        let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
        if self.stay {
            // From the start: a signal during the removal ends the wait.
            signals.thread_block().map_err(std::io::Error::from)?;
        }
        if self.check {
            return self.left();
        }
        let nobody = |error: &anyhow::Error| matches!(error.downcast_ref(), Some(admin::Error::NoDaemon { .. }));
        // One that does not respond may serve.
        if self.purge && !ask::status(&self.daemon.socket).is_err_and(|error| nobody(&error)) {
            let why = format!("a daemon runs at {}: stop it first", self.daemon.socket.display());
            return Err(Failure::Failed(anyhow::anyhow!(why)));
        }
        let removed = capture::detach(&self.pins).map_err(anyhow::Error::from)?;
        match removed.len() {
            0 => out::line(format!("nothing is pinned below {}", self.pins.display()))?,
            count => out::line(format!(
                "removed {} below {}: new connections go direct",
                number(count, "pin"),
                self.pins.display()
            ))?,
        }
        if self.purge {
            let files = gateway::leftovers(&self.daemon.socket, &self.state);
            gateway::remove_leftovers(&files)?;
            out::line(format!("removed {}", number(files.len(), "file")))?;
        }
        if self.stay {
            signals.wait().map_err(std::io::Error::from)?;
        }
        Ok(())
    }

    fn left(&self) -> Result<(), Failure> {
        let pins = self.pins.exists().then(|| self.pins.clone());
        let left: Vec<_> = pins.into_iter().chain(gateway::leftovers(&self.daemon.socket, &self.state)).collect();
        left.iter().try_for_each(|path| out::line(path.display().to_string()))?;
        if left.is_empty() { Ok(()) } else { Err(Failure::Code(1)) }
    }
}
