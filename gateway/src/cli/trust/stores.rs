//! The host's own store of authorities: a directory of additions, and the tool that merges them.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

#[derive(Debug, PartialEq, Eq)]
struct Store {
    additions: &'static str,
    /// The name of our file there: some tools go by its ending.
    file: &'static str,
    merge: &'static [&'static str],
    /// As `merge`, when something was taken out.
    anew: &'static [&'static str],
}

const STORES: [Store; 4] = [
    // Debian, Ubuntu, Alpine.
    Store {
        additions: "/usr/local/share/ca-certificates",
        file: "egret.crt",
        merge: &["update-ca-certificates"],
        anew: &["update-ca-certificates", "--fresh"],
    },
    // Fedora, RHEL, Amazon Linux.
    Store {
        additions: "/etc/pki/ca-trust/source/anchors",
        file: "egret.pem",
        merge: &["update-ca-trust", "extract"],
        anew: &["update-ca-trust", "extract"],
    },
    // SUSE.
    Store {
        additions: "/etc/pki/trust/anchors",
        file: "egret.pem",
        merge: &["update-ca-certificates"],
        anew: &["update-ca-certificates", "--fresh"],
    },
    // Arch.
    Store {
        additions: "/etc/ca-certificates/trust-source/anchors",
        file: "egret.crt",
        merge: &["trust", "extract-compat"],
        anew: &["trust", "extract-compat"],
    },
];

/// Puts a certificate in, in place of an older one. Returns its file, and whether it was there as it is.
pub(super) fn install(certificate: &str) -> anyhow::Result<(PathBuf, bool)> {
    as_root()?;
    let store = choose(|directory| directory.is_dir(), &is_there).with_context(|| {
        let known = STORES.iter().map(|store| format!("{} with `{}`", store.additions, store.merge[0]));
        let known = known.collect::<Vec<_>>().join(", ");
        format!("no store of authorities is known here (looked for {known}): use `egret trust env`")
    })?;
    let path = Path::new(store.additions).join(store.file);
    let same = fs::read_to_string(&path).is_ok_and(|there| there == certificate);
    if !same {
        fs::write(&path, certificate).with_context(|| format!("cannot write {}", path.display()))?;
    }
    // A file that changed under its name is not taken anew otherwise.
    run(if same { store.merge } else { store.anew })?;
    Ok((path, same))
}

/// Takes it out, wherever it is. Returns the files that were removed.
pub(super) fn remove() -> anyhow::Result<Vec<PathBuf>> {
    as_root()?;
    let mut removed = Vec::new();
    for store in STORES {
        let path = Path::new(store.additions).join(store.file);
        if path.exists() {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            run(store.anew)?;
            removed.push(path);
        }
    }
    Ok(removed)
}

fn as_root() -> anyhow::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("the host's authorities are root's to change: run it with sudo, or use `egret trust env`");
    }
    Ok(())
}

fn choose(is_directory: impl Fn(&Path) -> bool, is_there: &dyn Fn(&str) -> bool) -> Option<&'static Store> {
    STORES.iter().find(|store| is_directory(Path::new(store.additions)) && is_there(store.merge[0]))
}

fn is_there(program: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|directory| directory.join(program).is_file()))
}

fn run(command: &[&str]) -> anyhow::Result<()> {
    let [program, arguments @ ..] = command else { return Ok(()) };
    let done = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let done = done.with_context(|| format!("{program} cannot be run"))?;
    if !done.status.success() {
        bail!("`{}` failed: {}", command.join(" "), String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_a_directory_and_its_tool() {
        let chosen = |directories: &[&str], programs: &[&str]| {
            let is_directory = |path: &Path| directories.contains(&path.to_str().unwrap());
            choose(is_directory, &|program: &str| programs.contains(&program)).map(|store| store.additions)
        };
        let (debian, suse) = ("/usr/local/share/ca-certificates", "/etc/pki/trust/anchors");
        assert_eq!(chosen(&[debian], &["update-ca-certificates"]), Some(debian));
        assert_eq!(chosen(&[suse], &["update-ca-certificates"]), Some(suse));
        assert_eq!(chosen(&[debian], &["trust"]), None);
        assert_eq!(chosen(&[], &["update-ca-trust"]), None);
    }
}
