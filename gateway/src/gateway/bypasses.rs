//! Finds connections that bypass Egret, counts them, and closes them on demand.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::admin_state::caller_of;
use super::models::Models;
use crate::admin::BypassRow;
use crate::capture::Capture;
use crate::flow::{self, Workloads};
use crate::model::{Bypass, BypassCause};

/// How often connections are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// After a look, how many times its duration passes until the next one: the kernel goes through the table of all its connections for each
/// network namespace, and Egret gives that no more than a fiftieth of a CPU.
const REST: u32 = 50;

/// The connections that bypass Egret.
pub(super) struct Bypasses {
    capture: Arc<Capture>,
    models: Arc<Models>,
    workloads: Arc<Workloads>,
    counts: Mutex<Counts>,
}

/// What was found.
#[derive(Debug, Default)]
struct Counts {
    /// Those that were open at the last look: their namespaces and cookies.
    open: HashSet<(u64, u64)>,
    /// The number of those by cause, and the number of all so far.
    by_cause: [(u64, u64); BypassCause::ALL.len()],
}

/// Connections that bypass Egret, by cause.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    pub(super) cause: &'static str,
    /// Open at the last look.
    pub(super) open: u64,
    /// Found so far.
    pub(super) all: u64,
}

impl Bypasses {
    pub(super) fn new(capture: &Arc<Capture>, models: &Arc<Models>, workloads: &Arc<Workloads>) -> Self {
        Self {
            capture: Arc::clone(capture),
            models: Arc::clone(models),
            workloads: Arc::clone(workloads),
            counts: Mutex::default(),
        }
    }

    /// Looks for them until stopped.
    pub(super) fn spawn(self: &Arc<Self>, stop: &CancellationToken) {
        let bypasses = Arc::clone(self);
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            loop {
                let began = Instant::now();
                if let Err(error) = bypasses.look(false).await {
                    tracing::warn!(error = format!("{error:#}"), "cannot look for connections that bypass Egret");
                }
                tokio::time::sleep(LOOK_EVERY.max(began.elapsed() * REST)).await;
            }
        }));
    }

    /// Returns the rows that people see, and closes the connections if `close` says so.
    pub(super) async fn rows(&self, close: bool) -> anyhow::Result<Vec<BypassRow>> {
        let mut rows = Vec::new();
        for bypass in self.look(close).await? {
            rows.push(self.row(bypass).await);
        }
        Ok(rows)
    }

    /// Returns the counts as of the last look.
    pub(super) fn counted(&self) -> Vec<Counted> {
        let counts = self.counts();
        let each = BypassCause::ALL.iter().zip(counts.by_cause);
        each.map(|(cause, (open, all))| Counted { cause: cause.label(), open, all }).collect()
    }

    async fn look(&self, close: bool) -> anyhow::Result<Vec<Bypass>> {
        let capture = Arc::clone(&self.capture);
        let found = tokio::task::spawn_blocking(move || capture.bypasses(close)).await??;
        let new = self.counts().note(&found);
        for bypass in new {
            let api = self.models.of(bypass.generation).api(bypass.api).map(|api| Arc::clone(&api.name));
            tracing::warn!(
                cause = bypass.cause.label(),
                api = api.as_deref(),
                local = %bypass.local,
                remote = %bypass.origin.original_dst,
                "a connection bypasses Egret: see `egret inspect bypasses`"
            );
        }
        Ok(found)
    }

    async fn row(&self, bypass: Bypass) -> BypassRow {
        let Bypass { api, generation, cause, origin, udp, local, namespace, closed, .. } = bypass;
        let flow = flow::identify(0, origin, &self.workloads).await;
        BypassRow {
            cause: cause.label().to_owned(),
            api: self.models.of(generation).api(api).map(|api| api.name.to_string()),
            caller: caller_of(&flow),
            protocol: if udp { "udp" } else { "tcp" }.to_owned(),
            local,
            network_namespace: namespace,
            remedy: cause.remedy().to_owned(),
            closed: closed == Some(Ok(())),
            error: closed.and_then(Result::err),
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// Counts what was found; returns those that are new.
    fn note<'a>(&mut self, found: &'a [Bypass]) -> Vec<&'a Bypass> {
        let key = |bypass: &Bypass| (bypass.namespace, bypass.cookie);
        let new: Vec<_> = found.iter().filter(|bypass| !self.open.contains(&key(bypass))).collect();
        for (cause, (open, all)) in BypassCause::ALL.iter().zip(&mut self.by_cause) {
            let of_cause = |bypass: &&Bypass| bypass.cause == *cause;
            *all += new.iter().copied().filter(of_cause).count() as u64;
            *open = found.iter().filter(|bypass| of_cause(bypass) && bypass.closed != Some(Ok(()))).count() as u64;
        }
        self.open = found.iter().map(key).collect();
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ApiId, Generation, Origin, OriginalDst, Scope};

    fn bypass(cookie: u64, cause: BypassCause) -> Bypass {
        let address = "203.0.113.7:443".parse().unwrap();
        Bypass {
            api: ApiId(0),
            generation: Generation(1),
            cause,
            origin: Origin {
                original_dst: OriginalDst(address),
                cgroup: 1,
                scope: Scope::Everybody,
                pid: 0,
                uid: 0,
                command: "".into(),
                time: Duration::ZERO,
                generation: Generation(1),
                api: ApiId(0),
            },
            namespace: 1,
            udp: false,
            local: address,
            cookie,
            closed: None,
        }
    }

    #[test]
    fn each_connection_is_counted_once() {
        let mut counts = Counts::default();
        let [one, two] = [1, 2].map(|cookie| bypass(cookie, BypassCause::Older));
        assert_eq!(counts.note(std::slice::from_ref(&one)).len(), 1);
        assert_eq!(counts.note(&[one.clone(), two.clone()]), [&two]);
        assert_eq!(counts.by_cause[0], (2, 2));
        assert_eq!(counts.note(&[Bypass { closed: Some(Ok(())), ..one }, two]).len(), 0);
        assert_eq!(counts.by_cause[0], (1, 2));
        assert_eq!(counts.note(&[bypass(3, BypassCause::GatewayGone)]).len(), 1);
        assert_eq!((counts.by_cause[0], counts.by_cause[2]), ((0, 2), (1, 1)));
    }
}
