use clap::{Args, ValueEnum};

use crate::shell::{cargo, is_root, run};
use crate::{deb, image, kernel, run as build, setup};

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
        let path = setup::with_tools()?;
        let mut nextest = cargo();
        nextest
            .args([
                "nextest",
                "run",
                "--locked",
                "--package",
                "egret",
                "--package",
                "egret-kernel",
                "--package",
                "xtask",
            ])
            .env("PATH", &path);
        if self.ring == Ring::All {
            setup::kernel()?;
            setup::programs(&[setup::LAB, setup::CLIENTS, setup::CONTAINERS])?;
            if self.wants("image") || self.wants("environment") {
                // Before the executable of the other tests: cargo puts both at one path.
                nextest.env("EGRET_IMAGE", image::build(build::Profile::Dev, image::NAME)?);
            }
            if self.wants("package") {
                nextest.env("EGRET_PACKAGE", deb::build(build::Profile::Dev)?);
            }
            if self.wants("deployment") {
                nextest.env("EGRET_KUBERNETES", setup::kubernetes()?);
            }
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

    /// Whether tests of a module run. What only they need takes time to build.
    fn wants(&self, module: &str) -> bool {
        self.filter.is_empty() || self.filter.iter().any(|filter| filter.starts_with(module))
    }
}

/// Runs all tests, as CI does.
pub(crate) fn all() -> anyhow::Result<()> {
    Test { ring: Ring::All, filter: Vec::new() }.run()
}
