//! Measures which code Egret runs under load, for builds that are optimised by it (profile-guided optimisation,
//! <https://doc.rust-lang.org/rustc/profile-guided-optimization.html>).

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

use crate::run::Profile;
use crate::shell::{as_root, cargo, quietly, run, step, target};
use crate::{kernel, setup};

/// The loads, which are benches of Egret and of its peers.
const LOADS: [(&str, &[&str]); 3] = [
    ("http", &["plain", "plain-new", "originate", "intercept", "intercept-new"]),
    ("passthrough", &[]),
    ("policies", &[]),
];

/// Builds `egret` with counters, runs it under load, and writes what was counted.
pub(crate) fn profile() -> anyhow::Result<()> {
    setup::kernel()?;
    setup::programs(&[setup::LAB, setup::PEERS])?;
    kernel::build()?;
    let merge = llvm_profdata()?;
    let (raw, build) = (target().join("profiling/raw"), target().join("profiling/build"));
    let (name, directory) = Profile::Guided.names();
    step(
        "building `egret` with counters, which takes as long as a release",
        cargo()
            .args(["build", "--quiet", "--locked", "--profile", name, "--package", "egret", "--package", "egret-tests"])
            .args(["--bin", "egret", "--bin", "egret-bench", "--target-dir"])
            .arg(&build)
            .env("RUSTFLAGS", flag("-Cprofile-generate=", &raw)),
    )?;
    // Programs that only the build runs have counted, too.
    let _ = fs::remove_dir_all(&raw);
    let built = build.join(directory);
    for (load, scenarios) in LOADS {
        let mut bench = as_root(built.join("egret-bench"))?;
        bench.args([load, "--rounds", "1", "--json"]).arg(built.join("load.json"));
        bench.args(scenarios.iter().flat_map(|scenario| ["--scenario", scenario]));
        run(bench.env("EGRET_BIN", built.join("egret")))?;
    }
    let counted: Vec<_> =
        fs::read_dir(&raw).context("no load was counted")?.flatten().map(|file| file.path()).collect();
    run(Command::new(merge).args(["merge", "--sparse", "--output"]).arg(counts()).args(counted))?;
    println!("{}: used by `--profile guided`", counts().display());
    Ok(())
}

/// Returns what a build is optimised by, as flags for the compiler.
///
/// # Errors
/// Nothing was measured yet.
pub(crate) fn flags() -> anyhow::Result<OsString> {
    let counts = counts();
    ensure!(counts.exists(), "{} is missing: run `cargo xtask profile` first", counts.display());
    Ok(flag("-Cprofile-use=", &counts))
}

/// The file with what was counted.
fn counts() -> PathBuf {
    target().join("egret.profdata")
}

fn flag(name: &str, path: &Path) -> OsString {
    let mut flag = OsString::from(name);
    flag.push(path);
    flag
}

/// Returns the program that merges counts, which must be of the compiler's LLVM.
fn llvm_profdata() -> anyhow::Result<PathBuf> {
    let output = Command::new("rustc").args(["--print", "target-libdir"]).output().context("cannot run rustc")?;
    let libraries = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let program = libraries.with_file_name("bin").join("llvm-profdata");
    if !program.exists() {
        eprintln!("xtask: installing the component llvm-tools by rustup, which merges what was counted");
        quietly(Command::new("rustup").args(["component", "add", "llvm-tools"]))?;
    }
    if !program.exists() {
        bail!("{} is missing: install the component llvm-tools of rustup", program.display());
    }
    Ok(program)
}
