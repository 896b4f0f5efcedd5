//! Memory that nobody uses goes back to the system.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// The time between two rounds.
const PERIOD: Duration = Duration::from_secs(1);

/// Gives back what has been free for a second, from time to time until the end. The allocator (mimalloc) does so by itself
/// only when a thread takes or gives back whole pages, or ends: after a burst of large bodies none does, for hours perhaps.
/// So a thread ends now and then.
pub(super) fn spawn_release(stop: &CancellationToken) {
    tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
        let mut tick = tokio::time::interval(PERIOD);
        loop {
            tick.tick().await;
            let thread = std::thread::Builder::new().name("release-memory".to_owned());
            // Without one, for lack of memory or threads, the next one does.
            let _ = thread.spawn(|| drop(std::hint::black_box(Box::new(0))));
        }
    }));
}
