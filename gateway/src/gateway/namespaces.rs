//! The network namespaces of callers. Egret listens in each of them, from its first connection to a captured destination until its
//! last process is gone.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::deserted::deserted;
use crate::capture::{Arrivals, Capture, netns_cookie};
use crate::flow::{Bound, Share, Shares, Workloads};
use crate::listener::{Accepted, Entrance, Listeners, namespace_of};
use crate::model::Newcomer;

/// How often Egret looks for namespaces whose processes are gone.
const SWEEP: Duration = Duration::from_secs(5);

/// How many looks in a row must find no process.
const LOOKS: u8 = 2;

/// Namespaces in which Egret listens at most; each takes two descriptors. Where few files may be open, they are a quarter of these.
const BOUND: Bound = Bound { all: 4096, each: 1024 };

/// Takes an accepted connection.
pub(super) type Serve = Arc<dyn Fn(Accepted) + Send + Sync>;

/// The network namespaces of callers.
pub(super) struct Namespaces {
    capture: Arc<Capture>,
    workloads: Arc<Workloads>,
    entrance: Entrance,
    /// Those of the node, on whose ports Egret listens in each namespace.
    nodes: Arc<Listeners>,
    serve: Serve,
    served: Mutex<HashMap<u64, Served>>,
    /// The namespaces that it is about to listen in.
    welcoming: Mutex<HashSet<u64>>,
    shares: Shares,
    bound: Bound,
    accepting: TaskTracker,
    stop: CancellationToken,
    door: tokio::sync::Mutex<Door>,
}

/// Who waits for newcomers.
enum Door {
    /// Nobody, until another process has taken over, or has failed to.
    Closed(Option<Box<Arrivals>>),
    /// This task, until it is told to rest.
    Open(CancellationToken, JoinHandle<Box<Arrivals>>),
}

/// Egret is about to listen in a namespace, until this is dropped.
struct Welcoming<'a>(&'a Namespaces, u64);

impl<'a> Welcoming<'a> {
    /// Returns nothing if it is about to already.
    fn begin(namespaces: &'a Namespaces, netns: u64) -> Option<Self> {
        let mut all = namespaces.welcoming.lock().unwrap_or_else(PoisonError::into_inner);
        // Made only if it is the first: its drop would end the other's.
        all.insert(netns).then(|| Self(namespaces, netns))
    }
}

impl Drop for Welcoming<'_> {
    fn drop(&mut self) {
        self.0.welcoming.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

/// A namespace in which Egret listens.
struct Served {
    listeners: Arc<Listeners>,
    /// The inode number of the namespace.
    inode: u64,
    /// Looks in a row that found no process.
    deserted: u8,
    /// Ends the listeners.
    stop: CancellationToken,
    _share: Option<Share>,
}

impl Namespaces {
    pub(super) fn new(
        capture: &Arc<Capture>,
        workloads: &Arc<Workloads>,
        nodes: &Arc<Listeners>,
        serve: Serve,
        stop: &CancellationToken,
    ) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            capture: Arc::clone(capture),
            workloads: Arc::clone(workloads),
            entrance: Entrance::open()?,
            nodes: Arc::clone(nodes),
            serve,
            served: Mutex::default(),
            welcoming: Mutex::default(),
            shares: Shares::default(),
            bound: bound(open_files()),
            accepting: TaskTracker::new(),
            stop: stop.clone(),
            door: tokio::sync::Mutex::new(Door::Closed(None)),
        }))
    }

    /// Goes on where another process listened, with its sockets, and makes the hooks forget all other namespaces.
    pub(super) fn adopt(self: &Arc<Self>, sockets: Vec<OwnedFd>) -> anyhow::Result<()> {
        let mut by_namespace: HashMap<u64, (Option<OwnedFd>, Option<OwnedFd>)> = HashMap::new();
        for socket in sockets {
            let netns = netns_cookie(socket.as_fd())?;
            let is_v4 = socket2::SockRef::from(&socket).local_addr()?.is_ipv4();
            let pair = by_namespace.entry(netns).or_default();
            *if is_v4 { &mut pair.0 } else { &mut pair.1 } = Some(socket);
        }
        for (v4, v6) in by_namespace.into_values() {
            if let Some(v4) = v4 {
                self.take_in(Listeners::adopt(v4, v6)?, None)?;
            }
        }
        self.capture.keep(&self.served().keys().copied().collect())?;
        Ok(())
    }

    /// Listens in the namespaces of callers as they come, and leaves those that are deserted.
    pub(super) async fn start(self: &Arc<Self>, arrivals: Arrivals) {
        *self.door.lock().await = Door::Closed(Some(Box::new(arrivals)));
        self.resume().await;
    }

    /// Waits for newcomers again, after another process has failed to take over.
    pub(super) async fn resume(self: &Arc<Self>) {
        let mut door = self.door.lock().await;
        if let Door::Closed(arrivals) = &mut *door
            && let Some(arrivals) = arrivals.take()
        {
            let rest = self.stop.child_token();
            *door = Door::Open(rest.clone(), tokio::spawn(Arc::clone(self).wait(arrivals, rest)));
        }
    }

    async fn wait(self: Arc<Self>, mut arrivals: Box<Arrivals>, rest: CancellationToken) -> Box<Arrivals> {
        let mut sweep = tokio::time::interval(SWEEP);
        let mut welcoming = JoinSet::new();
        loop {
            tokio::select! {
                () = rest.cancelled() => break,
                newcomer = arrivals.next() => match newcomer {
                    Ok(newcomer) => drop(welcoming.spawn(Arc::clone(&self).welcome(newcomer))),
                    Err(error) => {
                        tracing::error!(%error, "cannot learn of callers in other network namespaces: their APIs follow the fail modes");
                        break;
                    }
                },
                Some(_) = welcoming.join_next() => {}
                _ = sweep.tick() => self.sweep().await,
            }
        }
        welcoming.join_all().await;
        arrivals
    }

    /// Listens in the namespace of a caller whose connection waits for that.
    async fn welcome(self: Arc<Self>, newcomer: Newcomer) {
        let Newcomer { netns, pid, .. } = newcomer;
        // The hooks may have forgotten it.
        if self.served().contains_key(&netns) {
            self.tell(netns);
            return;
        }
        // The first of two callers is enough.
        let Some(_welcoming) = Welcoming::begin(&self, netns) else { return };
        let Err(error) = self.listen(newcomer).await else { return };
        if !self.tell(netns) {
            tracing::warn!(
                netns, pid, %error,
                "cannot listen in a caller's network namespace: its connections follow the fail modes. Egret tries again each second"
            );
        }
    }

    /// Tells the hooks whether Egret listens in a namespace, and returns it.
    fn tell(&self, netns: u64) -> bool {
        // Locked until the hooks know, so that they hear last what is so last.
        let served = self.served();
        let is_served = served.contains_key(&netns);
        if let Err(error) = self.capture.listens_in(netns, is_served) {
            tracing::error!(%error, "cannot tell the hooks about a network namespace");
        }
        is_served
    }

    async fn listen(self: &Arc<Self>, Newcomer { netns, cgroup, pid, thread }: Newcomer) -> anyhow::Result<()> {
        let (owner, _) = self.workloads.owner(cgroup).await;
        let share = self.shares.take(&owner, 1, self.bound);
        let share = share.ok_or_else(|| anyhow::anyhow!("{owner} has too many network namespaces"))?;
        let namespace = PathBuf::from(format!("/proc/{pid}/task/{thread}/ns/net"));
        let listeners = self.entrance.listen(namespace, &self.nodes).await?;
        let (v4, _) = listeners.sockets();
        anyhow::ensure!(
            netns_cookie(v4)? == netns,
            "the caller's socket is of another network namespace than the caller"
        );
        self.take_in(listeners, Some(share))
    }

    /// Accepts on these listeners, and tells the hooks so.
    fn take_in(self: &Arc<Self>, listeners: Listeners, share: Option<Share>) -> anyhow::Result<()> {
        let listeners = Arc::new(listeners);
        let (v4, v6) = listeners.sockets();
        let (netns, inode) = (netns_cookie(v4)?, namespace_of(v4)?);
        self.capture.mark(v4, v6)?;
        let stop = self.stop.child_token();
        let served =
            Served { listeners: Arc::clone(&listeners), inode, deserted: 0, stop: stop.clone(), _share: share };
        self.served().insert(netns, served);
        self.tell(netns);
        let this = Arc::clone(self);
        self.accepting.spawn(async move {
            if let Err(error) = listeners.accept(stop, |accepted| (this.serve)(accepted)).await {
                this.expelled(netns, &listeners, &error);
            }
        });
        Ok(())
    }

    /// The sockets in a namespace do not listen any more. Its next caller after a second makes it known again.
    fn expelled(&self, netns: u64, listeners: &Arc<Listeners>, error: &io::Error) {
        let is_same = |served: &Served| Arc::ptr_eq(&served.listeners, listeners);
        if self.served().get(&netns).is_some_and(is_same) {
            self.served().remove(&netns);
            self.tell(netns);
            tracing::warn!(netns, %error, "a program closed Egret's socket in its network namespace: its connections follow the fail modes for a second");
        }
    }

    /// Leaves namespaces in which no process has been for a while. A caller that still comes from there makes it known again.
    async fn sweep(&self) {
        let served: HashSet<u64> = self.served().values().map(|served| served.inode).collect();
        if served.is_empty() {
            return;
        }
        let Ok(deserted) = tokio::task::spawn_blocking(move || deserted(served)).await else { return };
        self.served().retain(|netns, served| {
            served.deserted = if deserted.contains(&served.inode) { served.deserted + 1 } else { 0 };
            let stays = served.deserted < LOOKS;
            if !stays {
                self.capture.forget(*netns);
                served.stop.cancel();
            }
            stays
        });
    }

    /// Leaves newcomers to another process, which takes over with these duplicates of the sockets.
    pub(super) async fn pass_on(&self) -> io::Result<Vec<OwnedFd>> {
        let mut door = self.door.lock().await;
        if let Door::Open(rest, task) = &mut *door {
            rest.cancel();
            *door = Door::Closed(task.await.ok());
        }
        let served = self.served();
        let sockets = served.values().flat_map(|served| {
            let (v4, v6) = served.listeners.sockets();
            [Some(v4), v6]
        });
        sockets.flatten().map(|socket| socket.try_clone_to_owned()).collect()
    }

    /// Waits until no listener accepts any more, after the run has been stopped.
    pub(super) async fn stopped(&self) {
        self.accepting.close();
        self.accepting.wait().await;
    }

    /// Returns the number of namespaces in which Egret listens.
    pub(super) fn count(&self) -> usize {
        self.served().len()
    }

    fn served(&self) -> MutexGuard<'_, HashMap<u64, Served>> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open_files() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft)
}

fn bound(open_files: u64) -> Bound {
    let all = BOUND.all.min(open_files / 8).max(2);
    Bound { all, each: BOUND.each.min(all / 2) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_take_a_quarter_of_the_descriptors_at_most() {
        assert_eq!(bound(524_288), BOUND);
        assert_eq!(bound(20_000), Bound { all: 2500, each: 1024 });
        assert_eq!(bound(1024), Bound { all: 128, each: 64 });
        assert_eq!(bound(0), Bound { all: 2, each: 1 });
    }
}
