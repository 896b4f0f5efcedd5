//! Hooks can be attached and never fire (a wrong cgroup root, a namespace): so a real connection proves them.

use std::fs;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use egret_kernel::KernelReason;

use super::{Capture, Error};
use crate::model::{Action, ApiId, FailMode, Generation, Redirect, Scope};

/// Reserved for documentation (RFC 5737) and on no node; a connection there is refused by our own rule.
const NOWHERE: &str = "192.0.2.255:9";

/// Environment variable that turns a run of this executable into the proof's caller.
const CALLER: &str = "EGRET_PROOF_CALLER";

/// Of no configuration: the API of the proof's rule.
pub(super) const API: ApiId = ApiId(u32::MAX);

/// The cgroup of the test connection.
struct Cgroup {
    path: PathBuf,
    /// Whether it was created for the test, and is removed after it.
    created: bool,
}

impl Cgroup {
    /// Creates a cgroup below the captured one: in this process's own if that is captured, since the root of the hierarchy can be
    /// written to only with CAP_DAC_OVERRIDE. Takes this process's own cgroup if that is the root.
    fn below(captured: &Path) -> Result<Self, Error> {
        let name = format!("egret-proof-{}", std::process::id());
        let own = own_cgroup().filter(|own| own.starts_with(captured));
        let path = own.as_ref().map(|own| own.join(&name)).filter(|path| fs::create_dir(path).is_ok());
        if let Some(path) = path {
            return Ok(Self { path, created: true });
        }
        let path = captured.join(name);
        match (fs::create_dir(&path), own) {
            (Ok(()), _) => Ok(Self { path, created: true }),
            (Err(error), _) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                let why = format!("{error}: in a container, mount the node's /sys/fs/cgroup without `readOnly`");
                Err(Error::Path { what: "create the cgroup", path, cause: io::Error::other(why) })
            }
            (Err(_), Some(own)) => Ok(Self { path: own, created: false }),
            (Err(cause), None) => Err(Error::Path { what: "create the cgroup", path, cause }),
        }
    }
}

/// Returns the cgroup of this process, as far as its namespace shows it (cgroups(7)).
fn own_cgroup() -> Option<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(super::cgroup_root().ok()?.join(path))
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if self.created
            && let Err(error) = fs::remove_dir(&self.path)
        {
            tracing::warn!(%error, cgroup = %self.path.display(), "cannot remove the cgroup of the test connection");
        }
    }
}

pub(super) fn prove(capture: &Capture) -> Result<(), Error> {
    // One at a time: the rule is one.
    static PROVING: Mutex<()> = Mutex::new(());
    let _proving = PROVING.lock().unwrap_or_else(PoisonError::into_inner);
    let silent = |cause: String| Error::Silent { cgroup: capture.tree.captured.clone(), cause };
    let destination: SocketAddr = NOWHERE.parse().map_err(|_| silent("no destination".to_owned()))?;
    let rule = Redirect {
        scope: Scope::Everybody,
        destination,
        action: Action::Deny,
        fail: FailMode::Closed,
        api: API,
        generation: Generation(0),
    };
    let cgroup = Cgroup::below(&capture.tree.captured)?;
    let before = capture.maps.counter(KernelReason::Denied);
    capture.maps.table.insert_rule(&rule)?;
    let outcome = call(&cgroup);
    capture.maps.table.remove_rule(&rule)?;
    outcome.map_err(|error| silent(format!("the proof's caller did not run: {error}")))?;
    if capture.maps.counter(KernelReason::Denied) > before {
        return Ok(());
    }
    Err(silent(
        "a connection from a cgroup below it passed them. Is it the root of the hierarchy that processes are in, not \
         a cgroup namespace's? Name the right one in capture.cgroup"
            .to_owned(),
    ))
}

/// The caller must be in the cgroup before it makes its socket: the hook goes by the socket's cgroup.
fn call(cgroup: &Cgroup) -> io::Result<()> {
    let status = Command::new("/proc/self/exe")
        .env(CALLER, cgroup.path.join("cgroup.procs"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(status.to_string())) }
}

/// If this process is the proof's caller: joins the cgroup, connects, and says so. To be asked first in `main`.
pub fn was_caller() -> bool {
    let Some(procs) = std::env::var_os(CALLER) else { return false };
    if let Err(error) = fs::write(procs, "0") {
        let _ = writeln!(io::stderr(), "egret: the test connection's process cannot join its cgroup: {error}");
        std::process::exit(1);
    }
    if let Ok(destination) = NOWHERE.parse::<SocketAddr>() {
        // Refused by the hook at once; without hooks it leads nowhere.
        let _ = TcpStream::connect_timeout(&destination, Duration::from_secs(1));
    }
    true
}
