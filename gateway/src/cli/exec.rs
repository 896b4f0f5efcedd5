use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use clap::Args;

use super::{Daemon, Failure, ask, trust};

#[derive(Debug, Args)]
pub(super) struct Exec {
    #[command(flatten)]
    daemon: Daemon,
    /// Let it trust the CA of intercepted APIs, by its environment; nothing is installed.
    #[arg(long)]
    trust: bool,
    /// The command and its arguments.
    #[arg(required = true, last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// A cgroup for one command; removed when the command has ended.
#[derive(Debug)]
struct Cgroup(PathBuf);

impl Cgroup {
    fn below(parent: &Path) -> anyhow::Result<Self> {
        let path = parent.join(format!("egret-exec-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot make the cgroup {} (root is needed)", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.0) {
            eprintln!("egret: the cgroup {} stays, something still runs in it: {error}", self.0.display());
        }
    }
}

/// What makes a command trust the CA; removed when it has ended.
#[derive(Debug)]
struct Files {
    directory: PathBuf,
    environment: Vec<(&'static str, String)>,
}

impl Files {
    fn new(daemon: &Daemon) -> Result<Self, Failure> {
        let directory = std::env::temp_dir().join(format!("egret-trust-{}", std::process::id()));
        // Nobody else's: a stranger's directory of that name is an error.
        fs::DirBuilder::new().mode(0o755).create(&directory)?;
        let environment = trust::environment(daemon, &directory)?;
        Ok(Self { directory, environment })
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Exec {
    pub(super) fn run(self) -> Result<(), Failure> {
        let cgroup = Cgroup::below(&ask::status(&self.daemon.socket)?.cgroup)?;
        let procs = cgroup.0.join("cgroup.procs");
        let [program, arguments @ ..] = self.command.as_slice() else { return Err(Failure::Code(2)) };
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
