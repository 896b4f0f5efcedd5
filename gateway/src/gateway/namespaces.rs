//! The network namespaces of callers. Egret listens in each of them, from its first query or connection to a captured destination, or
//! before it where it knows of the namespace, until its last process is gone.

mod dns;
mod newcomers;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use nix::sys::resource::{Resource, getrlimit};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(super) use self::dns::exit;
use self::dns::open_dns;
use self::newcomers::{Change, Found, From, Named, by_namespace, of_processes, own};
use super::deserted::deserted;
use super::forwarding::Forwarding;
use super::unserved::{Refusal, Refused};
use crate::admin::{HandedNamespace, HandedNamespaces};
use crate::capture::{Arrivals, Capture, netns_cookie};
use crate::flow::{Bound, Share, Shares, Workloads};
use crate::listener::{Accepted, Entrance, Listeners, Loopback, Way, loopback_is_up, namespace_of};
use crate::model::{Newcomer, Unserved};
use crate::names::ForeignDnsSockets;

/// How often Egret looks for namespaces whose processes are gone.
const SWEEP: Duration = Duration::from_secs(5);

/// How soon it looks after a container runtime has removed a namespace: it may remove others too.
const REMOVED: Duration = Duration::from_millis(100);

/// How many looks in a row must find no process.
const LOOKS: u8 = 2;

/// How often, and after which time each, Egret looks again at the loopback device of a namespace that is being made.
const LOOPBACK: (u32, Duration) = (10, Duration::from_millis(50));

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
    /// Those in which it could not listen.
    refused: Refused,
    /// Those whose sockets another process has got that is about to take over.
    passed_on: Mutex<HashSet<u64>>,
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
    /// Nobody: another process does, or will in a moment.
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
    known: Known,
    connections: Arc<AtomicU64>,
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

/// What is known of a namespace by the caller that came first, or by where it was found.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) owner: Arc<str>,
    /// The inode number of the caller's cgroup; zero if there was none.
    pub(super) cgroup: u64,
    /// The caller's process id, likewise.
    pub(super) pid: u32,
    /// Since when Egret listens there, or cannot.
    pub(super) since: SystemTime,
}

/// A namespace, as it is shown.
pub(super) struct Shown {
    pub(super) known: Known,
    /// The inode number of the namespace, if it is known.
    pub(super) inode: Option<u64>,
    /// Where Egret listens there; nowhere if it cannot.
    pub(super) listeners: Vec<SocketAddr>,
    /// Accepted connections, or attempts to listen.
    pub(super) count: u64,
    pub(super) refusal: Option<Refusal>,
}

impl Known {
    fn now(owner: Arc<str>, cgroup: u64, pid: u32) -> Self {
        Self { owner, cgroup, pid, since: SystemTime::now() }
    }
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
            refused: Refused::default(),
            passed_on: Mutex::default(),
            welcoming: Mutex::default(),
            shares: Shares::default(),
            bound: bound(open_files()),
            accepting: TaskTracker::new(),
            stop: stop.clone(),
            door: tokio::sync::Mutex::new(Door::Closed(None)),
        })
    }

    /// Goes on where another process listened, with its sockets.
    pub(super) fn adopt(self: &Arc<Self>, handed: HandedNamespaces) -> anyhow::Result<()> {
        let mut by_namespace: HashMap<u64, Passed> = HashMap::new();
        for socket in handed.sockets {
            let passed = by_namespace.entry(netns_cookie(socket.as_fd())?).or_default();
            let about = socket2::SockRef::from(&socket);
            match (about.r#type()?, about.local_addr()?.is_ipv4()) {
                (socket2::Type::DGRAM, _) => passed.dns.push(socket),
                (_, true) => passed.v4 = Some(socket),
                (_, false) => passed.v6 = Some(socket),
            }
        }
        let mut facts: HashMap<_, _> = handed.known.into_iter().map(|known| (known.netns, known)).collect();
        for (netns, Passed { v4, v6, dns }) in by_namespace {
            let Some(v4) = v4 else { continue };
            let (known, connections) = match facts.remove(&netns) {
                Some(HandedNamespace { owner, cgroup, pid, since, connections, .. }) => {
                    let since = SystemTime::UNIX_EPOCH + Duration::from_secs(since);
                    (Known { owner: owner.into(), cgroup, pid, since }, connections)
                }
                None => (Known::now("unknown".into(), 0, 0), 0),
            };
            // More than its share stays: it has been served so far.
            let share = self.shares.take(&known.owner, 1, self.bound);
            let opened = Opened { listeners: (v4, v6), dns: Some(dns).filter(|dns| !dns.is_empty()) };
            self.take_in(opened, known, connections, share)?;
        }
        Ok(())
    }

    /// Makes the hooks forget all namespaces in which this process does not listen.
    pub(super) fn forget_others(&self) -> anyhow::Result<()> {
        Ok(self.capture.keep(&self.served().keys().copied().collect())?)
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
                let known = this.known_of(found.from).await;
                (!this.listen_in(&found.path, &known, Loopback::V4).await).then_some(found)
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
        let known = self.known_of(from).await;
        let mut times = 0;
        // A namespace without ::1 has it soon, or never.
        while !self.listen_in(&path, &known, if times < 2 { Loopback::Both } else { Loopback::V4 }).await {
            tokio::time::sleep(if times < TIMES { SOON } else { SWEEP }).await;
            times += 1;
        }
    }

    async fn known_of(&self, from: From) -> Known {
        match from {
            From::Runtime(directory) => Known::now(directory.into(), 0, 0),
            From::Process(cgroup) => Known::now(self.workloads.owner(cgroup).await.0, cgroup, 0),
        }
    }

    /// Listens in a namespace of which this is a file, if it has these addresses on its loopback. Returns whether there is nothing more
    /// to do: Egret listens there, or cannot.
    async fn listen_in(self: &Arc<Self>, path: &Path, known: &Known, needed: Loopback) -> bool {
        let Some(share) = self.shares.take(&known.owner, 1, self.bound) else { return true };
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
                let known = Known { since: SystemTime::now(), ..known.clone() };
                self.take_in(opened, known, 0, Some(share)).map(|()| {
                    self.refused.forget(netns);
                    self.forward_dns(netns);
                })
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
        let Newcomer { netns, cgroup, pid, .. } = newcomer;
        // The hooks may have forgotten it.
        if self.served().contains_key(&netns) {
            self.tell(netns);
            return;
        }
        // The first of two callers is enough.
        let Some(_welcoming) = Welcoming::begin(&self, netns) else { return };
        let known = Known::now(self.workloads.owner(cgroup).await.0, cgroup, pid);
        let (way, listens) = match self.way_to(newcomer).await {
            Ok(way) => (Some(Arc::clone(&way)), self.listen(netns, &way, known.clone()).await),
            Err(error) => (None, Err(error.into())),
        };
        let Err(refusal) = listens else {
            self.refused.forget(netns);
            return;
        };
        // A caller that has not waited may end before Egret can enter. The next one waits; where it is gone too, Egret sees no callers.
        let is_served = if refusal.why == Unserved::Gone && !self.refused.was_gone(netns) {
            self.ask_again(netns)
        } else {
            self.tell(netns)
        };
        if !is_served {
            tracing::warn!(
                netns, pid, cause = refusal.why.label(), error = %refusal.error,
                "cannot listen in a caller's network namespace: its connections follow the fail modes. Egret tries again each second"
            );
            let way = way.filter(|_| refusal.why != Unserved::OtherNamespace);
            let inode = way.as_deref().and_then(inode_of);
            self.refused.note(netns, inode, known, refusal, way);
        }
    }

    /// Returns a way into the namespace of a caller, which may have ended by now.
    async fn way_to(&self, newcomer: Newcomer) -> io::Result<Arc<OwnedFd>> {
        match self.refused.way(newcomer.netns) {
            Some(way) => Ok(way),
            None => self.entrance.way(file_of(newcomer)).await.map(Arc::new),
        }
    }

    /// Makes the hooks forget a namespace in which Egret does not listen, so that its next caller waits and is told of. Returns whether
    /// Egret listens there.
    fn ask_again(&self, netns: u64) -> bool {
        let served = self.served();
        let is_served = served.contains_key(&netns);
        if !is_served {
            self.capture.forget(netns);
        }
        is_served
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

    async fn listen(self: &Arc<Self>, netns: u64, way: &OwnedFd, known: Known) -> Result<(), Refusal> {
        let share = self.shares.take(&known.owner, 1, self.bound).ok_or_else(|| {
            let error = format!("{}, or all owners together, have too many network namespaces", known.owner);
            Refusal::new(Unserved::TooMany, error)
        })?;
        let ports = self.ports();
        let (times, pause) = LOOPBACK;
        let mut left = times;
        let opened = loop {
            // A socket that is bound before the loopback is up sends from other addresses, for good.
            let look = move || {
                if netns_cookie(UnixDatagram::unbound()?.as_fd())? != netns {
                    return Ok(Err(Refusal::new(
                        Unserved::OtherNamespace,
                        "the caller's socket is of another network namespace than the caller",
                    )));
                }
                match Loopback::here() {
                    Loopback::Down => Ok(Ok(None)),
                    Loopback::V4 | Loopback::Both => open(ports).map(|opened| Ok(Some(opened))),
                }
            };
            match self.entrance.inside(Way::Descriptor(way.try_clone()?), look).await?? {
                Some(opened) => break opened,
                None if left == 0 => return Err(loopback_down()),
                None => {
                    left -= 1;
                    tokio::time::sleep(pause).await;
                }
            }
        };
        let taken_in = self.take_in(opened, known, 0, Some(share));
        taken_in.map_err(|error| Refusal::new(Unserved::Failed, error))?;
        self.forward_dns(netns);
        Ok(())
    }

    /// Returns the ports of the sockets in each namespace.
    fn ports(&self) -> Ports {
        Ports { listeners: self.nodes.ports(), dns: self.dns_ports() }
    }

    /// Accepts on these listeners, and tells the hooks so.
    fn take_in(
        self: &Arc<Self>,
        opened: Opened,
        known: Known,
        connections: u64,
        share: Option<Share>,
    ) -> anyhow::Result<()> {
        let Opened { listeners: (v4, v6), dns } = opened;
        let (listeners, connections) = (Arc::new(Listeners::adopt(v4, v6)?), Arc::new(AtomicU64::new(connections)));
        let dns = dns.map(ForeignDnsSockets::adopt).transpose()?;
        let (v4, v6) = listeners.sockets();
        let (netns, inode) = (netns_cookie(v4)?, File::from(namespace_of(v4)?).metadata()?.ino());
        self.capture.mark(v4, v6)?;
        let stop = self.stop.child_token();
        let served = Served {
            listeners: Arc::clone(&listeners),
            known,
            connections: Arc::clone(&connections),
            dns,
            inode,
            deserted: 0,
            stop: stop.clone(),
            _share: share,
        };
        self.served().insert(netns, served);
        self.tell(netns);
        let this = Arc::clone(self);
        self.accepting.spawn(async move {
            let serve = |accepted| {
                connections.fetch_add(1, Ordering::Relaxed);
                (this.serve)(accepted);
            };
            if let Err(error) = listeners.accept(stop, serve).await {
                this.leave(netns, &listeners, Refusal::new(Unserved::ListenerClosed, error));
            }
        });
        Ok(())
    }

    /// Leaves a namespace in which the sockets are of no use any more. Its next caller after a second makes it known again.
    fn leave(&self, netns: u64, listeners: &Arc<Listeners>, refusal: Refusal) {
        let is_same = |served: &mut Served| Arc::ptr_eq(&served.listeners, listeners);
        let Some(left) = self.served().extract_if(|key, served| *key == netns && is_same(served)).next() else {
            return;
        };
        let (_, Served { known, inode, stop, .. }) = left;
        stop.cancel();
        self.tell(netns);
        tracing::warn!(
            netns, cause = refusal.why.label(), error = %refusal.error,
            "Egret has left a caller's network namespace: its connections follow the fail modes. Egret tries again each second"
        );
        let way = namespace_of(listeners.sockets().0).ok().map(Arc::new);
        self.refused.note(netns, Some(inode), Known { since: SystemTime::now(), ..known }, refusal, way);
    }

    /// Leaves namespaces in which no process has been for so many looks, and those whose loopback device is down. A caller that still
    /// comes from there makes it known again.
    async fn sweep(&self, looks: u8) {
        self.refused.sweep();
        let served: Vec<_> =
            self.served().iter().map(|(netns, served)| (*netns, served.inode, Arc::clone(&served.listeners))).collect();
        let refused = self.refused.kept();
        if served.is_empty() && refused.is_empty() {
            return;
        }
        let look = move || {
            let gone = deserted(served.iter().map(|(_, inode, _)| *inode).chain(refused).collect());
            let is_down = |listeners: &Listeners| loopback_is_up(listeners.sockets().0).is_ok_and(|is_up| !is_up);
            let down = served.into_iter().filter(|(_, inode, listeners)| !gone.contains(inode) && is_down(listeners));
            let down: Vec<_> = down.map(|(netns, _, listeners)| (netns, listeners)).collect();
            (gone, down)
        };
        let Ok((deserted, down)) = tokio::task::spawn_blocking(look).await else { return };
        self.refused.give_up(&deserted);
        for (netns, listeners) in down {
            self.leave(netns, &listeners, loopback_down());
        }
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

    /// Returns duplicates of the sockets for a process that is about to take over. This one goes on, also with newcomers.
    pub(super) fn pass_on(&self) -> io::Result<HandedNamespaces> {
        let served = self.served();
        *self.passed_on() = served.keys().copied().collect();
        handed(served.iter())
    }

    /// Leaves newcomers to the process that has taken over. Returns duplicates of the sockets that it has not got yet.
    pub(super) async fn pass_on_rest(&self) -> io::Result<HandedNamespaces> {
        let mut door = self.door.lock().await;
        if let Door::Open(rest, task) = &mut *door {
            rest.cancel();
            *door = Door::Closed(task.await.ok());
        }
        let (served, passed_on) = (self.served(), self.passed_on());
        handed(served.iter().filter(|(netns, _)| !passed_on.contains(netns)))
    }

    /// Returns the namespaces in which Egret listens, or cannot; the newest first.
    pub(super) async fn shown(&self) -> Vec<Shown> {
        let show = |served: &Served| Shown {
            known: served.known.clone(),
            inode: Some(served.inode),
            listeners: served.listeners.addresses(),
            count: served.connections.load(Ordering::Relaxed),
            refusal: None,
        };
        let mut all: Vec<_> = self.served().values().map(show).collect();
        all.extend(self.refused.shown());
        if all.iter().any(|shown| shown.known.pid == 0) {
            // It had no caller yet, but may have processes by now.
            let cgroup = self.capture.cgroup().to_owned();
            let found = tokio::task::spawn_blocking(move || by_namespace(&cgroup)).await.unwrap_or_default();
            for shown in all.iter_mut().filter(|shown| shown.known.pid == 0) {
                if let Some((pid, cgroup)) = shown.inode.and_then(|inode| found.get(&inode)) {
                    (shown.known.pid, shown.known.cgroup) = (*pid, *cgroup);
                }
            }
        }
        all.sort_by_key(|shown| std::cmp::Reverse(shown.known.since));
        all
    }

    /// Returns how often Egret could not listen in a namespace, by cause.
    pub(super) fn refusals(&self) -> Vec<(&'static str, u64)> {
        self.refused.counted()
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

    fn passed_on(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.passed_on.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn served(&self) -> MutexGuard<'_, HashMap<u64, Served>> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns duplicates of the sockets of these namespaces, and what is known of them.
fn handed<'a>(served: impl Iterator<Item = (&'a u64, &'a Served)>) -> io::Result<HandedNamespaces> {
    let mut handed = HandedNamespaces::default();
    for (netns, served) in served {
        let (v4, v6) = served.listeners.sockets();
        let dns = served.dns.iter().flat_map(ForeignDnsSockets::sockets);
        for socket in [Some(v4), v6].into_iter().flatten().chain(dns) {
            handed.sockets.push(socket.try_clone_to_owned()?);
        }
        let Known { owner, cgroup, pid, since } = &served.known;
        handed.known.push(HandedNamespace {
            netns: *netns,
            owner: owner.to_string(),
            cgroup: *cgroup,
            pid: *pid,
            since: since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs(),
            connections: served.connections.load(Ordering::Relaxed),
        });
    }
    Ok(handed)
}

fn loopback_down() -> Refusal {
    Refusal::new(Unserved::LoopbackDown, "its loopback device is down")
}

/// Where the kernel shows the network namespace of a newcomer.
fn file_of(Newcomer { pid, thread, .. }: Newcomer) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/task/{thread}/ns/net"))
}

fn inode_of(namespace: &OwnedFd) -> Option<u64> {
    let file = File::from(namespace.try_clone().ok()?);
    file.metadata().ok().map(|metadata| metadata.ino())
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
