use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::model::{Limits, Reason};
use crate::telemetry::Bytes;

/// Waits until a connection that carries these bytes has been silent, or has lived, for too long.
pub(super) async fn exceeded(limits: Limits, bytes: &Bytes) -> Reason {
    let end = limits.total.map(|total| Instant::now() + total);
    tokio::select! {
        () = silence(limits.idle, bytes) => Reason::Idle,
        () = until(end) => Reason::TooOld,
    }
}

/// It is looked for every quarter of the limit: a timer for each byte would cost more than it is worth.
async fn silence(limit: Option<Duration>, bytes: &Bytes) {
    let Some(limit) = limit else { return std::future::pending().await };
    let carried = || (bytes.sent.load(Ordering::Relaxed), bytes.received.load(Ordering::Relaxed));
    let (mut before, mut since) = (carried(), Instant::now());
    while since.elapsed() < limit {
        sleep(limit / 4).await;
        let now = carried();
        if now != before {
            (before, since) = (now, Instant::now());
        }
    }
}

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => std::future::pending().await,
    }
}
