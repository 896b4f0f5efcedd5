use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;

use clap::Args;

use crate::shell::{as_root, cargo, root, run, target};
use crate::{kernel, setup};

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The configuration.
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Let the hooks log each decision, for debugging them; shown with EGRET_LOG=debug.
    #[arg(long)]
    kernel_log: bool,
    /// Further arguments for `egret run`.
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

impl Run {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        setup::kernel()?;
        let egret = if self.kernel_log { build_on(kernel::build_with_log()?)? } else { build()? };
        let config = self.config.unwrap_or_else(|| root().join("config/egret.yaml"));
        let error = as_root(egret)?.args(["run", "--config"]).arg(config).args(self.arguments).exec();
        Err(error.into())
    }
}

/// Builds `egret`, the kernel half first. Returns the executable.
pub(crate) fn build() -> anyhow::Result<PathBuf> {
    build_on(kernel::build()?)
}

fn build_on(_hooks: PathBuf) -> anyhow::Result<PathBuf> {
    run(cargo().args(["build", "--quiet", "--locked", "--package", "egret"]))?;
    Ok(target().join("debug/egret"))
}
