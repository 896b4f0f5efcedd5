//! The end of a run: after a signal, or because another process takes over.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::forwarding::Forwarding;
use super::models::Models;
use super::namespaces::Namespaces;
use crate::admin::{Draining, SocketFile, Sockets, Successor};
use crate::capture::{self, Capture};
use crate::listener::Listeners;
use crate::telemetry::Telemetry;

/// How long a persistent process serves after SIGTERM, so that a process that is starting can take over. A rolling update may end the
/// old process before the new one has read its configuration.
const LINGER: Duration = Duration::from_secs(2);

/// Maximum time from SIGTERM until a process that is taking over must have done so. Below the 30 s after which systemd and
/// Kubernetes kill the process.
const HAND_OVER: Duration = Duration::from_secs(20);

/// SIGINT and SIGTERM, handled from the start of the process.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn install() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for either signal. Returns whether it was SIGTERM, which a service manager sends.
    pub(super) async fn next(&mut self) -> bool {
        tokio::select! {
            _ = self.interrupt.recv() => false,
            _ = self.terminate.recv() => true,
        }
    }
}

/// When to stop: after a signal and the time that it leaves for a successor.
struct Stopping {
    signals: Signals,
    /// Whether a successor may take over.
    persist: bool,
    deadline: Option<Instant>,
    latest: Option<Instant>,
    /// Set once the process ends soon.
    soon: Arc<AtomicBool>,
}

impl Stopping {
    fn new(signals: Signals, persist: bool, soon: Arc<AtomicBool>) -> Self {
        Self { signals, persist, deadline: None, latest: None, soon }
    }

    /// Waits until the process must stop. `handing` says that a successor is taking over at this moment. Cancel-safe.
    async fn due(&mut self, handing: bool) {
        loop {
            let deadline = if handing { self.latest } else { self.deadline };
            let passed = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                terminate = self.signals.next() => {
                    let waits = self.persist && (terminate || handing);
                    if !waits || self.latest.is_some() {
                        return;
                    }
                    tracing::info!("stopping: serving on for a moment, in case another process is starting to take over");
                    self.soon.store(true, Ordering::Relaxed);
                    self.deadline = Some(Instant::now() + LINGER);
                    self.latest = Some(Instant::now() + HAND_OVER);
                }
                () = passed => return,
            }
        }
    }

    /// A successor has failed: another one may follow.
    fn extend(&mut self) {
        self.deadline = self.latest.map(|latest| latest.min(Instant::now() + LINGER));
    }
}

/// How a run ends.
pub(super) enum Ending {
    HandedOver(Successor),
    Stopped,
}

/// What runs, and has to be taken down.
pub(super) struct Running {
    pub(super) capture: Arc<Capture>,
    pub(super) listeners: Arc<Listeners>,
    pub(super) namespaces: Arc<Namespaces>,
    pub(super) metrics_listener: Option<Arc<TcpListener>>,
    pub(super) flows: TaskTracker,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) models: Arc<Models>,
    pub(super) stop: CancellationToken,
    pub(super) socket: SocketFile,
    pub(super) accepting: JoinHandle<()>,
    pub(super) forwarding: Option<Forwarding>,
    /// Set once the process ends soon.
    pub(super) stopping: Arc<AtomicBool>,
}

impl Running {
    /// Serves until a signal, or until another process has taken over. Processes that ask to take over wait for their turn.
    pub(super) async fn until_ended(
        &self,
        signals: Signals,
        mut successors: mpsc::UnboundedReceiver<Successor>,
        persist: bool,
    ) -> Ending {
        let mut stopping = Stopping::new(signals, persist, Arc::clone(&self.stopping));
        loop {
            let mut successor = tokio::select! {
                () = stopping.due(false) => return Ending::Stopped,
                Some(successor) = successors.recv() => successor,
            };
            let handed = async {
                let sockets = self.pass_on()?;
                successor.hand(&sockets, self.models.current().generation.0).await?;
                // It has taken over, whatever comes of these.
                let rest = async { successor.hand_late(&self.namespaces.pass_on_rest().await?).await };
                if let Err(error) = rest.await {
                    tracing::warn!(%error, "cannot pass on the listeners of the newest network namespaces");
                }
                Ok::<_, std::io::Error>(())
            };
            let handed = tokio::select! {
                () = stopping.due(true) => return Ending::Stopped,
                handed = handed => handed,
            };
            match handed {
                Ok(()) => return Ending::HandedOver(successor),
                Err(error) => {
                    tracing::warn!(%error, "a process asked to take over and failed: this process goes on");
                    self.namespaces.resume().await;
                    stopping.extend();
                }
            }
        }
    }

    /// Returns duplicates of the sockets, to be passed on.
    fn pass_on(&self) -> std::io::Result<Sockets> {
        let (v4, v6) = self.listeners.sockets();
        Ok(Sockets {
            v4: v4.try_clone_to_owned()?,
            v6: v6.map(|v6| v6.try_clone_to_owned()).transpose()?,
            telemetry: self
                .metrics_listener
                .as_ref()
                .map(|metrics| metrics.as_fd().try_clone_to_owned())
                .transpose()?,
            dns: self.forwarding.as_ref().map(Forwarding::pass_on).transpose()?.unwrap_or_default(),
            namespaces: self.namespaces.pass_on()?,
        })
    }

    /// Stops accepting. Connections that were accepted before are among the flows when this returns.
    async fn stop_accepting(&mut self) {
        self.stop.cancel();
        if let Err(error) = (&mut self.accepting).await {
            tracing::error!(%error, "the task that accepts connections failed");
        }
        self.namespaces.stopped().await;
        self.flows.close();
    }

    /// Waits for the flows, and for responses to DNS queries that are on their way. After these, no socket keeps a network namespace.
    async fn finished(&self) {
        let responded = async {
            if let Some(forwarding) = &self.forwarding {
                forwarding.forwarder.responded().await;
            }
            self.namespaces.close();
        };
        tokio::join!(self.flows.wait(), responded);
    }

    /// Finishes the running flows after another process has taken over. Flows that last longer than the drain time are cut when
    /// the process ends.
    pub(super) async fn drain_for(mut self, mut successor: Successor) {
        self.stop_accepting().await;
        if let Some(forwarding) = &self.forwarding {
            forwarding.leave().await;
        }
        self.capture.leave();
        let deadline = Instant::now() + self.models.current().drain.hand_over;
        tracing::info!(flows = self.telemetry.running(), "another process has taken over: finishing the running flows");
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        let finished = self.finished();
        tokio::pin!(finished);
        loop {
            tokio::select! {
                () = &mut finished => return,
                () = tokio::time::sleep_until(deadline) => return,
                _ = tick.tick() => {
                    let draining = Draining {
                        pid: std::process::id(),
                        flows: self.telemetry.running(),
                        seconds_left: deadline.saturating_duration_since(Instant::now()).as_secs(),
                    };
                    // If the successor has ended, another process has replaced it: the flows are finished all the same.
                    let _ = successor.report(&draining).await;
                }
            }
        }
    }

    /// Stops after SIGINT or SIGTERM. Without --persist the hooks are removed first, so that new connections go direct.
    pub(super) async fn shut_down(mut self, persist: bool) -> Result<(), capture::Error> {
        // Before the names that it learns are not published any more.
        if let Some(forwarding) = self.forwarding.take() {
            forwarding.end(&self.capture).await;
        }
        self.stop_accepting().await;
        self.socket.remove();
        let Self { capture, listeners, namespaces, flows, models, .. } = self;
        if persist {
            capture.leave();
            tracing::info!("stopping: the hooks stay, and each API follows its fail mode");
        } else {
            capture.remove()?;
            tracing::info!("stopping: the hooks are removed, new connections go direct");
        }
        drop((listeners, namespaces));
        // Flows that last longer are cut when the process ends.
        let _ = tokio::time::timeout(models.current().drain.stop, flows.wait()).await;
        Ok(())
    }
}
