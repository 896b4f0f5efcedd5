use std::path::PathBuf;

use crate::shell::{as_root, cargo, run, target};
use crate::{run as build, setup};

pub(crate) fn demo() -> anyhow::Result<()> {
    story("story")
}

pub(crate) fn lab() -> anyhow::Result<()> {
    story("shell")
}

fn story(what: &str) -> anyhow::Result<()> {
    setup::kernel()?;
    setup::programs(&[setup::LAB])?;
    let (egret, demo) = build()?;
    run(as_root(demo)?.arg(what).env("EGRET_BIN", egret))
}

/// Builds `egret` and the story. Returns both executables.
pub(crate) fn build() -> anyhow::Result<(PathBuf, PathBuf)> {
    let egret = build::build()?;
    run(cargo().args(["build", "--quiet", "--locked", "--package", "egret-tests", "--bin", "egret-demo"]))?;
    Ok((egret, target().join("debug/egret-demo")))
}
