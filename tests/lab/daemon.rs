//! The daemon under test: the real executable.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{Lab, eventually};

/// A running `egret run`; killed when dropped.
#[derive(Debug)]
pub struct Egret {
    process: Child,
    log: PathBuf,
}

impl Egret {
    pub(crate) fn start(lab: &Lab, config: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(executable());
        command.args(["run", "--config"]).arg(config).args(arguments);
        Self::start_by(lab, command)
    }

    /// Starts a command that ends up as `egret run`, on the node.
    pub(crate) fn start_by(lab: &Lab, mut command: Command) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let log = lab.directory().join(format!("egret{}.log", NUMBER.fetch_add(1, Ordering::Relaxed)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log).expect("a log"));
        lab.place("egret").put(&mut command);
        Self { process: command.spawn().expect("egret starts"), log }
    }

    /// Waits until it is ready.
    pub fn ready(mut self) -> Self {
        eventually("egret is ready", || {
            assert!(self.runs(), "egret ended:\n{}", self.log());
            self.log().contains("egret: ready")
        });
        self
    }

    /// Whether it has not ended yet.
    pub fn runs(&mut self) -> bool {
        self.process.try_wait().expect("a child").is_none()
    }

    /// What it said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The most memory it has had, in bytes.
    pub fn peak_memory(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// The memory that it has, in bytes.
    pub fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// A line of its status that is in kB, in bytes (proc_pid_status(5)).
    fn status(&self, what: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("a running process");
        let line = status.lines().find_map(|line| line.strip_prefix(what)).expect("a line of the status");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    /// SIGTERM, then waits for its end.
    pub fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        let status = self.process.wait().expect("a child");
        assert!(status.success(), "egret ended with {status}:\n{}", self.log());
    }

    /// SIGTERM, without waiting for its end.
    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Hangs it, as a process that swaps or is debugged hangs.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        self.process.wait().expect("a child");
    }

    /// Waits for its end of its own accord.
    pub fn ended(mut self) {
        eventually("the old process has ended", || self.process.try_wait().expect("a child").is_some());
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.process.id()).expect("a pid")), signal).expect("it runs");
    }
}

impl Drop for Egret {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- egret {} said:\n{}", self.process.id(), self.log());
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `EGRET_BIN`, or the executable beside this one's directory.
pub fn executable() -> PathBuf {
    std::env::var_os("EGRET_BIN").map_or_else(
        || {
            let this = std::env::current_exe().expect("an executable");
            let mut directory = this.parent().expect("a directory").to_owned();
            if directory.ends_with("deps") {
                directory.pop();
            }
            directory.join("egret")
        },
        PathBuf::from,
    )
}
