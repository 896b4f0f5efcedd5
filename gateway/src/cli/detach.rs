use std::path::{Path, PathBuf};

use clap::Args;
use nix::sys::signal::{SigSet, Signal};

use super::{Failure, ask, out};
use crate::capture::container;
use crate::config::{DEFAULT_PINS, DEFAULT_SOCKET, DEFAULT_STATE, Locations};
use crate::model::number;
use crate::{admin, capture, config, gateway};

/// Where a configuration is looked for without `--config`: there the unit and the manifests have it.
const CONFIGURATION: &str = "/etc/egret";

#[derive(Debug, Args)]
#[command(after_help = PLACES)]
pub(super) struct Detach {
    /// The configuration that says where the hooks and files are: a YAML file, or a directory of them. [default: /etc/egret, if it is
    /// there]
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// The directory in which the hooks are pinned. [default: capture.pins of the configuration]
    #[arg(long, value_name = "PATH")]
    pins: Option<PathBuf>,
    /// Path of the daemon's admin socket. [default: admin.socket of the configuration]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// The directory in which Egret stores what outlives it. [default: state.directory of the configuration]
    #[arg(long, value_name = "PATH")]
    state: Option<PathBuf>,
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
}

const PLACES: &str = "Of the configuration only these three keys are read: nothing else of it must be valid, and the files that it \
                      names may be gone. If it cannot be read, name the places by options.";

/// Where hooks and files are.
struct Places {
    pins: PathBuf,
    socket: PathBuf,
    state: PathBuf,
    /// Whether the pins are looked for at the usual place, because nobody said where they are.
    guessed: bool,
}

impl Detach {
    pub(super) fn run(self) -> Result<(), Failure> {
        let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
        if self.stay {
            // From the start: a signal during the removal ends the wait.
            signals.thread_block().map_err(std::io::Error::from)?;
        }
        let places = self.places()?;
        if self.check {
            return places.left();
        }
        let nobody = |error: &anyhow::Error| matches!(error.downcast_ref(), Some(admin::Error::NoDaemon { .. }));
        // One that does not respond may serve.
        if self.purge && !ask::status(&places.socket).is_err_and(|error| nobody(&error)) {
            let why = format!("a daemon runs at {}: stop it first", places.socket.display());
            return Err(Failure::Failed(anyhow::anyhow!(why)));
        }
        places.remove_hooks()?;
        if self.purge {
            let files = gateway::leftovers(&places.socket, &places.state);
            gateway::remove_leftovers(&files)?;
            out::line(format!("removed {}", number(files.len(), "file")))?;
        }
        if self.stay {
            signals.wait().map_err(std::io::Error::from)?;
        }
        Ok(())
    }

    fn places(&self) -> Result<Places, Failure> {
        let touches_files = self.purge || self.check;
        let written = self.written(touches_files)?;
        let pins = self.pins.clone().or(written.pins);
        let places = Places {
            guessed: pins.is_none(),
            pins: pins.unwrap_or_else(|| DEFAULT_PINS.into()),
            socket: self.socket.clone().or(written.socket).unwrap_or_else(|| DEFAULT_SOCKET.into()),
            state: self.state.clone().or(written.state).unwrap_or_else(|| DEFAULT_STATE.into()),
        };
        if touches_files {
            seen_here("admin.socket", places.socket.parent().unwrap_or(Path::new("/")), DEFAULT_SOCKET)?;
            seen_here("state.directory", &places.state, DEFAULT_STATE)?;
        }
        Ok(places)
    }

    /// Reads the configuration, unless options say everything that is needed.
    fn written(&self, touches_files: bool) -> Result<Locations, Failure> {
        if self.pins.is_some() && (!touches_files || self.socket.is_some() && self.state.is_some()) {
            return Ok(Locations::default());
        }
        let path = match &self.config {
            Some(path) => path,
            None if config::is_written(Path::new(CONFIGURATION)) => Path::new(CONFIGURATION),
            None => return Ok(Locations::default()),
        };
        config::locations(path).map_err(|errors| {
            let help = "It says where the hooks and files of Egret are. Correct it, or name them: --pins, --socket and --state.";
            Failure::Invalid(format!("{errors}\n{help}"))
        })
    }
}

/// Checks that a directory that is not the usual one is seen here. In a container it has to be mounted, and nothing would be found
/// otherwise.
fn seen_here(key: &str, directory: &Path, usual: &str) -> anyhow::Result<()> {
    let is_usual = Path::new(usual).starts_with(directory);
    if is_usual || directory.exists() || !container::is_container() {
        return Ok(());
    }
    let is_mounted = |mount: container::Mount| mount.at != Path::new("/") && directory.starts_with(mount.at);
    let is_seen = container::mounts().into_iter().any(is_mounted);
    anyhow::ensure!(
        is_seen,
        "{key}: {} does not exist in this container: mount the node's directory there",
        directory.display()
    );
    Ok(())
}

impl Places {
    fn remove_hooks(&self) -> anyhow::Result<()> {
        let removed = capture::detach(&self.pins)?;
        let pins = self.pins.display();
        match (removed.len(), self.elsewhere().as_slice()) {
            (0, []) => out::line(format!("nothing is pinned below {pins}"))?,
            (0, [elsewhere, ..]) => anyhow::bail!(
                "nothing is pinned below {pins}, but hooks of Egret are pinned below {0}: remove them by `egret detach --pins {0}`, \
                 or name the configuration by --config",
                elsewhere.display()
            ),
            (count, _) => {
                out::line(format!("removed {} below {pins}: new connections go direct", number(count, "pin")))?;
            }
        }
        Ok(())
    }

    fn left(&self) -> Result<(), Failure> {
        let pins = self.pins.exists().then(|| self.pins.clone());
        let files = gateway::leftovers(&self.socket, &self.state);
        let left: Vec<_> = pins.into_iter().chain(self.elsewhere()).chain(files).collect();
        left.iter().try_for_each(|path| out::line(path.display().to_string()))?;
        if left.is_empty() { Ok(()) } else { Err(Failure::Code(1)) }
    }

    /// Returns where else hooks are pinned, if nobody said where they are.
    fn elsewhere(&self) -> Vec<PathBuf> {
        if self.guessed {
            capture::pinned().into_iter().filter(|pins| *pins != self.pins).collect()
        } else {
            Vec::new()
        }
    }
}
