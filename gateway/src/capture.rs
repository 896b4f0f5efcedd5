//! The kernel hooks, user half: attach, pin, publish rules, read origins, detach. The only room that says `aya`.

mod bpf;

mod btf;

mod bypasses;

mod cgroup;

pub mod container;

mod decisions;

mod dns;

mod everywhere;

mod features;

mod kernel;

mod links;

mod log;

mod maps;

mod namespaces;

mod origins;

mod pins;

mod ports;

mod proof;

mod rows;

mod sockets;

mod table;

mod unlisted;

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use egret_kernel::{ABI_VERSION, KernelReason};
use thiserror::Error as ThisError;

pub use cgroup::{CgroupPaths, cgroup_root};
pub use decisions::Decisions;
pub use features::{Feature, features};
pub use namespaces::{Arrivals, netns_cookie};
pub use ports::ports;
pub use proof::was_caller;

use crate::model::{HookCounters, Origin, Redirect, Scope};
use maps::Maps;

/// Rows of owners that the kernel's table has room for.
pub const SCOPED_CAPACITY: usize = egret_kernel::MAX_SCOPED as usize;

/// Rows that the kernel's table has room for, beside Egret's own.
pub const CAPACITY: usize = egret_kernel::MAX_REDIRECTS as usize - maps::OWN_ROWS;

/// Where and how to attach.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cgroup whose processes are captured; the root of the cgroup v2 hierarchy if absent.
    pub cgroup: Option<PathBuf>,
    /// Directory in a bpffs for the pins: while they are there, the hooks outlive the process, however it ends.
    pub pins: PathBuf,
    /// Whether the pins must outlive this process's container.
    pub outlive: bool,
    /// Whether the running process hands its sockets over to this one. It then shares the pins until it ends.
    pub taking_over: bool,
    /// Age of the heartbeat from which the hooks follow the fail modes.
    pub stale_after: Duration,
}

/// Why the hooks could not be attached, published or removed.
#[derive(Debug, ThisError)]
pub enum Error {
    /// An operation on a path failed.
    #[error("cannot {what} {}: {cause}", path.display())]
    Path {
        /// What was tried.
        what: &'static str,
        /// The path on which it failed.
        path: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
    /// No cgroup v2 hierarchy is mounted.
    #[error(
        "no cgroup v2 hierarchy is mounted: mount one (`mount -t cgroup2 none /sys/fs/cgroup/unified`) or name it \
         in capture.cgroup"
    )]
    NoCgroup,
    /// The kernel refused the object.
    #[error("the kernel refused the hooks: {0}")]
    Load(String),
    /// A hook could not be attached or replaced.
    #[error("cannot attach {hook}: {cause}")]
    Attach {
        /// The name of the hook.
        hook: &'static str,
        /// What the kernel said.
        cause: String,
    },
    /// Pinned maps are another version's.
    #[error(
        "the hooks pinned below {} speak ABI {found}, this egret speaks {ABI_VERSION}: run `egret detach`, then start \
         again", pins.display()
    )]
    Abi {
        /// The directory of the pins.
        pins: PathBuf,
        /// The ABI version of the pinned maps.
        found: u32,
    },
    /// Another process uses the pins.
    #[error(
        "another egret uses the pins below {}: stop it, choose another directory in capture.pins, or run both with \
         --persist to take over from it", pins.display()
    )]
    InUse {
        /// The directory of the pins.
        pins: PathBuf,
    },
    /// A map refused an operation.
    #[error("map {map}: {cause}")]
    Map {
        /// The name of the map.
        map: &'static str,
        /// What the kernel said.
        cause: String,
    },
    /// Rows of the kernel's table could not be changed.
    #[error("{failed} rows of the kernel's table could not be changed, the first one because: {cause}")]
    Rows {
        /// How many rows.
        failed: usize,
        /// What the kernel said of the first one.
        cause: String,
    },
    /// The hooks are attached but do not fire.
    #[error("the hooks are attached to {} but do not fire: {cause}", cgroup.display())]
    Silent {
        /// Where they are attached.
        cgroup: PathBuf,
        /// What was observed.
        cause: String,
    },
}

/// A hook that is attached.
#[derive(Clone, Debug)]
pub struct Hook {
    /// The name of the hook.
    pub name: &'static str,
    /// The cgroup that the hook is attached to.
    pub attached_to: PathBuf,
    /// Where its link is pinned.
    pub pinned: Option<PathBuf>,
    /// The kernel's id of the program.
    pub program_id: u32,
    /// How often the program ran, and for how long altogether, since the kernel keeps statistics
    /// (`kernel.bpf_stats_enabled`; both stand still while it does not).
    pub runs: u64,
    /// The time that all runs took, while the kernel counts it.
    pub run_time: Duration,
}

/// The attached hooks and their maps.
#[derive(Debug)]
pub struct Capture {
    maps: Maps,
    links: links::Links,
    tree: cgroup::Tree,
    paths: CgroupPaths,
    open_at_start: bypasses::OpenAtStart,
    pins: PathBuf,
    claim: pins::Claim,
    adopted: bool,
}

impl Capture {
    /// Loads the hooks and attaches them, or replaces the programs behind pinned hooks without a gap.
    pub fn attach(options: &Options) -> Result<Self, Error> {
        let tree = cgroup::tree(options.cgroup.as_deref())?;
        let directory =
            File::open(&tree.root).map_err(|cause| Error::Path { what: "open", path: tree.root.clone(), cause })?;
        let claim = pins::claim(&options.pins, options.taking_over, options.outlive)?;
        let adopted = links::is_pinned(&options.pins);
        let mut object = maps::load(&options.pins)?;
        log::show(&mut object);
        let maps = Maps::take(&mut object)?;
        maps.check_abi(&options.pins)?;
        maps.settle(tree.below.unwrap_or(0), options.stale_after)?;
        let links = links::attach(&mut object, directory.as_fd(), &options.pins)?;
        let paths = CgroupPaths::new(tree.root.clone())?;
        let open_at_start = bypasses::OpenAtStart::default();
        Ok(Self { maps, links, tree, paths, open_at_start, pins: options.pins.clone(), claim, adopted })
    }

    /// Whether a former process left its hooks behind, which this one continues.
    pub fn adopted(&self) -> bool {
        self.adopted
    }

    /// The cgroup whose processes are captured.
    pub fn cgroup(&self) -> &Path {
        &self.tree.captured
    }

    /// Tells the hooks where to send connections, and marks the listeners as ours.
    pub fn listen(&self, v4: BorrowedFd<'_>, v6: Option<BorrowedFd<'_>>) -> Result<(), Error> {
        self.maps.listen(v4, v6)
    }

    /// Marks sockets that listen in another network namespace as ours.
    pub fn mark(&self, v4: BorrowedFd<'_>, v6: Option<BorrowedFd<'_>>) -> Result<(), Error> {
        self.maps.mark_listeners(v4, v6)
    }

    /// Tells the hooks whether Egret listens in this network namespace. If not, its callers follow the fail modes for a second.
    pub fn listens_in(&self, netns: u64, is_so: bool) -> Result<(), Error> {
        self.maps.namespaces.set(netns, is_so)
    }

    /// Makes the hooks forget a network namespace that is gone.
    pub fn forget(&self, netns: u64) {
        self.maps.namespaces.forget(netns);
    }

    /// Makes the hooks forget all network namespaces but these.
    pub fn keep(&self, served: &HashSet<u64>) -> Result<(), Error> {
        self.maps.namespaces.keep(served)
    }

    /// Returns the callers from network namespaces in which Egret does not listen yet; for one reader.
    ///
    /// # Errors
    /// They have their reader already, or cannot be waited for.
    pub fn arrivals(&self) -> io::Result<Arrivals> {
        self.maps.namespaces.arrivals()
    }

    /// Writes a heartbeat.
    pub fn beat(&self) -> Result<(), Error> {
        self.maps.beat()
    }

    /// Replaces the kernel's table.
    pub fn publish(&self, redirects: &[Redirect]) -> Result<(), Error> {
        self.maps.table.publish(redirects)
    }

    /// Writes and removes some rows of the kernel's table.
    pub fn change(&self, redirects: &[Redirect], gone: &[(Scope, SocketAddr)]) -> Result<(), Error> {
        self.maps.table.change(redirects, gone)
    }

    /// The kernel's table, with how often each row matched.
    pub fn redirects(&self) -> Result<Vec<(Redirect, HookCounters)>, Error> {
        self.maps.table.rows()
    }

    /// Returns the row of the kernel's table for a destination and these callers, if there is one.
    pub fn row(&self, scope: Scope, destination: SocketAddr) -> Option<(Redirect, HookCounters)> {
        self.maps.table.row(scope, destination)
    }

    /// Returns the caller of an accepted connection and what it asked for.
    pub fn origin(&self, socket: BorrowedFd<'_>) -> Option<Origin> {
        self.maps.origins.of(socket).as_ref().map(rows::origin)
    }

    /// Returns what the hooks decide about connections that never reach the listener; for one reader.
    ///
    /// # Errors
    /// It has its reader already, or cannot be waited for.
    pub fn decisions(&self) -> io::Result<Decisions> {
        self.maps.decisions()
    }

    /// Marks a socket of ours before it connects.
    pub fn exempt(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        self.maps.exempt(socket)
    }

    /// The kernel half's decisions so far.
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        KernelReason::ALL.iter().map(|reason| (reason.label(), self.maps.counter(*reason))).collect()
    }

    /// Removes the hooks and their pins: from here on, every connection goes direct.
    pub fn remove(&self) -> Result<(), Error> {
        self.links.release();
        links::detach(&self.pins)?;
        self.leave();
        Ok(())
    }

    /// Leaves the pins to the next process, with the hooks in place.
    pub fn leave(&self) {
        self.claim.release();
    }

    /// Returns the attached hooks.
    pub fn hooks(&self) -> Vec<Hook> {
        self.links.hooks(&self.tree.root)
    }

    /// The number of connections between `connect` and the listener.
    pub fn origins_used(&self) -> usize {
        self.maps.origins.used()
    }

    /// The number of events about decisions that were lost.
    pub fn events_lost(&self) -> u64 {
        self.maps.events_lost()
    }

    /// Deletes origin records older than this: their connections never reached the listener.
    pub fn sweep(&self, older_than: Duration) -> usize {
        self.maps.origins.sweep(older_than)
    }

    /// Proves with a real connection in a throw-away cgroup that the hooks fire.
    pub fn prove(&self) -> Result<(), Error> {
        proof::prove(self)
    }
}

/// Removes every pin below this directory, and so the hooks: whether a daemon runs or not.
pub fn detach(pins: &Path) -> Result<Vec<PathBuf>, Error> {
    links::detach(pins)
}

/// Returns the directories in which hooks of Egret are pinned, on all mounted bpffs.
pub fn pinned() -> Vec<PathBuf> {
    links::pinned()
}

impl Error {
    /// The kernel refused the object or a hook, for this cause.
    fn load(cause: &str) -> Self {
        Self::Load(kernel::explain(cause))
    }
}

fn map_error(map: &'static str) -> impl Fn(aya::maps::MapError) -> Error {
    move |error| Error::Map { map, cause: chain(&error) }
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
