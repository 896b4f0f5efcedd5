//! Builds the Debian package. What is in it is in gateway/Cargo.toml (cargo-deb).

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use clap::Args;

use crate::install::{generated, unit};
use crate::run::{self as build, Profile};
use crate::setup;
use crate::shell::{cargo, root, run, target};

#[derive(Debug, Args)]
pub(crate) struct Deb {
    /// Build profile. `release` is a fast program, and takes minutes to build; `guided` is the fastest; tests use `dev`.
    #[arg(long, value_enum, default_value_t = Profile::Release)]
    profile: Profile,
}

impl Deb {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let package = build(self.profile)?;
        println!(
            "{}. Next: apt install it, write /etc/egret/egret.yaml, systemctl enable --now egret",
            package.display()
        );
        Ok(())
    }
}

/// Builds the package with a profile. Returns its path.
pub(crate) fn build(profile: Profile) -> anyhow::Result<PathBuf> {
    setup::cargo_deb()?;
    let egret = build::build_with(profile)?;
    // The package's own directory: gateway/Cargo.toml names these files.
    let directory = root().join("target/deb");
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(directory.join("man"))?;
    fs::write(directory.join("egret.service"), unit(&PathBuf::from("/usr/bin/egret"))?)?;
    for (shell, name) in [("bash", "egret.bash"), ("fish", "egret.fish"), ("zsh", "_egret")] {
        fs::write(directory.join(name), generated(&egret, shell)?)?;
    }
    run(Command::new(&egret).args(["generate", "man"]).arg(directory.join("man")))?;
    let (name, _) = profile.names();
    run(cargo()
        .args(["deb", "--quiet", "--no-build", "--package", "egret", "--profile", name, "--output"])
        .arg(&directory)
        .stdout(std::process::Stdio::null())
        .env("PATH", setup::with_tools()?))?;
    let is_package = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "deb");
    let package = fs::read_dir(target().join("deb"))?.flatten().map(|entry| entry.path()).find(is_package);
    package.context("cargo-deb made no package")
}
