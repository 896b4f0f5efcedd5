//! The host's own store of authorities: a directory of additions, and the tool that merges them.

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

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
    // SUSE.
    Store {
        additions: "/etc/pki/trust/anchors",
        file: "egret.pem",
        merge: &["update-ca-certificates"],
        anew: &["update-ca-certificates", "--fresh"],
    },
    // Debian, Ubuntu, Alpine; SUSE may have its directory, too.
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
    // Arch.
    Store {
        additions: "/etc/ca-certificates/trust-source/anchors",
        file: "egret.crt",
        merge: &["trust", "extract-compat"],
        anew: &["trust", "extract-compat"],
    },
];

/// Puts the root of a chain in, in place of an older one. Returns its file, and whether it was there as it is.
pub(super) fn install(chain: &str) -> anyhow::Result<(PathBuf, bool)> {
    as_root()?;
    let root = root(chain)?;
    let store = here().with_context(|| {
        let known = STORES.iter().map(|store| format!("{} with `{}`", store.additions, store.merge[0]));
        let known = known.collect::<Vec<_>>().join(", ");
        format!("no store of authorities is known here (looked for {known}): use `egret trust env`")
    })?;
    let path = Path::new(store.additions).join(store.file);
    let same = fs::read_to_string(&path).is_ok_and(|there| there == root);
    if !same {
        fs::write(&path, root)
            // Everybody's to read, whatever the caller's umask is.
            .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o644)))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    // A file that changed under its name is not taken anew otherwise.
    run(if same { store.merge } else { store.anew })?;
    Ok((path, same))
}

/// Takes it out, wherever it is. Returns the files that were removed.
pub(super) fn remove() -> anyhow::Result<Vec<PathBuf>> {
    as_root()?;
    let mut removed = Vec::new();
    for store in &STORES {
        let path = Path::new(store.additions).join(store.file);
        if path.exists() {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            removed.push(path);
        } else if here() != Some(store) {
            continue;
        }
        // Also where the file is gone: what removed it may not have come that far.
        run(store.anew)?;
    }
    remove_from_java()?;
    Ok(removed)
}

/// Debian's hook for Java does not hear of what a fresh store has no more.
fn remove_from_java() -> anyhow::Result<()> {
    const STORE: &str = "/etc/ssl/certs/java/cacerts";
    const ALIAS: [&str; 6] = ["-alias", "debian:egret.pem", "-keystore", STORE, "-storepass", "changeit"];
    if !Path::new(STORE).exists() || find("keytool").is_none() {
        return Ok(());
    }
    let is_in = command("keytool").arg("-list").args(ALIAS).output().context("keytool cannot be run")?;
    if is_in.status.success() { run(&[&["keytool", "-delete"][..], &ALIAS].concat()) } else { Ok(()) }
}

/// Programs trust roots, most of them nothing else.
fn root(chain: &str) -> anyhow::Result<String> {
    let all = pem::parse_many(chain).context("the CA's file is not PEM")?;
    let last = all.last().context("no certificate is in the CA's file")?;
    let (_, parsed) = X509Certificate::from_der(last.contents()).context("the CA's file")?;
    if parsed.subject() != parsed.issuer() {
        bail!(
            "Egret's CA is an intermediate of `{}`, whose certificate is not in its file: install that one with your own means",
            parsed.issuer()
        );
    }
    Ok(pem::encode(last))
}

fn as_root() -> anyhow::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("the host's authorities are root's to change: run it with sudo, or use `egret trust env`");
    }
    Ok(())
}

fn here() -> Option<&'static Store> {
    choose(|directory| directory.is_dir(), |program| find(program).is_some())
}

fn choose(is_directory: impl Fn(&Path) -> bool, is_there: impl Fn(&str) -> bool) -> Option<&'static Store> {
    STORES.iter().find(|store| is_directory(Path::new(store.additions)) && is_there(store.merge[0]))
}

/// Where such tools are; sudo and cron leave it out of PATH at times.
const SBIN: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = env::split_paths(&path).chain(SBIN.map(PathBuf::from));
    directories.map(|directory| directory.join(program)).find(|path| path.is_file())
}

fn command(program: &str) -> Command {
    let mut command = Command::new(find(program).unwrap_or_else(|| program.into()));
    command.stdin(Stdio::null());
    command
}

fn run(line: &[&str]) -> anyhow::Result<()> {
    let [program, arguments @ ..] = line else { return Ok(()) };
    let done = command(program).args(arguments).output().with_context(|| format!("{program} cannot be run"))?;
    if !done.status.success() {
        bail!(
            "`{}` failed: {}{}",
            line.join(" "),
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr)
        );
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
            choose(is_directory, |program: &str| programs.contains(&program)).map(|store| store.additions)
        };
        let (debian, suse) = ("/usr/local/share/ca-certificates", "/etc/pki/trust/anchors");
        assert_eq!(chosen(&[debian], &["update-ca-certificates"]), Some(debian));
        assert_eq!(chosen(&[suse], &["update-ca-certificates"]), Some(suse));
        assert_eq!(chosen(&[debian], &["trust"]), None);
        assert_eq!(chosen(&[], &["update-ca-trust"]), None);
    }
}
