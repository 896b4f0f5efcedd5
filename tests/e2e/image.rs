//! The container image: complete, and able to run from its own files alone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use egret_tests::{EGRESS, Lab};
use serde_json::Value;

use crate::{PARTNER, partner};

/// The unpacked image.
struct Unpacked {
    config: Value,
    root: PathBuf,
}

fn archive() -> PathBuf {
    std::env::var_os("EGRET_IMAGE").expect("EGRET_IMAGE: run the tests by `cargo xtask test image`").into()
}

fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Follows the descriptors of the OCI image specification from the index to the layer, as a container runtime does.
fn unpack(directory: &Path) -> Unpacked {
    let (layout, root) = (directory.join("layout"), directory.join("root"));
    fs::create_dir(&layout).unwrap();
    fs::create_dir(&root).unwrap();
    succeed(Command::new("tar").arg("-xf").arg(archive()).arg("-C").arg(&layout));
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        let path = layout.join("blobs/sha256").join(digest);
        let sum = succeed(Command::new("sha256sum").arg(&path));
        assert!(String::from_utf8_lossy(&sum.stdout).starts_with(digest), "{descriptor}");
        assert_eq!(fs::metadata(&path).unwrap().len(), descriptor["size"], "{descriptor}");
        path
    };
    let index = json(&layout.join("index.json"));
    let manifest = json(&blob(&index["manifests"][0]));
    let config = json(&blob(&manifest["config"]));
    let layer = blob(&manifest["layers"][0]);
    succeed(Command::new("tar").arg("-xzpf").arg(layer).arg("-C").arg(&root));
    Unpacked { config, root }
}

#[test]
fn image_has_these_files_and_no_more() {
    let lab = Lab::new();
    let Unpacked { config, root } = unpack(lab.directory());
    let listed = succeed(Command::new("find").args([".", "-printf", "%P %m %U:%G\n"]).current_dir(&root));
    let mut listed: Vec<_> =
        String::from_utf8(listed.stdout).unwrap().lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    listed.sort();
    assert_eq!(
        listed,
        [
            "etc 755 0:0",
            "etc/egret 755 0:0",
            "etc/ssl 755 0:0",
            "etc/ssl/certs 755 0:0",
            "etc/ssl/certs/ca-certificates.crt 644 0:0",
            "run 755 0:0",
            "run/egret 750 0:0",
            "usr 755 0:0",
            "usr/bin 755 0:0",
            "usr/bin/egret 755 0:0",
            "usr/share 755 0:0",
            "usr/share/doc 755 0:0",
            "usr/share/doc/egret 755 0:0",
            "usr/share/doc/egret/LICENSE 644 0:0",
            "usr/share/doc/egret/egret.cdx.json 644 0:0",
            "var 755 0:0",
            "var/lib 755 0:0",
            "var/lib/egret 700 0:0",
        ]
    );
    assert_eq!(config["config"]["Entrypoint"], serde_json::json!(["/usr/bin/egret"]));
    assert_eq!(config["config"]["Labels"]["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"));

    let parts = json(&root.join("usr/share/doc/egret/egret.cdx.json"));
    assert_eq!(parts["metadata"]["component"]["name"], "egret");
    let components = parts["components"].as_array().unwrap();
    let named = |name: &str| components.iter().find(|component| component["name"] == name);
    let tls = named("rustls").unwrap();
    assert_eq!(tls["purl"], format!("pkg:cargo/rustls@{}", tls["version"].as_str().unwrap()));
    assert_eq!(tls["hashes"][0]["content"].as_str().unwrap().len(), 64, "{tls}");
    assert!(tls["licenses"][0]["expression"].as_str().unwrap().contains("Apache-2.0"), "{tls}");
    // The authorities are those of a package that is pinned, not those of the machine that built the image.
    let authorities = named("/etc/ssl/certs/ca-certificates.crt").unwrap();
    assert_eq!(authorities["pedigree"]["ancestors"][0]["name"], "webpki-root-certs");
    let sum = succeed(Command::new("sha256sum").arg(root.join("etc/ssl/certs/ca-certificates.crt")));
    let sum = String::from_utf8_lossy(&sum.stdout).into_owned();
    assert!(sum.starts_with(authorities["hashes"][0]["content"].as_str().unwrap()), "{authorities}");
    assert!(named("serde_derive").is_none() && named("proptest").is_none(), "these are not in the executable");
}

#[test]
fn image_runs_from_an_empty_root() {
    let lab = Lab::new();
    let Unpacked { root, .. } = unpack(lab.directory());
    // Nothing is mounted: there are no devices, no libraries, no users, and no name service.
    let egret = |arguments: &[&str]| succeed(Command::new("chroot").arg(&root).arg("/usr/bin/egret").args(arguments));
    let version = egret(&["--version"]);
    assert_eq!(String::from_utf8_lossy(&version.stdout).trim(), format!("egret {}", env!("CARGO_PKG_VERSION")));
    fs::write(root.join("etc/egret/egret.yaml"), "version: 1\negress: {addresses: [192.0.2.10]}\napis:\n  - {name: a, hosts: [a.example], mode: intercept, policies: {inbound: [{rate-limit: {calls: 1, period: 1s}}]}}\n").unwrap();
    egret(&["check", "/etc/egret"]);
}

#[test]
fn image_captures_as_a_container_on_the_nodes_network() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let Unpacked { root, .. } = unpack(lab.directory());
    let config = lab.configure(PARTNER);
    // As a container runtime does for a pod on the node's network: devices, the file systems of the kernel, and the pod's own files.
    let directory = lab.directory();
    let script = root.join("../start.sh");
    fs::write(
        &script,
        format!(
            "#!/bin/sh -e\ncd {root}\nmkdir -p dev proc sys .{directory}\ntouch etc/hosts etc/resolv.conf\n\
             mount --bind /dev dev\nmount --bind /proc proc\nmount --rbind /sys sys\nmount --bind {directory} .{directory}\n\
             mount --bind /etc/hosts etc/hosts\nmount --bind /etc/resolv.conf etc/resolv.conf\n\
             exec chroot {root} /usr/bin/egret run --config {config}\n",
            root = root.display(),
            directory = directory.display(),
            config = config.display()
        ),
    )
    .unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let egret = lab.start_egret_by(Command::new(&script)).ready();
    assert_eq!(lab.curl("http://api.partner.example/").0, 200, "{}", egret.log());
    assert_eq!(partner.sources(), [EGRESS.parse::<std::net::IpAddr>().unwrap()]);
}
