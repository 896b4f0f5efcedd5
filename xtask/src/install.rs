use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use clap::Args;

use crate::run::{self as build, Profile};
use crate::shell::{root, run};

#[derive(Debug, Args)]
pub(crate) struct Install {
    /// Directory to install to. Created if it does not exist.
    #[arg(long, value_name = "DIR", default_value = "/usr/local")]
    prefix: PathBuf,
    /// Build profile. `release` is the fastest program, and takes minutes to build; `quick` builds sooner.
    #[arg(long, value_enum, default_value_t = Profile::Release)]
    profile: Profile,
}

impl Install {
    /// Installs the executable, the systemd unit, shell completions and manual pages below the prefix.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let egret = build::build_with(self.profile)?;
        // The unit names the executable by its absolute path.
        fs::create_dir_all(&self.prefix).with_context(|| format!("cannot create {}", self.prefix.display()))?;
        let prefix = self.prefix.canonicalize()?;
        let place = |path: &str| {
            let path = prefix.join(path);
            let directory = path.parent().unwrap_or(&path);
            fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
            anyhow::Ok(path)
        };
        let executable = place("bin/egret")?;
        // A program that runs cannot be written to, but its file can be replaced.
        let fresh = executable.with_extension("new");
        fs::copy(&egret, &fresh).with_context(|| format!("cannot write {}", fresh.display()))?;
        fs::rename(&fresh, &executable)?;
        write(&place("lib/systemd/system/egret.service")?, unit(&executable)?.as_bytes())?;
        for (shell, path) in [
            ("bash", "share/bash-completion/completions/egret"),
            ("fish", "share/fish/vendor_completions.d/egret.fish"),
            ("zsh", "share/zsh/site-functions/_egret"),
        ] {
            write(&place(path)?, &generated(&executable, shell)?)?;
        }
        let pages = prefix.join("share/man/man1");
        run(Command::new(&executable).args(["generate", "man"]).arg(&pages))?;
        println!(
            "installed below {}. Next: write /etc/egret/egret.yaml, then `systemctl daemon-reload` and `systemctl enable --now egret`",
            prefix.display()
        );
        Ok(())
    }
}

/// Returns the systemd unit for an executable at this path.
pub(crate) fn unit(executable: &Path) -> anyhow::Result<String> {
    let unit = fs::read_to_string(root().join("config/deploy/egret.service"))?;
    Ok(unit.replace("/usr/local/bin/egret", &executable.display().to_string()))
}

/// Returns the completions for a shell.
pub(crate) fn generated(executable: &Path, shell: &str) -> anyhow::Result<Vec<u8>> {
    let output = Command::new(executable).args(["generate", "completions", shell]).output()?;
    if !output.status.success() {
        bail!("cannot generate completions for {shell}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}

/// Writes a file that everybody may read, whatever the umask is.
fn write(path: &Path, text: &[u8]) -> anyhow::Result<()> {
    fs::write(path, text)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o644)))
        .with_context(|| format!("cannot write {}", path.display()))
}
