use std::ffi::OsString;
use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use clap::Args;

use super::{Daemon, Failure, ask};

#[derive(Debug, Args)]
pub(super) struct Exec {
    #[command(flatten)]
    daemon: Daemon,
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

impl Exec {
    pub(super) fn run(self) -> Result<(), Failure> {
        let cgroup = Cgroup::below(&ask::status(&self.daemon.socket)?.cgroup)?;
        let procs = cgroup.0.join("cgroup.procs");
        let [program, arguments @ ..] = self.command.as_slice() else { return Err(Failure::Code(2)) };
        let mut command = Command::new(program);
        command.args(arguments);
        // SAFETY: between fork and exec only open, write and close are called, all async-signal-safe;
        // the path is allocated before, and writing "0" moves the calling process.
        unsafe {
            command.pre_exec(move || fs::write(&procs, "0"));
        }
        let status = command.status().with_context(|| format!("cannot run {}", program.display()))?;
        drop(cgroup);
        match status.code().or_else(|| status.signal().map(|signal| 128 + signal)) {
            Some(0) => Ok(()),
            Some(code) => Err(Failure::Code(u8::try_from(code).unwrap_or(1))),
            None => Err(Failure::Code(1)),
        }
    }
}
