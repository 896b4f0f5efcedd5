//! Builds the container image: one static executable, certificate authorities, and a list of what is in it (SBOM). It needs neither a
//! registry nor a container engine. Nothing of the machine that builds it is in it, so equal sources give equal images.

mod authorities;

mod oci;

mod sbom;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use clap::Args;
use serde_json::json;

use crate::kernel;
use crate::run::Profile;
use crate::shell::{root, run, target};
use oci::{Entry, Image};

#[derive(Debug, Args)]
pub(crate) struct Build {
    /// Build profile. `release` is a fast program, and takes minutes to build; `guided` is the fastest; tests use `dev`.
    #[arg(long, value_enum, default_value_t = Profile::Release)]
    profile: Profile,
    /// Name and tag of the image.
    #[arg(long, default_value = NAME)]
    name: String,
}

/// An architecture, as OCI and Debian call it.
#[derive(Clone, Copy, Debug)]
enum Architecture {
    Amd64,
    Arm64,
}

impl Architecture {
    /// Returns that of this machine.
    fn own() -> anyhow::Result<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Ok(Self::Amd64),
            "aarch64" => Ok(Self::Arm64),
            other => bail!("there is no image for {other}"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }
}

/// The image's name, unless another one is given.
pub(crate) const NAME: &str = concat!("localhost/egret:", env!("CARGO_PKG_VERSION"));

/// Where TLS libraries look for authorities on many systems, in the image and on Debian.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Largest image of the profiles `release` and `guided`, in bytes.
const LARGEST: u64 = 40 * 1000 * 1000;

impl Build {
    /// Writes the image as an archive that `podman load`, `docker load` and `ctr images import` read.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let archive = build(self.profile, &self.name)?;
        let bytes = fs::metadata(&archive)?.len();
        ensure!(
            !matches!(self.profile, Profile::Release | Profile::Guided) || bytes <= LARGEST,
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
    let architecture = Architecture::own()?;
    let egret = executable(profile)?;
    let egret = fs::read(&egret).with_context(|| format!("cannot read {}", egret.display()))?;
    let directory = target().join("image");
    fs::create_dir_all(&directory)?;
    compose(architecture, egret, name, &directory)
}

/// Puts the image together, and a list of what is in it beside it. Returns the path of its archive.
fn compose(architecture: Architecture, egret: Vec<u8>, name: &str, directory: &Path) -> anyhow::Result<PathBuf> {
    let bundle = authorities::bundle().into_bytes();
    let made = sbom::Made { path: AUTHORITIES, content: &bundle, from: authorities::CRATE };
    let sbom = sbom::cyclone_dx(architecture.target(), &[made])?;
    let version = env!("CARGO_PKG_VERSION");
    fs::write(directory.join("egret.cdx.json"), &sbom)?;
    let licence = fs::read(root().join("LICENSE")).context("cannot read LICENSE")?;
    let image = Image {
        name,
        architecture: architecture.name(),
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
            Entry::file(&AUTHORITIES[1..], 0o644, bundle),
            Entry::directory("run/egret", 0o750),
            Entry::file("usr/bin/egret", 0o755, egret),
            Entry::file("usr/share/doc/egret/LICENSE", 0o644, licence),
            Entry::file("usr/share/doc/egret/egret.cdx.json", 0o644, sbom),
            Entry::directory("var/lib/egret", 0o700),
        ],
    };
    let archive = directory.join(format!("egret-{version}-{}.tar", architecture.name()));
    let digest = image.write(&archive)?;
    eprintln!("xtask: image {digest}");
    Ok(archive)
}

/// Builds the executable without shared libraries. Only the last link differs from that of a normal build, so both share all else.
fn executable(profile: Profile) -> anyhow::Result<PathBuf> {
    kernel::build()?;
    let (name, directory) = profile.names();
    run(profile
        .cargo()?
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

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn two_builds_are_equal_and_say_where_the_authorities_are_from() {
        let directory = std::env::temp_dir().join(format!("egret-image-{}", std::process::id()));
        let build = |name: &str| {
            let directory = directory.join(name);
            fs::create_dir_all(&directory).unwrap();
            let archive = compose(Architecture::Arm64, b"program".to_vec(), NAME, &directory).unwrap();
            assert!(archive.ends_with(concat!("egret-", env!("CARGO_PKG_VERSION"), "-arm64.tar")));
            (fs::read(archive).unwrap(), fs::read(directory.join("egret.cdx.json")).unwrap())
        };
        let (archive, list) = build("one");
        assert!((archive, list.clone()) == build("two"), "equal sources give equal images");
        fs::remove_dir_all(directory).unwrap();

        let list: Value = serde_json::from_slice(&list).unwrap();
        let file = list["components"].as_array().unwrap().iter().find(|part| part["name"] == AUTHORITIES).unwrap();
        let origin = &file["pedigree"]["ancestors"][0];
        assert_eq!(origin["name"], authorities::CRATE);
        assert!(origin["purl"].as_str().unwrap().starts_with("pkg:cargo/webpki-root-certs@"), "{file}");
        assert_eq!(origin["hashes"][0]["content"].as_str().unwrap().len(), 64, "pinned by Cargo.lock: {file}");
        assert_eq!(file["hashes"][0]["content"], oci::hexadecimal(authorities::bundle().as_bytes()));
        assert_eq!(file["licenses"][0]["expression"], "CDLA-Permissive-2.0");
    }
}
