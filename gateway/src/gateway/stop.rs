use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::models::Models;
use crate::admin::{Draining, Server, Sockets, Successor};
use crate::capture::{self, Capture};
use crate::listener::Listeners;
use crate::telemetry::Telemetry;

/// SIGINT and SIGTERM, caught from the start.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn install() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// How a run ends.
pub(super) enum Ending {
    HandedOver(Successor),
    Stopped,
}

/// What must be taken down.
pub(super) struct Running {
    pub(super) capture: Arc<Capture>,
    pub(super) listeners: Arc<Listeners>,
    pub(super) metrics_listener: Option<Arc<TcpListener>>,
    pub(super) flows: TaskTracker,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) models: Arc<Models>,
    pub(super) stop: CancellationToken,
    pub(super) server: Arc<Server>,
    pub(super) accepting: JoinHandle<()>,
}

impl Running {
    pub(super) async fn until_ended(&self, mut signals: Signals, mut successors: mpsc::Receiver<Successor>) -> Ending {
        loop {
            let mut successor = tokio::select! {
                () = signals.any() => return Ending::Stopped,
                Some(successor) = successors.recv() => successor,
            };
            let handed = async {
                let sockets = pass_on(&self.listeners, self.metrics_listener.as_deref())?;
                successor.hand(&sockets, self.models.current().generation.0).await
            };
            match handed.await {
                Ok(()) => return Ending::HandedOver(successor),
                Err(error) => tracing::warn!(%error, "a process asked to take over and did not: this one goes on"),
            }
        }
    }

    /// What was accepted last is among the flows when this returns.
    async fn stop_accepting(&mut self) {
        self.stop.cancel();
        if let Err(error) = (&mut self.accepting).await {
            tracing::error!(%error, "accepting ended badly");
        }
        self.flows.close();
    }

    /// Another process accepts: finish the running flows, up to the deadline; the rest are cut with the runtime.
    pub(super) async fn drain_for(mut self, mut successor: Successor) {
        self.stop_accepting().await;
        self.capture.leave();
        let deadline = Instant::now() + self.models.current().drain.hand_over;
        tracing::info!(flows = self.telemetry.running(), "another process has taken over: finishing the running flows");
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        while !self.flows.is_empty() && Instant::now() < deadline {
            tokio::select! {
                () = self.flows.wait() => {}
                _ = tick.tick() => {
                    let draining = Draining {
                        pid: std::process::id(),
                        flows: self.telemetry.running(),
                        seconds_left: deadline.saturating_duration_since(Instant::now()).as_secs(),
                    };
                    // A successor that has gone is replaced by another; the flows are finished all the same.
                    let _ = successor.report(&draining).await;
                }
            }
        }
    }

    /// SIGINT or SIGTERM: without --persist the hooks go first, so that new connections go direct.
    pub(super) async fn shut_down(mut self, persist: bool) -> Result<(), capture::Error> {
        self.stop_accepting().await;
        self.server.remove();
        let Self { capture, listeners, flows, models, .. } = self;
        if persist {
            capture.leave();
            tracing::info!("stopping: the hooks stay, each API follows its fail mode");
        } else {
            capture.remove()?;
            tracing::info!("stopping: the hooks are removed, new connections go direct");
        }
        drop(listeners);
        // Those that go on longer are cut with the runtime.
        let _ = tokio::time::timeout(models.current().drain.stop, flows.wait()).await;
        Ok(())
    }
}

/// The listeners as they are passed on.
fn pass_on(listeners: &Listeners, metrics: Option<&TcpListener>) -> std::io::Result<Sockets> {
    let (v4, v6) = listeners.sockets();
    Ok(Sockets {
        v4: v4.try_clone_to_owned()?,
        v6: v6.map(|v6| v6.try_clone_to_owned()).transpose()?,
        telemetry: metrics.map(|metrics| metrics.as_fd().try_clone_to_owned()).transpose()?,
    })
}
