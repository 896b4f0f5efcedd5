//! The host's own certificate store: a directory of additions, and the tool that merges them.

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
    /// Name of Egret's file in the directory; some tools read only certain extensions.
    file: &'static str,
    merge: &'static [&'static str],
    /// Like `merge`, after a file was changed or removed.
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
    // Debian, Ubuntu, Alpine. SUSE may have this directory as well.
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

/// Adds the root of a certificate chain, or replaces an older one. Returns its file, and whether it was there already.
pub(super) fn install(chain: &str) -> anyhow::Result<(PathBuf, bool)> {
    as_root()?;
    let root = root(chain)?;
    let store = here().with_context(|| {
        let known = STORES.iter().map(|store| format!("{} with `{}`", store.additions, store.merge[0]));
        let known = known.collect::<Vec<_>>().join(", ");
        format!("no known certificate store is on this host (looked for {known}): use `egret trust env`")
    })?;
    let path = Path::new(store.additions).join(store.file);
    let same = fs::read_to_string(&path).is_ok_and(|there| there == root);
    if !same {
        fs::write(&path, root)
            // Readable for everybody, whatever the caller's umask is.
            .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o644)))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    // `merge` does not notice a file that changed under its name.
    run(if same { store.merge } else { store.anew })?;
    Ok((path, same))
}

/// Removes the CA from every known store. Returns the files that were removed.
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
        // Also if the file is gone: the merge may have failed after an earlier removal.
        run(store.anew)?;
    }
    remove_from_java()?;
    Ok(removed)
}

/// Removes the CA from Java's store: Debian's hook for Java does not notice removals.
fn remove_from_java() -> anyhow::Result<()> {
    const STORE: &str = "/etc/ssl/certs/java/cacerts";
    const ALIAS: [&str; 6] = ["-alias", "debian:egret.pem", "-keystore", STORE, "-storepass", "changeit"];
    if !Path::new(STORE).exists() || find("keytool").is_none() {
        return Ok(());
    }
    let is_in = command("keytool").arg("-list").args(ALIAS).output().context("cannot run keytool")?;
    if is_in.status.success() { run(&[&["keytool", "-delete"][..], &ALIAS].concat()) } else { Ok(()) }
}

/// Returns the root of a certificate chain; most programs trust roots only.
fn root(chain: &str) -> anyhow::Result<String> {
    let all = pem::parse_many(chain).context("the CA's file is not valid PEM")?;
    let last = all.last().context("the CA's file has no certificate")?;
    let (_, parsed) = X509Certificate::from_der(last.contents()).context("the CA's file is not valid")?;
    if parsed.subject() != parsed.issuer() {
        bail!(
            "Egret's CA is an intermediate of `{}`, whose certificate is not in its file: install that certificate instead",
            parsed.issuer()
        );
    }
    Ok(pem::encode(last))
}

fn as_root() -> anyhow::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("only root can change the host's certificate store: run this with sudo, or use `egret trust env`");
    }
    Ok(())
}

fn here() -> Option<&'static Store> {
    choose(|directory| directory.is_dir(), |program| find(program).is_some())
}

fn choose(is_directory: impl Fn(&Path) -> bool, is_there: impl Fn(&str) -> bool) -> Option<&'static Store> {
    STORES.iter().find(|store| is_directory(Path::new(store.additions)) && is_there(store.merge[0]))
}

/// Directories of system tools, which sudo and cron may leave out of PATH.
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
    let done = command(program).args(arguments).output().with_context(|| format!("cannot run {program}"))?;
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
    fn a_store_is_chosen_if_its_directory_and_its_tool_exist() {
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
