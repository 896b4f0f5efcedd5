use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use clap::Args;
use nix::unistd::{getuid, mkdtemp};

use super::{Daemon, Failure, ask, out, trust};

#[derive(Debug, Args)]
pub(super) struct Exec {
    #[command(flatten)]
    daemon: Daemon,
    /// Make the command trust the CA of intercepted APIs by its environment; nothing is installed.
    #[arg(long)]
    trust: bool,
    /// The command and its arguments.
    #[arg(required = true, last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// A cgroup for one command, which is removed when the command has ended.
#[derive(Debug)]
struct Cgroup(PathBuf);

impl Cgroup {
    /// Makes `egret.slice/PROGRAM-uidUID/PID` below `parent`. The second is the owner of the command, so that it has the same
    /// limits each time. The slice is a slice only in name: what is in it does not share one owner.
    fn below(parent: &Path, program: &OsStr) -> anyhow::Result<Self> {
        let path = parent.join("egret.slice").join(owner(program, caller())).join(std::process::id().to_string());
        // Another command that ends may remove a directory on the way that is still empty.
        let mut made = fs::create_dir_all(&path);
        for _ in 0..10 {
            match &made {
                Err(error) if error.kind() == io::ErrorKind::NotFound => made = fs::create_dir_all(&path),
                _ => break,
            }
        }
        made.with_context(|| format!("cannot create the cgroup {}: run it as root", path.display()))?;
        Ok(Self(path))
    }
}

/// Returns the user who runs this, behind sudo as well.
fn caller() -> u32 {
    let behind_sudo = std::env::var("SUDO_UID").ok().and_then(|uid| uid.parse().ok());
    behind_sudo.unwrap_or_else(|| getuid().as_raw())
}

/// Returns the name of the cgroup of a program that this user runs, which cannot be one of systemd's unit names.
fn owner(program: &OsStr, uid: u32) -> String {
    let name = Path::new(program).file_name().unwrap_or(program).to_string_lossy();
    // The name of a file has at most 255 bytes.
    let name: String = name.chars().filter(|letter| !letter.is_control()).take(40).collect();
    format!("{name}-uid{uid}")
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.0) {
            out::error(&format!(
                "egret: cannot remove the cgroup {}, a process still runs in it: {error}",
                self.0.display()
            ));
            return;
        }
        // They stay where another command of the same user, or of another, still runs.
        for directory in self.0.ancestors().skip(1).take(2) {
            let _ = fs::remove_dir(directory);
        }
    }
}

/// The files and the environment that make a command trust the CA. The files are removed when the command has ended.
#[derive(Debug)]
struct Files {
    directory: PathBuf,
    environment: Vec<(&'static str, String)>,
}

impl Files {
    /// Writes the files to a new directory with a name that nobody can guess, and that only this user can write to.
    fn new(daemon: &Daemon) -> Result<Self, Failure> {
        let directory = mkdtemp(&std::env::temp_dir().join("egret-trust-XXXXXX")).map_err(std::io::Error::from)?;
        let mut files = Self { directory, environment: Vec::new() };
        files.environment = trust::environment(daemon, &files.directory)?;
        // The command may run as another user (`sudo -u app`). The files are certificates, which are public.
        fs::set_permissions(&files.directory, fs::Permissions::from_mode(0o755))?;
        Ok(files)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Exec {
    pub(super) fn run(self) -> Result<(), Failure> {
        let [program, arguments @ ..] = self.command.as_slice() else { return Err(Failure::Code(2)) };
        let cgroup = Cgroup::below(&ask::status(&self.daemon.socket)?.cgroup, program)?;
        let procs = cgroup.0.join("cgroup.procs");
        let mut command = Command::new(program);
        command.args(arguments);
        let trust = self.trust.then(|| Files::new(&self.daemon)).transpose()?;
        command.envs(trust.iter().flat_map(|trust| trust.environment.clone()));
        // SAFETY: between fork and exec only open, write and close are called, all async-signal-safe;
        // the path is allocated before, and writing "0" moves the calling process.
        unsafe {
            command.pre_exec(move || fs::write(&procs, "0"));
        }
        let status = command.status().with_context(|| format!("cannot run {}", program.display()))?;
        drop((cgroup, trust));
        match status.code().or_else(|| status.signal().map(|signal| 128 + signal)) {
            Some(0) => Ok(()),
            Some(code) => Err(Failure::Code(u8::try_from(code).unwrap_or(1))),
            None => Err(Failure::Code(1)),
        }
    }
}
