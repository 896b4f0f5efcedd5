//! How much is logged. Some lines are the work of callers: each place in the code that logs has a burst of lines and then some
//! a second; those beyond are counted, and the counts are logged.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::callsite::Identifier;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// Lines of one place at once, and one after the other in each second.
const BURST: u32 = 200;
const EACH_SECOND: u32 = 10;

/// How often the counts are logged.
const PERIOD: Duration = Duration::from_secs(10);

/// Lines of each place. Their number is that of the places in the code.
static PLACES: LazyLock<Mutex<HashMap<Identifier, Place>>> = LazyLock::new(Mutex::default);

struct Place {
    left: u32,
    since: Instant,
    suppressed: u64,
    /// The place, for people.
    shown: String,
}

/// Lets through what [`PLACES`] has room for. What only people who look for something see, it leaves alone.
pub(super) struct Bounded;

impl<S: Subscriber> Layer<S> for Bounded {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO || metadata.target() == module_path!() {
            return true;
        }
        let now = Instant::now();
        let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
        let place = places.entry(metadata.callsite()).or_insert_with(|| {
            let (file, line) = (metadata.file().unwrap_or_default(), metadata.line().unwrap_or_default());
            Place { left: BURST, since: now, suppressed: 0, shown: format!("{file}:{line}") }
        });
        place.admits(now)
    }
}

impl Place {
    fn admits(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.since).as_millis();
        let more = u32::try_from(passed * u128::from(EACH_SECOND) / 1000).unwrap_or(u32::MAX);
        if more > 0 {
            self.left = self.left.saturating_add(more).min(BURST);
            self.since = now;
        }
        let admits = self.left > 0;
        self.left -= u32::from(admits);
        self.suppressed += u64::from(!admits);
        admits
    }
}

/// Logs from time to time how many lines were left out.
pub(in crate::gateway) fn spawn_report(stop: &CancellationToken) {
    tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
        let mut tick = tokio::time::interval(PERIOD);
        loop {
            tick.tick().await;
            report();
        }
    }));
}

fn report() {
    let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
    let suppressed: Vec<_> = places
        .values_mut()
        .filter(|place| place.suppressed > 0)
        .map(|place| (place.shown.clone(), std::mem::take(&mut place.suppressed)))
        .collect();
    drop(places);
    for (place, lines) in suppressed {
        tracing::warn!(%place, lines, "too many lines like others of this place: these were left out");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_says_too_much_is_counted() {
        let start = Instant::now();
        let mut place = Place { left: BURST, since: start, suppressed: 0, shown: String::new() };
        let written = (0..10_000).filter(|number| place.admits(start + Duration::from_millis(*number))).count();
        let most = usize::try_from(BURST + 10 * EACH_SECOND).unwrap();
        assert!(written > most / 2 && written <= most, "{written}");
        assert_eq!(place.suppressed, 10_000 - written as u64);
    }
}
