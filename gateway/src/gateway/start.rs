use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use egret_kernel::ABI_VERSION;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::admin_state::AdminState;
use super::begin::{Begun, begin};
use super::bypasses::Bypasses;
use super::egress::NodeAddresses;
use super::fleet::Fleet;
use super::forwarding::{self, Forwarding};
use super::health::spawn_health;
use super::heartbeat;
use super::instance::Turn;
use super::kubernetes::{described_by, spawn_kubernetes};
use super::log;
use super::metrics::Scraped;
use super::models::Models;
use super::namespaces::{Namespaces, Serve};
use super::otlp::spawn_otlp;
use super::publish::{IsGone, Left, Publisher, ready_to_intercept, reload, spawn_publisher};
use super::remembered::Remembered;
use super::stop::{self, Ending, Running};
use super::unlisted::UnlistedGuard;
use super::values::spawn_values;
use super::{Error, Options, memory};
use crate::admin::{self, Draining, Handed, HandedNamespaces, Predecessor, Sockets};
use crate::capture::{self, Capture};
use crate::config::{self, Compiled, Settings};
use crate::connection::{self, CarryDns, Rooms};
use crate::flow::{self, Kubelet, Shares, Workloads};
use crate::listener::{Entrance, Listeners};
use crate::model::{Exempt, Generation, Model, number};
use crate::names::{self, Names};
use crate::policy;
use crate::telemetry::{self, AccessLog, Metrics, Telemetry};
use crate::tls::{Files, Leaves};
use crate::upstream::{Dialer, Pool, Redis};

/// Maximum wait for the first resolution of the listed hosts. After it Egret is ready without them.
const FIRST_NAMES: Duration = Duration::from_secs(10);

/// Runs the gateway until it is stopped or another process takes over.
pub fn run(options: &Options) -> Result<(), Error> {
    log::start();
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(options))
}

/// Raises the soft limit of open files to the hard one: each flow needs two descriptors.
fn raise_open_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised =
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

async fn serve(options: &Options) -> Result<(), Error> {
    let mut signals = stop::Signals::install()?;
    let Some(begun) = begin(options, &mut signals).await? else { return Ok(()) };
    let Begun { instance, turn: Turn { lock, replaces }, compiled, changes: edits } = begun;
    let Compiled { mut model, settings, places, .. } = compiled;
    let config::Ca { certificate, key } = settings.ca.clone();
    let leaves = Arc::new(Leaves::new(Files { certificate, key }));
    ready_to_intercept(&model, &leaves)?;
    let (inherited, predecessor) = match predecessor(options, &settings).await? {
        None => (None, None),
        Some(Handed { sockets, generation, predecessor }) => {
            model.generation = Generation(generation + 1);
            (Some(sockets), Some(predecessor))
        }
    };
    let capture = Arc::new(Capture::attach(&capture::Options {
        cgroup: settings.cgroup.clone(),
        pins: settings.pins.clone(),
        outlive: options.persist,
        taking_over: predecessor.is_some(),
        stale_after: heartbeat::STALE_AFTER,
    })?);
    let starting = Starting(Some(Arc::clone(&capture)));
    let open = Arc::clone(&capture);
    if let Err(error) = tokio::task::spawn_blocking(move || open.remember_open()).await? {
        tracing::warn!(%error, "cannot list the connections that are older than Egret");
    }
    let adopted: Vec<_> = capture.redirects()?.into_iter().map(|(redirect, _)| redirect).collect();
    if let Some(newest) = adopted.iter().map(|redirect| redirect.generation.0).max() {
        model.generation = Generation(model.generation.0.max(newest + 1));
    }
    let (listeners, metrics_listener, dns_sockets, handed_namespaces) = sockets(inherited, &settings).await?;
    let (v4, v6) = listeners.sockets();
    capture.listen(v4, v6)?;
    capture.beat()?;
    // Of a former process, until the forwarder of this one takes queries.
    if !settings.forward_dns {
        capture.leave_dns()?;
    }

    let stop = CancellationToken::new();
    let models = Arc::new(Models::new(Arc::new(model), places));
    let (model_sender, model_receiver) = watch::channel(models.current());
    let (changes, unlisted_changes, lease_changes) =
        (model_receiver.clone(), model_receiver.clone(), model_receiver.clone());
    let node = Arc::new(NodeAddresses::read()?);
    let names = Arc::new(self::names(&settings, &node, &capture));
    names.follow(&models.current());
    let telemetry =
        Arc::new(Telemetry::new(access_log(&settings)?, settings.log_requests, Arc::new(Metrics::default())));

    let runtime = heartbeat::spawn(&capture, &stop)?;
    let proof = Arc::clone(&capture);
    tokio::task::spawn_blocking(move || proof.prove()).await??;

    {
        let running = Arc::clone(&names).run(model_receiver);
        let stop = stop.clone();
        tokio::spawn(async move { stop.run_until_cancelled(running).await });
    }
    if tokio::time::timeout(FIRST_NAMES, names.tried_once()).await.is_err() {
        tracing::warn!("some listed hosts are not resolved yet: each is captured once it is");
    }
    let left_out = Arc::new(AtomicUsize::new(0));
    let cgroup_root = capture::cgroup_root()?;
    let left = Left::new(adopted, settings.keep, is_gone(&cgroup_root)?);
    let mut publisher = Publisher::new(&capture, &models, &names, left, &left_out);
    publisher.publish()?;
    spawn_publisher(publisher, &stop);

    let config_error = Arc::new(Mutex::new(None));
    {
        let (leaves, models, names) = (Arc::clone(&leaves), Arc::clone(&models), Arc::clone(&names));
        let (path, config_error) = (options.config.clone(), Arc::clone(&config_error));
        tokio::spawn(async move {
            loop {
                edits.next().await;
                reload(&path, &models, &names, &leaves, &config_error, &model_sender);
            }
        });
    }
    {
        let (node, models, stop) = (Arc::clone(&node), Arc::clone(&models), stop.clone());
        tokio::spawn(async move { node.watch(move || models.current(), stop).await });
    }

    let config::Kubelet { pods, logs, cgroup } = settings.kubelet.clone();
    if !flow::sees_the_nodes_processes() {
        tracing::warn!(
            "Egret runs in a PID namespace of its own, so it cannot see what callers run: no policy can select by `executable`. Run \
             it in the node's (hostPID)"
        );
    }
    let paths = capture::CgroupPaths::new(cgroup_root.clone())?;
    let is_gone = self::is_gone(&cgroup_root)?;
    let path_of = Box::new(move |id| paths.path(id));
    let kubernetes = match &settings.kubernetes {
        Some(settings) => Some(spawn_kubernetes(settings, &capture, &names, &stop).await?),
        None => None,
    };
    let described = kubernetes.as_ref().map(|kubernetes| described_by(&kubernetes.pods));
    let workloads = Arc::new(Workloads::new(cgroup_root, path_of, Kubelet::new(pods, logs, cgroup), described));
    let forwarding = if settings.forward_dns {
        Some(Forwarding::new(dns_sockets, &capture, &names, &workloads, &models)?)
    } else {
        None
    };
    let dns = forwarding.as_ref().map(|forwarding| Arc::clone(&forwarding.forwarder));
    let (entrance, nodes) = (Entrance::open()?, capture::netns_cookie(listeners.sockets().0)?);
    let rooms = rooms(
        &capture,
        (&models, changes),
        (&names, forwarding::carry(dns, entrance.clone(), nodes)),
        &node,
        workloads,
        &telemetry,
        Arc::clone(&leaves),
    );
    let rooms = Arc::new(rooms);
    spawn_sweep(&rooms.pool, &stop);
    spawn_names_sweep(&names, &telemetry, is_gone, &stop);
    log::spawn_report(&stop);
    memory::spawn_release(&stop);
    spawn_log_report(&telemetry, &stop);
    spawn_values(&models, &rooms.leaves, &stop);
    spawn_health(&rooms, &stop);
    let remembered = Remembered::restored(&settings.state, Arc::clone(&rooms.policies))?;
    remembered.spawn(&stop);
    let flows = TaskTracker::new();
    let listeners = Arc::new(listeners);
    let serve: Serve = {
        let (flows, rooms) = (flows.clone(), Arc::clone(&rooms));
        Arc::new(move |accepted| drop(flows.spawn(connection::serve(accepted, Arc::clone(&rooms)))))
    };
    let accepting = {
        let (listeners, stop, serve) = (Arc::clone(&listeners), stop.clone(), Arc::clone(&serve));
        tokio::spawn(async move {
            if let Err(error) = listeners.accept(stop, |accepted| serve(accepted)).await {
                tracing::error!(%error, "the listening socket was closed by force: APIs follow their fail modes. Restart Egret");
            }
        })
    };
    let namespaces =
        Namespaces::new(&capture, &rooms.workloads, &listeners, entrance, serve, forwarding.clone(), &stop);
    namespaces.adopt(handed_namespaces)?;
    if predecessor.is_none() {
        namespaces.forget_others()?;
    }

    let guard = UnlistedGuard::new(&capture, &models, &names, &node, &rooms.workloads)?;
    guard.publish().await?;
    guard.spawn(unlisted_changes, &stop);

    let bypasses = Arc::new(Bypasses::new(&capture, &models, &rooms.workloads));
    bypasses.spawn(&stop);

    let fleet = Fleet::new(kubernetes.as_ref().and_then(|known| known.leases.clone()), Arc::clone(&models))?;
    let draining = Arc::new(Mutex::new(Vec::new()));
    let (successor_sender, successors) = mpsc::unbounded_channel();
    let stopping = Arc::new(AtomicBool::new(false));
    let admin_state = Arc::new(AdminState {
        capture: Arc::clone(&capture),
        bypasses,
        models: Arc::clone(&models),
        connection: Arc::clone(&rooms),
        names: Arc::clone(&names),
        forwarder: forwarding.as_ref().map(|forwarding| Arc::clone(&forwarding.forwarder)),
        node: Arc::clone(&node),
        config: options.config.clone(),
        config_error: Arc::clone(&config_error),
        draining: Arc::clone(&draining),
        listeners: listeners.addresses(),
        namespaces: Arc::clone(&namespaces),
        cgroup: capture.cgroup().to_owned(),
        ca: settings.ca.certificate.clone(),
        persist: options.persist,
        successors: successor_sender,
        ready: AtomicBool::new(false),
        stopping: Arc::clone(&stopping),
        instance: options.instance.clone(),
        kubernetes: kubernetes.map(|known| known.pods),
        fleet: Arc::clone(&fleet),
    });
    let metrics_listener = metrics_listener.map(Arc::new);
    let (state, measured) = (Arc::clone(&admin_state), Arc::clone(&telemetry));
    let scraped = Arc::new(Scraped { state, telemetry: measured, runtime, left_out });
    if let Some(listener) = &metrics_listener {
        spawn_telemetry(Arc::clone(listener), &scraped, &stop);
    }
    let located = Arc::clone(&names);
    spawn_otlp(&scraped, &rooms.pool, move |host| located.addresses(host), &rooms.changes, &stop);
    let server = admin::Server::bind(&settings.admin_socket)
        .with_context(|| format!("admin.socket: cannot listen on {}", settings.admin_socket.display()))?;
    let socket = server.file();
    {
        let (state, stop) = (Arc::clone(&admin_state), stop.clone());
        tokio::spawn(async move { server.run(state, stop).await });
    }
    if let Some(predecessor) = predecessor {
        let late = taken(predecessor, draining).await;
        // The old process has stopped: what is lost here comes back with the next callers.
        for done in [namespaces.adopt(late), namespaces.forget_others()] {
            if let Err(error) = done {
                tracing::error!(%error, "cannot go on in all network namespaces of callers");
            }
        }
        if let Some(Err(error)) = replaces.map(|replaced| instance.record(&replaced)) {
            tracing::warn!(%error, "cannot record that another instance is replaced: it may take over again");
        }
    }
    // Only now: a datagram's sender is known to one reader, which was the old process.
    if let Some(forwarding) = &forwarding {
        forwarding.start(&capture)?;
    }
    starting.succeeded();
    // Only now: they have one reader, which was the old process.
    spawn_decisions(&capture, rooms, stop.clone());
    namespaces.start(capture.arrivals()?).await;
    admin_state.ready.store(true, Ordering::Relaxed);
    // Not before: the old process has told of itself until now.
    fleet.spawn(lease_changes, &stop);
    announce(&models.current(), &capture);
    drop(lock);

    let running = Running {
        capture,
        listeners,
        namespaces,
        metrics_listener,
        flows,
        telemetry,
        models,
        stop,
        socket,
        accepting,
        forwarding,
        stopping: Arc::clone(&stopping),
    };
    match running.until_ended(signals, successors, options.persist).await {
        Ending::HandedOver(successor) => {
            let mut signals = stop::Signals::install()?;
            running.drain_for(successor).await;
            // Ended, it would be started again, unless that is what is wanted.
            let stays = instance.name().is_some() && !stopping.load(Ordering::Relaxed);
            if stays && instance.needed(&mut signals, true).await {
                return Err(start_again().into());
            }
        }
        Ending::Stopped => {
            let ended = running.shut_down(options.persist).await;
            remembered.save();
            ended?;
        }
    }
    Ok(())
}

/// Replaces this process by a new one of the same command. Returns why that failed.
fn start_again() -> anyhow::Error {
    tracing::info!("no newer instance serves any more: starting again");
    let error = Command::new("/proc/self/exe").args(std::env::args_os().skip(1)).exec();
    anyhow::Error::from(error).context("cannot start again")
}

/// Removes the hooks if the start fails, unless a former process left them: its fail modes stay in force.
struct Starting(Option<Arc<Capture>>);

impl Starting {
    fn succeeded(mut self) {
        self.0 = None;
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(capture) = self.0.take()
            && !capture.adopted()
            && let Err(error) = capture.remove()
        {
            tracing::error!(%error, "cannot remove the hooks after a failed start: run `egret detach`");
        }
    }
}

/// Waits until the old process has stopped accepting, then follows how it finishes its flows. Returns the listeners that it has opened
/// since it passed its sockets on.
async fn taken(mut predecessor: Predecessor, draining: Arc<Mutex<Vec<Draining>>>) -> HandedNamespaces {
    let set = move |report: Option<Draining>| {
        *draining.lock().unwrap_or_else(PoisonError::into_inner) = report.into_iter().collect();
    };
    let (late, report) = predecessor.taken().await;
    set(report);
    tokio::spawn(predecessor.follow(set));
    late
}

/// Asks the process that already runs, if there is one, to hand over.
async fn predecessor(options: &Options, settings: &Settings) -> anyhow::Result<Option<Handed>> {
    let socket = &settings.admin_socket;
    if options.persist {
        return admin::take_over(socket, ABI_VERSION)
            .await
            .with_context(|| format!("cannot take over from the process at {}", socket.display()));
    }
    match admin::Client::connect(socket) {
        Ok(_) => anyhow::bail!(
            "another egret already runs at {}: stop it first, or run both with --persist to take over from it",
            socket.display()
        ),
        Err(_) => Ok(None),
    }
}

async fn sockets(
    inherited: Option<Sockets>,
    settings: &Settings,
) -> anyhow::Result<(Listeners, Option<TcpListener>, Vec<OwnedFd>, HandedNamespaces)> {
    let bind = async || -> anyhow::Result<Option<TcpListener>> {
        let Some(address) = settings.telemetry else { return Ok(None) };
        let listener = TcpListener::bind(address).await;
        listener.map(Some).with_context(|| format!("telemetry.address: cannot listen on {address}"))
    };
    let Some(Sockets { v4, v6, telemetry, dns, namespaces }) = inherited else {
        let own = Listeners::bind().context("cannot listen on the loopback")?;
        return Ok((own, bind().await?, Vec::new(), HandedNamespaces::default()));
    };
    let telemetry = match telemetry.map(std::net::TcpListener::from) {
        Some(listener) if listener.local_addr().ok() == settings.telemetry => {
            listener.set_nonblocking(true)?;
            Some(TcpListener::from_std(listener)?)
        }
        _ => bind().await?,
    };
    Ok((Listeners::adopt(v4, v6)?, telemetry, dns, namespaces))
}

fn access_log(settings: &Settings) -> anyhow::Result<AccessLog> {
    match &settings.access_log {
        config::AccessLog::Off => Ok(AccessLog::default()),
        config::AccessLog::Stdout => Ok(AccessLog::stdout()?),
        config::AccessLog::File(path) => {
            AccessLog::file(path).with_context(|| format!("telemetry.access_log: cannot open {}", path.display()))
        }
    }
}

fn names(settings: &Settings, node: &Arc<NodeAddresses>, capture: &Arc<Capture>) -> Names {
    let Settings { resolvers, trusted_resolvers, keep, max_addresses, max_names, .. } = settings;
    let (node, capture) = (Arc::clone(node), Arc::clone(capture));
    let settings = names::Settings {
        servers: resolvers.clone(),
        keep: *keep,
        max_addresses: *max_addresses,
        trusted_servers: trusted_resolvers.clone(),
        max_names: *max_names,
        // Half of the table, with two ports each: what Egret resolves has the other half.
        max_learnt: capture::CAPACITY / 4,
    };
    Names::new(settings, Box::new(move |address| node.has(address)), Arc::new(move |socket| capture.exempt(socket)))
}

fn rooms(
    capture: &Arc<Capture>,
    (models, changes): (&Arc<Models>, watch::Receiver<Arc<Model>>),
    (names, carry_dns): (&Arc<Names>, CarryDns),
    node: &Arc<NodeAddresses>,
    workloads: Arc<Workloads>,
    telemetry: &Arc<Telemetry>,
    leaves: Arc<Leaves>,
) -> Rooms {
    let (origin, exempt) = (Arc::clone(capture), Arc::clone(capture));
    let exempt: Exempt = Arc::new(move |socket| exempt.exempt(socket));
    let (models, names, node) = (Arc::clone(models), Arc::clone(names), Arc::clone(node));
    let dialer = Arc::new(Dialer::new(exempt));
    let pool = Arc::new(Pool::new(Arc::clone(&dialer)));
    let counted = Arc::clone(&names);
    let counters = Redis::new(Arc::clone(&pool), move |host| counted.addresses(host));
    let (located, asked, wanted) = (Arc::clone(&names), Arc::clone(&names), Arc::clone(&names));
    let (scoped, called, named) = (Arc::clone(&names), Arc::clone(&names), Arc::clone(&names));
    Rooms {
        origin: Box::new(move |socket| origin.origin(socket)),
        dialer,
        model: Box::new(move |generation| models.of(generation)),
        addresses: Box::new(move |host| names.addresses(host)),
        listings_at: Box::new(move |address| located.listings_at(address)),
        listings_for: Box::new(move |address, scope| scoped.listings_for(address, scope)),
        names_for: Box::new(move |address, scope| called.names_for(address, scope)),
        resolve: Box::new(move |host, owner| {
            let names = Arc::clone(&wanted);
            Box::pin(async move { names.resolve(&host, &owner).await })
        }),
        lives_at: Box::new(move |host, address| {
            let names = Arc::clone(&asked);
            Box::pin(async move { names.lives_at(host, address).await })
        }),
        carry_dns,
        name_at: Box::new(move |owner, address| named.name_at(owner, address)),
        on_node: Box::new(move |address: IpAddr| node.has(address)),
        workloads,
        connections: Shares::default(),
        http2: Shares::default(),
        streams: Shares::default(),
        windows: Shares::default(),
        buffers: Shares::default(),
        sent_away: Shares::default(),
        lookups: Shares::default(),
        leaves,
        pool,
        policies: Arc::new(policy::State::sharing(Arc::new(counters))),
        changes,
        telemetry: Arc::clone(telemetry),
    }
}

/// Closes idle upstream connections that third parties have closed, and those that are idle for too long.
fn spawn_sweep(pool: &Arc<Pool>, stop: &CancellationToken) {
    const PERIOD: Duration = Duration::from_secs(1);
    let pool = Arc::clone(pool);
    tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
        let mut tick = tokio::time::interval(PERIOD);
        loop {
            tick.tick().await;
            pool.sweep();
        }
    }));
}

/// Returns what tells whether a cgroup is gone. Where cgroups cannot be found by their ids, none is.
fn is_gone(root: &Path) -> Result<IsGone, capture::Error> {
    let paths = capture::CgroupPaths::new(root.to_owned())?;
    Ok(Box::new(move |cgroup| paths.is_gone(cgroup)))
}

/// Forgets names that were learnt from DNS responses and have expired, but for those that live flows use, and those that count only for
/// owners that are gone.
fn spawn_names_sweep(names: &Arc<Names>, telemetry: &Arc<Telemetry>, is_gone: IsGone, stop: &CancellationToken) {
    const PERIOD: Duration = Duration::from_secs(5);
    let (names, telemetry, is_gone) = (Arc::clone(names), Arc::clone(telemetry), Arc::new(is_gone));
    tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
        let mut tick = tokio::time::interval(PERIOD);
        loop {
            tick.tick().await;
            let (names, telemetry, is_gone) = (Arc::clone(&names), Arc::clone(&telemetry), Arc::clone(&is_gone));
            // It reads a file.
            let sweep = move || names.sweep(telemetry.destinations().into_keys().collect(), |cgroup| is_gone(cgroup));
            let _ = tokio::task::spawn_blocking(sweep).await;
        }
    }));
}

/// Logs what callers' lines were left out.
fn spawn_log_report(telemetry: &Arc<Telemetry>, stop: &CancellationToken) {
    const PERIOD: Duration = Duration::from_secs(5);
    let telemetry = Arc::clone(telemetry);
    tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
        let mut tick = tokio::time::interval(PERIOD);
        loop {
            tick.tick().await;
            telemetry.report_suppressed();
        }
    }));
}

/// Logs the decisions that the kernel half makes alone.
fn spawn_decisions(capture: &Capture, rooms: Arc<Rooms>, stop: CancellationToken) {
    /// Decisions whose callers are being identified.
    const AT_ONCE: usize = 64;
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let decisions = capture.decisions();
    tokio::spawn(stop.run_until_cancelled_owned(async move {
        let error = match decisions {
            Ok(mut decisions) => loop {
                match decisions.next().await {
                    Ok(decision) => {
                        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                        let rooms = Arc::clone(&rooms);
                        tokio::spawn(async move {
                            connection::decided(decision, &rooms).await;
                            drop(place);
                        });
                    }
                    Err(error) => break error,
                }
            },
            Err(error) => error,
        };
        tracing::error!(%error, "decisions of the kernel hooks are counted, but not logged any more");
    }));
}

fn spawn_telemetry(listener: Arc<TcpListener>, scraped: &Arc<Scraped>, stop: &CancellationToken) {
    let (served, scraped, stop) = (Arc::clone(&scraped.state), Arc::clone(scraped), stop.clone());
    let metrics = move || scraped.text();
    let ready = move || served.readiness();
    tokio::spawn(async move { stop.run_until_cancelled(telemetry::serve(&listener, metrics, ready)).await });
}

fn announce(model: &Model, capture: &Capture) {
    let apis = number(model.apis.len(), "API");
    log::line(&format!("egret: ready, {apis} captured for {}", capture.cgroup().display()));
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
}
