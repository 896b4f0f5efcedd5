use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use clap::{Args, ValueEnum};

use crate::shell::{as_root, cargo, root, run, target};
use crate::{kernel, profile, setup};

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The configuration: a YAML file, or a directory of them. Default: config/egret.yaml.
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Build with optimisations (profile `quick`), to run real load.
    #[arg(long)]
    release: bool,
    /// Let the hooks log each decision, to debug them. Set EGRET_LOG=debug to see the log.
    #[arg(long)]
    kernel_log: bool,
    /// Further arguments for `egret run`.
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

/// A build profile of Cargo.toml.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// Without optimisations.
    Dev,
    /// With optimisations, without link-time optimisation.
    Quick,
    /// With all optimisations.
    Release,
    /// With all optimisations, guided by what `cargo xtask profile` has measured.
    Guided,
}

impl Profile {
    /// Returns the profile's name, and the directory below `target` that cargo builds to.
    pub(crate) fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Dev => ("dev", "debug"),
            Self::Quick => ("quick", "quick"),
            Self::Release => ("release", "release"),
            Self::Guided => ("guided", "guided"),
        }
    }

    /// Returns a command of cargo that builds with this profile.
    ///
    /// # Errors
    /// What guides the build is missing.
    pub(crate) fn cargo(self) -> anyhow::Result<Command> {
        let mut cargo = cargo();
        if self == Self::Guided {
            cargo.env("RUSTFLAGS", profile::flags()?);
        }
        Ok(cargo)
    }
}

impl Run {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        setup::kernel()?;
        let hooks = if self.kernel_log { kernel::build_with_log()? } else { kernel::build()? };
        let egret = build_on(hooks, if self.release { Profile::Quick } else { Profile::Dev })?;
        let config = self.config.unwrap_or_else(|| root().join("config/egret.yaml"));
        let error = as_root(egret)?.args(["run", "--config"]).arg(config).args(self.arguments).exec();
        Err(error.into())
    }
}

/// Builds the kernel half and `egret` for development. Returns the executable.
pub(crate) fn build() -> anyhow::Result<PathBuf> {
    build_with(Profile::Dev)
}

/// Builds the kernel half and `egret` with a profile. Returns the executable.
pub(crate) fn build_with(profile: Profile) -> anyhow::Result<PathBuf> {
    build_on(kernel::build()?, profile)
}

fn build_on(_hooks: PathBuf, profile: Profile) -> anyhow::Result<PathBuf> {
    let (name, directory) = profile.names();
    run(profile.cargo()?.args(["build", "--quiet", "--locked", "--package", "egret", "--profile", name]))?;
    Ok(target().join(directory).join("egret"))
}
