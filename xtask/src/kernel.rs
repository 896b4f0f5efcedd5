//! Builds the kernel half, and installs the toolchain that it needs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::setup;
use crate::shell::{cargo, run, step, target};

const NIGHTLY: &str = "nightly-2026-05-20";
const LINKER: &str = "0.10.3";
const FLAGS: &str = "-Cdebuginfo=2\u{1f}-Clink-arg=--btf";

/// Debian's packages of a compiler and of its precompiled `core` for BPF. They are unpacked and not installed, because they conflict
/// with other packages of Rust.
const PACKAGES: [&str; 5] =
    ["rustc-web", "libstd-rust-web-1.96", "libstd-rust-web-dev", "libstd-rust-web-dev-bpf", "libllvm22"];

/// A compiler that can build for the BPF target.
enum Toolchain {
    /// A nightly compiler of rustup with rust-src, which builds `core` itself.
    Nightly(&'static str),
    /// Debian's compiler, unpacked in this directory.
    Debian(PathBuf),
}

/// Builds the object file of the hooks if it is not up to date. Returns its path.
pub(crate) fn build() -> anyhow::Result<PathBuf> {
    build_with("programs")
}

/// Does the same with hooks that log each decision.
pub(crate) fn build_with_log() -> anyhow::Result<PathBuf> {
    build_with("programs,log")
}

fn build_with(features: &str) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(target())?;
    let toolchain = toolchain()?;
    let tools = linker()?;
    let directory = target().join("kernel");
    let mut build = match &toolchain {
        Toolchain::Nightly(name) => {
            let mut build = Command::new("cargo");
            build.arg(format!("+{name}")).args(["build", "-Zbuild-std=core"]).current_dir(crate::shell::root());
            build
        }
        Toolchain::Debian(unpacked) => {
            let mut build = cargo();
            build
                .arg("build")
                .env("RUSTC", unpacked.join("usr/bin/rustc"))
                .env("RUSTC_BOOTSTRAP", "1")
                .env("LD_LIBRARY_PATH", unpacked.join("usr/lib/x86_64-linux-gnu"));
            build
        }
    };
    let path = std::env::join_paths(
        std::iter::once(tools).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    )?;
    run(build
        .args(["--quiet", "--locked", "--profile", "kernel", "--package", "egret-kernel", "--bin", "egret-hooks"])
        .args(["--features", features, "--target", "bpfel-unknown-none", "--target-dir"])
        .arg(&directory)
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS)
        .env_remove("RUSTUP_TOOLCHAIN_OVERRIDE")
        .env("PATH", path))
    .context("cannot build the kernel half")?;
    let object = target().join("egret-hooks.o");
    copy_if_changed(&directory.join("bpfel-unknown-none/kernel/egret-hooks"), &object)?;
    Ok(object)
}

/// Copies a file if it has changed: a new time stamp would rebuild `egret`.
fn copy_if_changed(from: &Path, to: &Path) -> anyhow::Result<()> {
    let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(to).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    fs::write(to, bytes).with_context(|| format!("cannot write {}", to.display()))
}

fn toolchain() -> anyhow::Result<Toolchain> {
    let unpacked = target().join("kernel-toolchain");
    if unpacked.join("complete").exists() {
        return Ok(Toolchain::Debian(unpacked));
    }
    if has_rust_src(NIGHTLY) || install_nightly() {
        return Ok(Toolchain::Nightly(NIGHTLY));
    }
    eprintln!(
        "xtask: rustup cannot fetch {NIGHTLY} with rust-src: unpacking Debian's compiler and its `core` for BPF to {} \
         instead, to build the kernel half",
        unpacked.display()
    );
    unpack(&unpacked)?;
    Ok(Toolchain::Debian(unpacked))
}

fn has_rust_src(toolchain: &str) -> bool {
    let sysroot =
        Command::new("rustc").arg(format!("+{toolchain}")).args(["--print", "sysroot"]).stderr(Stdio::null()).output();
    sysroot.is_ok_and(|output| {
        let sysroot = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success() && Path::new(&sysroot).join("lib/rustlib/src/rust/library/core").exists()
    })
}

fn install_nightly() -> bool {
    eprintln!("xtask: installing {NIGHTLY} with rust-src by rustup, to build the kernel half");
    let installed = Command::new("rustup")
        .args(["toolchain", "install", NIGHTLY, "--profile", "minimal", "--component", "rust-src"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    installed.is_ok_and(|status| status.success()) && has_rust_src(NIGHTLY)
}

fn unpack(directory: &Path) -> anyhow::Result<()> {
    if !crate::shell::is_there("apt-get") {
        bail!(
            "the kernel half needs rustup's {NIGHTLY} with rust-src, which rustup could not fetch, or Debian's packages, \
             and this is not Debian: install the former with \
             `rustup toolchain install {NIGHTLY} --component rust-src`"
        );
    }
    let packages = directory.join("packages");
    fs::create_dir_all(&packages)?;
    let download = || Command::new("apt-get").args(["download", "-qq"]).args(PACKAGES).current_dir(&packages).status();
    if !download()?.success() {
        setup::update_lists()?;
        if !download()?.success() {
            bail!(
                "Debian's {} cannot be downloaded: is the network there, and bookworm-security in the sources?",
                PACKAGES.join(", ")
            );
        }
    }
    for entry in fs::read_dir(&packages)? {
        run(Command::new("dpkg").arg("-x").arg(entry?.path()).arg(directory))?;
    }
    fs::remove_dir_all(packages)?;
    fs::write(directory.join("complete"), "")?;
    Ok(())
}

/// Installs bpf-linker, and returns its directory.
fn linker() -> anyhow::Result<PathBuf> {
    let tools = target().join("tools");
    if !tools.join("bin/bpf-linker").exists() {
        step(
            &format!(
                "installing bpf-linker {LINKER} below {}, which links the kernel half (about a minute)",
                tools.display()
            ),
            cargo().args(["install", "--quiet", "--locked", "bpf-linker", "--version", LINKER, "--root"]).arg(&tools),
        )?;
    }
    Ok(tools.join("bin"))
}
