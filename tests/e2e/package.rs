//! The Debian package: what it installs, and what stays the user's.

use std::path::{Path, PathBuf};
use std::process::Command;

fn package() -> PathBuf {
    std::env::var_os("EGRET_PACKAGE").expect("EGRET_PACKAGE: run the tests by `cargo xtask test package`").into()
}

fn dpkg(arguments: &[&str]) -> String {
    let output = Command::new("dpkg-deb").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn package_has_the_program_unit_completions_manual_pages_and_a_configuration_that_upgrades_keep() {
    let file = package();
    let file = file.to_str().unwrap();
    let contents = dpkg(&["--contents", file]);
    for (mode, path) in [
        ("-rwxr-xr-x 0/0", "./usr/bin/egret"),
        ("-rw-r--r-- 0/0", "./etc/egret/egret.yaml"),
        ("-rw-r--r-- 0/0", "./lib/systemd/system/egret.service"),
        ("-rw-r--r-- 0/0", "./usr/share/bash-completion/completions/egret"),
        ("-rw-r--r-- 0/0", "./usr/share/fish/vendor_completions.d/egret.fish"),
        ("-rw-r--r-- 0/0", "./usr/share/zsh/vendor-completions/_egret"),
        ("-rw-r--r-- 0/0", "./usr/share/doc/egret/copyright"),
        ("-rw-r--r-- 0/0", "./usr/share/doc/egret/examples/intercept.yaml"),
    ] {
        let line = contents.lines().find(|line| {
            line.ends_with(&format!(" {path}"))
                || line.ends_with(&format!(" .{}", path.replacen("./lib", "/usr/lib", 1)))
        });
        assert!(line.is_some_and(|line| line.starts_with(mode)), "{path} in:\n{contents}");
    }
    assert!(contents.contains("./usr/share/man/man1/egret.1"), "{contents}");
    assert!(contents.contains("./usr/share/man/man1/egret-run.1"), "{contents}");

    let control = std::env::temp_dir().join(format!("egret-package-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&control);
    dpkg(&["--raw-extract", file, control.to_str().unwrap()]);
    let read = |path: &str| std::fs::read_to_string(control.join(path)).unwrap();
    assert_eq!(read("DEBIAN/conffiles").trim(), "/etc/egret/egret.yaml");
    let about = read("DEBIAN/control");
    assert!(about.contains("Package: egret\n") && about.contains("Depends: libc6"), "{about}");
    let unit = if control.join("lib/systemd").exists() { "lib" } else { "usr/lib" };
    assert!(read(&format!("{unit}/systemd/system/egret.service")).contains("ExecStart=/usr/bin/egret run --persist"));
    // An installed package neither starts nor enables Egret: it has no address of this node yet.
    let installed = read("DEBIAN/postinst");
    assert!(!installed.contains("deb-systemd-helper enable") || installed.contains("was-enabled"), "{installed}");
    let removed = read("DEBIAN/prerm");
    assert!(removed.contains("deb-systemd-invoke stop") && removed.contains("    egret detach\n"), "{removed}");
    // `uninstall` runs these scripts.
    assert!(read("DEBIAN/postrm").contains("rm -rf /var/lib/egret"));
    for script in ["postinst", "prerm", "postrm"] {
        let path = control.join("DEBIAN").join(script);
        let checked = Command::new("sh").arg("-n").arg(&path).output().unwrap();
        assert!(checked.status.success(), "{script}: {}", String::from_utf8_lossy(&checked.stderr));
    }
    let version = Command::new(control.join("usr/bin/egret")).arg("--version").output().unwrap();
    assert!(String::from_utf8_lossy(&version.stdout).starts_with("egret "));
    std::fs::remove_dir_all(Path::new(&control)).unwrap();
}
