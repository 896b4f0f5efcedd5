//! Heartbeats, from a thread of their own: a busy runtime must not look like a dead process. The thread watches the
//! runtime as well. A stall is an alarm; only a runtime that hangs for good stops the heartbeats.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::capture::Capture;

/// Age of the heartbeat from which the hooks follow the fail modes. The hooks notice a killed process at once, by its
/// listener; this is for one that is stopped or hangs.
pub(super) const STALE_AFTER: Duration = Duration::from_secs(5);

const BEAT: Duration = Duration::from_millis(300);

/// Time without a sign of the runtime that is an alarm.
const STALLED: Duration = Duration::from_secs(1);

/// Time without a sign of the runtime after which it counts as dead: there are no more heartbeats.
const DEAD: Duration = Duration::from_secs(60);

/// Signs of life of the runtime.
#[derive(Debug, Default)]
pub(super) struct Runtime {
    ticks: AtomicU64,
    stalls: AtomicU64,
}

impl Runtime {
    /// Returns how often the runtime has stalled.
    pub(super) fn stalls(&self) -> u64 {
        self.stalls.load(Ordering::Relaxed)
    }
}

/// Starts the heartbeats. They end with `stop`.
pub(super) fn spawn(capture: &Arc<Capture>, stop: &CancellationToken) -> io::Result<Arc<Runtime>> {
    let runtime = Arc::new(Runtime::default());
    let ticking = Arc::clone(&runtime);
    tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
        let mut interval = tokio::time::interval(BEAT);
        loop {
            interval.tick().await;
            ticking.ticks.fetch_add(1, Ordering::Relaxed);
        }
    }));
    let (capture, watched, stop) = (Arc::clone(capture), Arc::clone(&runtime), stop.clone());
    let beating = move || beat(&capture, &watched, &stop);
    std::thread::Builder::new().name("heartbeat".to_owned()).spawn(beating)?;
    Ok(runtime)
}

fn beat(capture: &Capture, runtime: &Runtime, stop: &CancellationToken) {
    /// Beats between two sweeps of origin records whose connections never reached the listener.
    const SWEEP_EVERY: u64 = 100;
    const NEVER_ACCEPTED: Duration = Duration::from_secs(300);
    let mut watch = Watch::new(Instant::now());
    for number in 1u64.. {
        if stop.is_cancelled() {
            return;
        }
        match watch.look(runtime.ticks.load(Ordering::Relaxed), Instant::now()) {
            Sign::Well => {}
            Sign::Stalls => {
                runtime.stalls.fetch_add(1, Ordering::Relaxed);
                tracing::error!("the runtime stalls: connections wait; heartbeats go on");
            }
            Sign::Died => tracing::error!(
                seconds = DEAD.as_secs(),
                "the runtime has not moved for this long: heartbeats stop and the hooks follow each API's fail mode"
            ),
            Sign::Recovered(after) => tracing::warn!(seconds = after.as_secs_f64(), "the runtime stalled and goes on"),
        }
        if !watch.is_dead()
            && let Err(error) = capture.beat()
        {
            tracing::error!(%error, "heartbeat update failed: the hooks will follow each API's fail mode");
        }
        if number.is_multiple_of(SWEEP_EVERY) {
            capture.sweep(NEVER_ACCEPTED);
        }
        std::thread::sleep(BEAT);
    }
}

/// The runtime as the thread saw it.
#[derive(Debug)]
struct Watch {
    ticks: u64,
    since: Instant,
    stalled: bool,
    dead: bool,
}

/// What a look at the runtime has found.
#[derive(Debug, PartialEq, Eq)]
enum Sign {
    /// Nothing has changed.
    Well,
    /// It has just begun to stall.
    Stalls,
    /// It stalls for so long that it counts as dead from now on.
    Died,
    /// It goes on, after this time.
    Recovered(Duration),
}

impl Watch {
    fn new(now: Instant) -> Self {
        Self { ticks: 0, since: now, stalled: false, dead: false }
    }

    fn is_dead(&self) -> bool {
        self.dead
    }

    fn look(&mut self, ticks: u64, now: Instant) -> Sign {
        let without = now.saturating_duration_since(self.since);
        if ticks != self.ticks {
            let stalled = self.stalled;
            *self = Self { ticks, ..Self::new(now) };
            return if stalled { Sign::Recovered(without) } else { Sign::Well };
        }
        if without >= DEAD && !self.dead {
            self.dead = true;
            return Sign::Died;
        }
        if without >= STALLED && !self.stalled {
            self.stalled = true;
            return Sign::Stalls;
        }
        Sign::Well
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_an_alarm_once_and_ends_the_heartbeats_only_after_a_minute() {
        let start = Instant::now();
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let mut watch = Watch::new(start);
        assert_eq!(watch.look(1, at(0.3)), Sign::Well);
        assert_eq!(watch.look(1, at(0.9)), Sign::Well);
        assert_eq!(watch.look(1, at(1.4)), Sign::Stalls);
        assert_eq!(watch.look(1, at(30.0)), Sign::Well);
        assert!(!watch.is_dead());
        assert_eq!(watch.look(1, at(60.5)), Sign::Died);
        assert!(watch.is_dead());
        assert_eq!(watch.look(1, at(90.0)), Sign::Well);
        assert_eq!(watch.look(2, at(90.3)), Sign::Recovered(Duration::from_secs(90)));
        assert!(!watch.is_dead());
        assert_eq!(watch.look(3, at(90.6)), Sign::Well);
    }
}
