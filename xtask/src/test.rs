use clap::{Args, ValueEnum};

use crate::shell::{cargo, is_root, run, target};
use crate::{kernel, run as build, setup};

#[derive(Debug, Args)]
pub(crate) struct Test {
    /// Which tests to run: `unit` runs everywhere, `all` needs root or sudo.
    #[arg(long, default_value = "all")]
    ring: Ring,
    /// Run only tests whose name contains one of these texts.
    filter: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Ring {
    Unit,
    All,
}

impl Test {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        setup::nextest()?;
        kernel::build()?;
        let path = std::env::join_paths(
            std::iter::once(target().join("tools/bin"))
                .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
        )?;
        let mut nextest = cargo();
        nextest
            .args(["nextest", "run", "--locked", "--package", "egret", "--package", "egret-kernel"])
            .env("PATH", &path);
        if self.ring == Ring::All {
            setup::kernel()?;
            setup::programs(&[setup::LAB, setup::CLIENTS, setup::CONTAINERS])?;
            nextest
                .args(["--package", "egret-tests"])
                .env("EGRET_BIN", build::build()?)
                .env("EGRET_RESOLVED", setup::resolved()?);
            if !is_root() {
                // sudo sets a search path of its own.
                let runner = format!("sudo -n -E env PATH={}", path.to_string_lossy());
                let arch = std::env::consts::ARCH.to_uppercase();
                nextest.env(format!("CARGO_TARGET_{arch}_UNKNOWN_LINUX_GNU_RUNNER"), runner);
            }
        }
        run(nextest.args(self.filter))
    }
}

/// Runs all tests, as CI does.
pub(crate) fn all() -> anyhow::Result<()> {
    Test { ring: Ring::All, filter: Vec::new() }.run()
}
