//! The network namespaces of callers. Egret listens in each of them, from its first query or connection to a captured destination, or
//! before it where it knows of the namespace, until its last process is gone.

mod dns;
mod newcomers;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(super) use self::dns::exit;
use self::dns::open_dns;
use self::newcomers::{Change, Found, From, Named, of_processes, own};
use super::deserted::deserted;
use super::forwarding::Forwarding;
use crate::capture::{Arrivals, Capture, netns_cookie};
use crate::flow::{Bound, Share, Shares, Workloads};
use crate::listener::{Accepted, Entrance, Listeners, Loopback, Way, namespace_of};
use crate::model::Newcomer;
use crate::names::ForeignDnsSockets;

/// How often Egret looks for namespaces whose processes are gone.
const SWEEP: Duration = Duration::from_secs(5);

/// How soon it looks after a container runtime has removed a namespace: it may remove others too.
const REMOVED: Duration = Duration::from_millis(100);

/// How many looks in a row must find no process.
const LOOKS: u8 = 2;

/// How soon Egret looks again at a new namespace that is not ready: a container runtime takes some milliseconds for it.
const SOON: Duration = Duration::from_millis(5);

/// How often it looks so; then it looks less often.
const TIMES: u32 = 400;

/// Namespaces in which Egret listens at most; each takes four descriptors. Where few files may be open, they are a quarter of these.
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
    /// The forwarder of DNS queries; none if they leave directly.
    forwarding: Option<Forwarding>,
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
struct Welcoming(Arc<Namespaces>, u64);

impl Welcoming {
    /// Returns nothing if it is about to already.
    fn begin(namespaces: &Arc<Namespaces>, netns: u64) -> Option<Self> {
        let mut all = namespaces.welcoming.lock().unwrap_or_else(PoisonError::into_inner);
        // Made only if it is the first: its drop would end the other's.
        all.insert(netns).then(|| Self(Arc::clone(namespaces), netns))
    }
}

impl Drop for Welcoming {
    fn drop(&mut self) {
        self.0.welcoming.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

/// What a look at a namespace found.
enum Look {
    /// Egret listens there, or is about to.
    Known,
    /// Its loopback is not up.
    NotReady,
    /// Egret has opened sockets.
    Opened(Welcoming, u64, Opened),
}

/// The sockets in a namespace that another process has passed on.
#[derive(Default)]
struct Passed {
    v4: Option<OwnedFd>,
    v6: Option<OwnedFd>,
    dns: Vec<OwnedFd>,
}

/// Sockets that were made in a namespace.
struct Opened {
    listeners: (OwnedFd, Option<OwnedFd>),
    /// None if the loopback is down, or another program has a port of these.
    dns: Option<Vec<OwnedFd>>,
}

/// A namespace in which Egret listens.
struct Served {
    listeners: Arc<Listeners>,
    /// The forwarder's sockets, if it forwards there.
    dns: Option<ForeignDnsSockets>,
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
        entrance: Entrance,
        serve: Serve,
        forwarding: Option<Forwarding>,
        stop: &CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            capture: Arc::clone(capture),
            workloads: Arc::clone(workloads),
            entrance,
            nodes: Arc::clone(nodes),
            serve,
            forwarding,
            served: Mutex::default(),
            welcoming: Mutex::default(),
            shares: Shares::default(),
            bound: bound(open_files()),
            accepting: TaskTracker::new(),
            stop: stop.clone(),
            door: tokio::sync::Mutex::new(Door::Closed(None)),
        })
    }

    /// Goes on where another process listened, with its sockets, and makes the hooks forget all other namespaces.
    pub(super) fn adopt(self: &Arc<Self>, sockets: Vec<OwnedFd>) -> anyhow::Result<()> {
        let mut by_namespace: HashMap<u64, Passed> = HashMap::new();
        for socket in sockets {
            let passed = by_namespace.entry(netns_cookie(socket.as_fd())?).or_default();
            let about = socket2::SockRef::from(&socket);
            match (about.r#type()?, about.local_addr()?.is_ipv4()) {
                (socket2::Type::DGRAM, _) => passed.dns.push(socket),
                (_, true) => passed.v4 = Some(socket),
                (_, false) => passed.v6 = Some(socket),
            }
        }
        for Passed { v4, v6, dns } in by_namespace.into_values() {
            if let Some(v4) = v4 {
                self.take_in(Opened { listeners: (v4, v6), dns: Some(dns).filter(|dns| !dns.is_empty()) }, None)?;
            }
        }
        self.capture.keep(&self.served().keys().copied().collect())?;
        Ok(())
    }

    /// Listens in the namespaces that there are, and in those of callers as they come, and leaves those that are deserted.
    pub(super) async fn start(self: &Arc<Self>, arrivals: Arrivals) {
        let adopted: Vec<_> = self.served().keys().copied().collect();
        for netns in adopted {
            self.forward_dns(netns);
        }
        *self.door.lock().await = Door::Closed(Some(Box::new(arrivals)));
        self.resume().await;
    }

    /// Waits for newcomers, also after another process has failed to take over.
    pub(super) async fn resume(self: &Arc<Self>) {
        let mut door = self.door.lock().await;
        if let Door::Closed(arrivals) = &mut *door
            && let Some(arrivals) = arrivals.take()
        {
            let (rest, expecting) = (self.stop.child_token(), TaskTracker::new());
            let (named, found) = self.watch();
            let waiting = Arc::clone(self).wait(arrivals, named, expecting.clone(), rest.clone());
            *door = Door::Open(rest.clone(), tokio::spawn(waiting));
            self.look_around(found, &expecting, &rest).await;
        }
    }

    /// Watches for new namespaces, and returns those of container runtimes, if DNS queries are forwarded: these do not wait, as connections
    /// do.
    fn watch(&self) -> (Option<Named>, Vec<Found>) {
        let named = self.forwarding.as_ref().map(|_| Named::open()).transpose();
        let mut named = named.unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot watch for new network namespaces: the first DNS query of each leaves directly");
            None
        });
        let found = named.as_mut().map(Named::watch).unwrap_or_default();
        (named, found)
    }

    /// Listens in these namespaces and in those of processes, as soon as they are ready. Returns when it listens in those that are.
    async fn look_around(self: &Arc<Self>, mut found: Vec<Found>, expecting: &TaskTracker, rest: &CancellationToken) {
        if self.forwarding.is_none() {
            return;
        }
        let (cgroup, mut known): (_, HashSet<_>) =
            (self.capture.cgroup().to_owned(), self.served().values().map(|served| served.inode).collect());
        known.extend(own());
        found.extend(tokio::task::spawn_blocking(move || of_processes(&cgroup, known)).await.unwrap_or_default());
        let looking = found.into_iter().map(|found| {
            let this = Arc::clone(self);
            async move {
                let owner = this.owner_of(found.from).await;
                (!this.listen_in(&found.path, &owner, Loopback::V4).await).then_some(found)
            }
        });
        for found in looking.collect::<JoinSet<_>>().join_all().await.into_iter().flatten() {
            self.spawn_expect(found, expecting, rest);
        }
    }

    fn spawn_expect(self: &Arc<Self>, found: Found, expecting: &TaskTracker, rest: &CancellationToken) {
        expecting.spawn(rest.clone().run_until_cancelled_owned(Arc::clone(self).expect(found)));
    }

    async fn wait(
        self: Arc<Self>,
        mut arrivals: Box<Arrivals>,
        mut named: Option<Named>,
        expecting: TaskTracker,
        rest: CancellationToken,
    ) -> Box<Arrivals> {
        let mut sweep = tokio::time::interval(SWEEP);
        let (mut welcoming, mut removed) = (JoinSet::new(), None);
        loop {
            let change = async {
                match &mut named {
                    Some(named) => named.next().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = rest.cancelled() => break,
                newcomer = arrivals.next() => match newcomer {
                    Ok(newcomer) => drop(welcoming.spawn(Arc::clone(&self).welcome(newcomer))),
                    Err(error) => {
                        tracing::error!(%error, "cannot learn of callers in other network namespaces: their APIs follow the fail modes");
                        break;
                    }
                },
                change = change => {
                    let found = match change {
                        Change::Found(found) => vec![found],
                        Change::Gone => Vec::new(),
                        Change::Lost => named.as_ref().map(Named::all).unwrap_or_default(),
                    };
                    if found.is_empty() {
                        removed.get_or_insert_with(|| Instant::now() + REMOVED);
                    }
                    for found in found {
                        self.spawn_expect(found, &expecting, &rest);
                    }
                },
                () = until(removed) => {
                    removed = None;
                    self.sweep(1).await;
                }
                Some(_) = welcoming.join_next() => {}
                _ = sweep.tick() => {
                    for found in named.as_mut().map(Named::watch).unwrap_or_default() {
                        self.spawn_expect(found, &expecting, &rest);
                    }
                    self.open_missing_dns().await;
                    self.sweep(LOOKS).await;
                }
            }
        }
        expecting.close();
        expecting.wait().await;
        welcoming.join_all().await;
        arrivals
    }

    /// Listens in a namespace that has had no caller yet, as soon as it is ready.
    async fn expect(self: Arc<Self>, Found { path, from }: Found) {
        let owner = self.owner_of(from).await;
        let mut times = 0;
        // A namespace without ::1 has it soon, or never.
        while !self.listen_in(&path, &owner, if times < 2 { Loopback::Both } else { Loopback::V4 }).await {
            tokio::time::sleep(if times < TIMES { SOON } else { SWEEP }).await;
            times += 1;
        }
    }

    async fn owner_of(&self, from: From) -> Arc<str> {
        match from {
            From::Runtime(directory) => directory.into(),
            From::Process(cgroup) => self.workloads.owner(cgroup).await.0,
        }
    }

    /// Listens in a namespace of which this is a file, if it has these addresses on its loopback. Returns whether there is nothing more
    /// to do: Egret listens there, or cannot.
    async fn listen_in(self: &Arc<Self>, path: &Path, owner: &Arc<str>, needed: Loopback) -> bool {
        let Some(share) = self.shares.take(owner, 1, self.bound) else { return true };
        let (this, way, ports) = (Arc::clone(self), Way::Path(path.to_owned()), self.ports());
        let opened = self.entrance.inside(way, move || {
            let netns = netns_cookie(UnixDatagram::unbound()?.as_fd())?;
            if this.served().contains_key(&netns) {
                return Ok(Look::Known);
            }
            let loopback = Loopback::here();
            if loopback == Loopback::Down || (loopback == Loopback::V4 && needed == Loopback::Both) {
                return Ok(Look::NotReady);
            }
            let Some(welcoming) = Welcoming::begin(&this, netns) else { return Ok(Look::Known) };
            open(ports).map(|opened| Look::Opened(welcoming, netns, opened))
        });
        let outcome = match opened.await {
            Ok(Look::Known) => return true,
            Ok(Look::NotReady) => return false,
            Ok(Look::Opened(_welcoming, netns, opened)) => {
                self.take_in(opened, Some(share)).map(|()| self.forward_dns(netns))
            }
            // The file is not one of a namespace yet.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return false,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return true,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = outcome {
            tracing::warn!(
                path = %path.display(), %error,
                "cannot listen in a new network namespace: its first DNS query leaves directly"
            );
        }
        true
    }

    /// Listens in the namespace of a caller whose connection waits for that, or whose query has left directly.
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
        let way = Way::Path(PathBuf::from(format!("/proc/{pid}/task/{thread}/ns/net")));
        let ports = self.ports();
        let opened = self.entrance.inside(way, move || open(ports)).await?;
        anyhow::ensure!(
            netns_cookie(opened.listeners.0.as_fd())? == netns,
            "the caller's socket is of another network namespace than the caller"
        );
        self.take_in(opened, Some(share))?;
        self.forward_dns(netns);
        Ok(())
    }

    /// Returns the ports of the sockets in each namespace.
    fn ports(&self) -> Ports {
        Ports { listeners: self.nodes.ports(), dns: self.dns_ports() }
    }

    /// Accepts on these listeners, and tells the hooks so.
    fn take_in(self: &Arc<Self>, opened: Opened, share: Option<Share>) -> anyhow::Result<()> {
        let Opened { listeners: (v4, v6), dns } = opened;
        let listeners = Arc::new(Listeners::adopt(v4, v6)?);
        let dns = dns.map(ForeignDnsSockets::adopt).transpose()?;
        let (v4, v6) = listeners.sockets();
        let (netns, inode) = (netns_cookie(v4)?, File::from(namespace_of(v4)?).metadata()?.ino());
        self.capture.mark(v4, v6)?;
        let stop = self.stop.child_token();
        let served =
            Served { listeners: Arc::clone(&listeners), dns, inode, deserted: 0, stop: stop.clone(), _share: share };
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
            if let Some(served) = self.served().remove(&netns) {
                served.stop.cancel();
            }
            self.tell(netns);
            tracing::warn!(netns, %error, "a program closed Egret's socket in its network namespace: its connections follow the fail modes for a second");
        }
    }

    /// Leaves namespaces in which no process has been for so many looks. A caller that still comes from there makes it known again.
    async fn sweep(&self, looks: u8) {
        let served: HashSet<u64> = self.served().values().map(|served| served.inode).collect();
        if served.is_empty() {
            return;
        }
        let Ok(deserted) = tokio::task::spawn_blocking(move || deserted(served)).await else { return };
        self.served().retain(|netns, served| {
            served.deserted = if deserted.contains(&served.inode) { served.deserted + 1 } else { 0 };
            let stays = served.deserted < looks;
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
            let dns = served.dns.iter().flat_map(ForeignDnsSockets::sockets);
            [Some(v4), v6].into_iter().flatten().chain(dns)
        });
        sockets.map(|socket| socket.try_clone_to_owned()).collect()
    }

    /// Waits until no listener accepts any more, after the run has been stopped.
    pub(super) async fn stopped(&self) {
        self.accepting.close();
        self.accepting.wait().await;
    }

    /// Closes the sockets, after another process has taken over with duplicates of them.
    pub(super) fn close(&self) {
        self.served().clear();
    }

    /// Returns the number of namespaces in which Egret listens.
    pub(super) fn count(&self) -> usize {
        self.served().len()
    }

    fn served(&self) -> MutexGuard<'_, HashMap<u64, Served>> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn until(then: Option<Instant>) {
    match then {
        Some(then) => tokio::time::sleep_until(then).await,
        None => std::future::pending().await,
    }
}

/// The ports of Egret's sockets in a namespace.
#[derive(Clone, Copy)]
struct Ports {
    listeners: (u16, Option<u16>),
    /// None if DNS queries are not forwarded.
    dns: Option<(Option<u16>, Option<u16>)>,
}

/// Opens the sockets in the namespace of the calling thread.
fn open(ports: Ports) -> io::Result<Opened> {
    let listeners = Listeners::open(ports.listeners)?;
    let opened = ports.dns.map_or(Ok(None), |ports| open_dns(Loopback::here(), ports));
    let dns = opened.inspect_err(|error| tracing::warn!(%error, "DNS queries of a network namespace leave directly"));
    Ok(Opened { listeners, dns: dns.ok().flatten() })
}

fn open_files() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft)
}

fn bound(open_files: u64) -> Bound {
    let all = BOUND.all.min(open_files / 16).max(2);
    Bound { all, each: BOUND.each.min(all / 2) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_take_a_quarter_of_the_descriptors_at_most() {
        assert_eq!(bound(524_288), BOUND);
        assert_eq!(bound(20_000), Bound { all: 1250, each: 625 });
        assert_eq!(bound(1024), Bound { all: 64, each: 32 });
        assert_eq!(bound(0), Bound { all: 2, each: 1 });
    }
}
