//! Builds the container image: one static executable, the authorities of this machine, and a list of what is in it (SBOM). It needs
//! neither a registry nor a container engine.

mod oci;

mod sbom;

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, ensure};
use clap::Args;
use serde_json::json;

use crate::run::Profile;
use crate::shell::{cargo, root, run, target};
use crate::{kernel, setup};
use oci::{Entry, Image};

#[derive(Debug, Args)]
pub(crate) struct Build {
    /// Build profile. `release` is the fastest program, and takes minutes to build; tests use `dev`.
    #[arg(long, value_enum, default_value_t = Profile::Release)]
    profile: Profile,
    /// Name and tag of the image.
    #[arg(long, default_value = NAME)]
    name: String,
}

/// The image's name, unless another one is given.
pub(crate) const NAME: &str = concat!("localhost/egret:", env!("CARGO_PKG_VERSION"));

/// Where TLS libraries look for authorities on many systems, in the image and on Debian.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Largest image of the profile `release`, in bytes.
const LARGEST: u64 = 40 * 1000 * 1000;

impl Build {
    /// Writes the image as an archive that `podman load`, `docker load` and `ctr images import` read.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let archive = build(self.profile, &self.name)?;
        let bytes = fs::metadata(&archive)?.len();
        ensure!(
            self.profile != Profile::Release || bytes <= LARGEST,
            "{} has {bytes} bytes, more than {LARGEST}",
            archive.display()
        );
        println!("{} ({:.1} MB): {}", archive.display(), bytes as f64 / 1e6, self.name);
        println!("podman load --input {0}  |  ctr --namespace k8s.io images import {0}", archive.display());
        Ok(())
    }
}

/// Builds the image with a profile. Returns the path of its archive.
pub(crate) fn build(profile: Profile, name: &str) -> anyhow::Result<PathBuf> {
    setup::programs(&[setup::IMAGE])?;
    let egret = executable(profile)?;
    let sbom = sbom::cyclone_dx()?;
    let directory = target().join("image");
    fs::create_dir_all(&directory)?;
    let version = env!("CARGO_PKG_VERSION");
    fs::write(directory.join("egret.cdx.json"), &sbom)?;
    let read = |path: PathBuf| fs::read(&path).with_context(|| format!("cannot read {}", path.display()));
    let image = Image {
        name,
        created: created()?,
        config: json!({
            "Env": ["PATH=/usr/bin"],
            "Entrypoint": ["/usr/bin/egret"],
            "Cmd": ["run", "--environment"],
            "StopSignal": "SIGTERM",
            "Labels": labels(version),
        }),
        annotations: labels(version),
        entries: vec![
            Entry::directory("etc/egret", 0o755),
            Entry::file(&AUTHORITIES[1..], 0o644, read(AUTHORITIES.into())?),
            Entry::directory("run/egret", 0o750),
            Entry::file("usr/bin/egret", 0o755, read(egret)?),
            Entry::file("usr/share/doc/egret/LICENSE", 0o644, read(root().join("LICENSE"))?),
            Entry::file("usr/share/doc/egret/egret.cdx.json", 0o644, sbom),
            Entry::directory("var/lib/egret", 0o700),
        ],
    };
    let archive = directory.join(format!("egret-{version}-{}.tar", oci::architecture()));
    let digest = image.write(&archive)?;
    eprintln!("xtask: image {digest}");
    Ok(archive)
}

/// Builds the executable without shared libraries. Only the last link differs from that of a normal build, so both share all else.
fn executable(profile: Profile) -> anyhow::Result<PathBuf> {
    kernel::build()?;
    let (name, directory) = profile.names();
    run(cargo()
        .args(["rustc", "--quiet", "--locked", "--package", "egret", "--bin", "egret", "--profile", name, "--"])
        .args(["-Ctarget-feature=+crt-static", "-Cstrip=debuginfo"]))?;
    Ok(target().join(directory).join("egret"))
}

fn labels(version: &str) -> serde_json::Value {
    json!({
        "org.opencontainers.image.title": "egret",
        "org.opencontainers.image.description": "eBPF-assisted transparent egress gateway",
        "org.opencontainers.image.licenses": "Apache-2.0",
        "org.opencontainers.image.version": version,
        "org.opencontainers.image.revision": git(&["rev-parse", "HEAD"]),
    })
}

/// Returns the time that the image bears, in seconds since 1970: `SOURCE_DATE_EPOCH`, or the time of the commit. So two builds of one
/// commit are equal.
fn created() -> anyhow::Result<u64> {
    let text = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text,
        Err(_) => git(&["log", "-1", "--format=%ct"]).unwrap_or_else(|| "0".to_owned()),
    };
    text.parse().with_context(|| format!("SOURCE_DATE_EPOCH must be a number of seconds, but it is `{text}`"))
}

/// Returns what git prints; nothing outside of a repository.
fn git(arguments: &[&str]) -> Option<String> {
    let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
    let output = Command::new("git").args(arguments).current_dir(root()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
