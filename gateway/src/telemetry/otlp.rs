//! Spans and log lines that wait to be sent to a collector (OTLP over HTTP, in protobuf), and what became of them.

mod messages;

mod retry;

mod trace_context;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;

pub use messages::{Resource, rejected};
pub use retry::{Backoff, Verdict};
pub use trace_context::TraceContext;

use super::{Exported, RequestSnapshot};
use crate::model::{Otlp, Signal};

/// Maximum number of spans, and of lines, that wait. Further ones are dropped and counted.
const QUEUE: usize = 8192;

/// Maximum number of bytes of lines that wait.
const QUEUE_BYTES: usize = 8 << 20;

/// The part of it that items of one owner may take when it is half full, at no less than their part of [`QUEUE`] each: a flood of one
/// owner, whose callers may have sampled all their requests, loses its own items.
const SHARE: usize = QUEUE_BYTES / 8;

/// Maximum number of spans or lines of one export.
const BATCH: usize = 512;

/// Spans and lines on their way to the collector. Adding one never waits.
#[derive(Debug, Default)]
pub struct Exports {
    settings: ArcSwapOption<Otlp>,
    spans: Queue<RequestSnapshot>,
    lines: Queue<LogLine>,
    counts: [Counts; Signal::ALL.len()],
}

/// A line of the access log.
#[derive(Debug)]
pub(super) struct LogLine {
    time: SystemTime,
    /// The line, which is JSON.
    text: String,
}

/// What became of the items of a signal. Of metrics, an item is a data point.
#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    dropped: [AtomicU64; Dropped::ALL.len()],
    failures: AtomicU64,
}

/// Why something did not reach the collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// Too many waited.
    QueueFull,
    /// The collector refused them for good.
    Rejected,
    /// The collector could not be reached for too long.
    Unreachable,
}

impl Dropped {
    /// Every reason, in one order.
    pub const ALL: [Self; 3] = [Self::QueueFull, Self::Rejected, Self::Unreachable];

    /// Returns the label of metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Rejected => "rejected",
            Self::Unreachable => "unreachable",
        }
    }
}

#[derive(Debug)]
struct Queue<T> {
    waiting: Mutex<Waiting<T>>,
    /// A batch is there.
    full: Notify,
}

#[derive(Debug)]
struct Waiting<T> {
    items: VecDeque<T>,
    bytes: usize,
    /// Bytes of each owner since it was half full.
    owners: HashMap<String, usize>,
}

impl<T> Waiting<T> {
    /// Returns whether there is room for an item of an owner.
    fn has_room(&mut self, owner: &str, bytes: usize) -> bool {
        if self.items.len() >= QUEUE || self.bytes + bytes > QUEUE_BYTES {
            return false;
        }
        if self.items.len() < QUEUE / 2 && self.bytes + bytes <= QUEUE_BYTES / 2 {
            return true;
        }
        let own = self.owners.get(owner).copied().unwrap_or(0) + bytes.max(QUEUE_BYTES / QUEUE);
        if own <= SHARE {
            self.owners.insert(owner.to_owned(), own);
        }
        own <= SHARE
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            waiting: Mutex::new(Waiting { items: VecDeque::new(), bytes: 0, owners: HashMap::new() }),
            full: Notify::new(),
        }
    }
}

impl<T> Queue<T> {
    /// Adds an item of this size that the callers of an owner have caused, if there is room.
    fn add(&self, owner: &str, item: T, bytes: usize) -> bool {
        let mut waiting = self.lock();
        if !waiting.has_room(owner, bytes) {
            return false;
        }
        waiting.items.push_back(item);
        waiting.bytes += bytes;
        if waiting.items.len() == BATCH {
            self.full.notify_one();
        }
        true
    }

    /// Takes a batch: the oldest ones.
    fn take(&self, size: impl Fn(&T) -> usize) -> Vec<T> {
        let mut waiting = self.lock();
        let most = waiting.items.len().min(BATCH);
        waiting.owners.clear();
        let taken: Vec<_> = waiting.items.drain(..most).collect();
        waiting.bytes = waiting.bytes.saturating_sub(taken.iter().map(size).sum());
        taken
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Exports {
    /// Follows the configuration.
    pub fn set(&self, settings: Option<Arc<Otlp>>) {
        self.settings.store(settings);
    }

    /// Returns the place of a request in a trace, if spans are sent or the third party is told. The functions return the fields of
    /// the request with these names.
    pub fn trace<'a, P, S>(
        &self,
        parents: impl FnOnce() -> P,
        states: impl FnOnce() -> S,
    ) -> Option<(TraceContext, bool)>
    where
        P: Iterator<Item = &'a [u8]>,
        S: Iterator<Item = &'a [u8]>,
    {
        let settings = self.settings.load();
        let settings = settings.as_ref().filter(|settings| settings.sends(Signal::Traces) || settings.propagate)?;
        let mut context = TraceContext::of(parents(), states(), settings.sampling);
        context.is_sampled &= settings.sends(Signal::Traces) || context.parent.is_some();
        Some((context, settings.propagate))
    }

    /// Returns whether spans are sent.
    pub(super) fn sends(&self, signal: Signal) -> bool {
        self.settings.load().as_ref().is_some_and(|settings| settings.sends(signal))
    }

    /// Adds the span of a request that has ended.
    pub(super) fn span(&self, request: &RequestSnapshot) {
        if !self.spans.add(&request.workload.identity.owner, request.clone(), 0) {
            self.dropped(Signal::Traces, Dropped::QueueFull, 1);
        }
    }

    /// Adds a line of the access log that the callers of an owner have caused.
    pub(super) fn line(&self, owner: &str, text: &str) {
        let line = LogLine { time: SystemTime::now(), text: text.to_owned() };
        let bytes = line.text.len();
        if !self.lines.add(owner, line, bytes) {
            self.dropped(Signal::Logs, Dropped::QueueFull, 1);
        }
    }

    /// Waits until there is a whole batch.
    pub async fn full(&self, signal: Signal) {
        match signal {
            Signal::Traces => self.spans.full.notified().await,
            Signal::Logs => self.lines.full.notified().await,
            Signal::Metrics => std::future::pending().await,
        }
    }

    /// Takes a batch of what waits, as the body of an export, with its number of items. Returns none if nothing waits. Metrics do not
    /// wait: see [`Resource::metrics`].
    pub fn batch(&self, signal: Signal, resource: &Resource) -> Option<(Vec<u8>, u64)> {
        let (body, items) = match signal {
            Signal::Traces => {
                let spans = self.spans.take(|_| 0);
                (resource.traces(&spans), spans.len())
            }
            Signal::Logs => {
                let lines = self.lines.take(|line| line.text.len());
                (resource.logs(&lines), lines.len())
            }
            Signal::Metrics => return None,
        };
        (items > 0).then_some((body, items as u64))
    }

    /// Counts items that the collector has taken.
    pub fn sent(&self, signal: Signal, items: u64) {
        self.counts[signal as usize].sent.fetch_add(items, Ordering::Relaxed);
    }

    /// Counts items that are lost.
    pub fn dropped(&self, signal: Signal, why: Dropped, items: u64) {
        self.counts[signal as usize].dropped[why as usize].fetch_add(items, Ordering::Relaxed);
    }

    /// Counts an export that failed; it may be tried again.
    pub fn failed(&self, signal: Signal) {
        self.counts[signal as usize].failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns what became of the items of each signal that is sent, or was.
    pub fn counts(&self) -> Vec<Exported> {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let is_used = |(signal, counts): &(Signal, &Counts)| {
            self.sends(*signal) || read(&counts.sent) + read(&counts.failures) > 0
        };
        let each = Signal::ALL.into_iter().zip(&self.counts).filter(is_used);
        each.map(|(signal, counts)| Exported {
            signal: signal.label(),
            sent: read(&counts.sent),
            dropped: Dropped::ALL.into_iter().map(Dropped::label).zip(counts.dropped.iter().map(read)).collect(),
            failures: read(&counts.failures),
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_is_bounded_and_what_does_not_fit_is_counted() {
        let exports = Exports::default();
        let resource = Resource::new(Vec::new());
        for owner in 0..QUEUE + 3 {
            exports.line(&owner.to_string(), "{}");
        }
        let count = |exports: &Exports| exports.counts[Signal::Logs as usize].dropped[0].load(Ordering::Relaxed);
        assert_eq!(count(&exports), 3);
        assert_eq!(exports.batch(Signal::Logs, &resource).unwrap().1, BATCH as u64);
        exports.line("a", "{}");
        assert_eq!(count(&exports), 3);
        while exports.batch(Signal::Logs, &resource).is_some() {}
        exports.line("a", &"x".repeat(QUEUE_BYTES + 1));
        exports.line("a", "{}");
        assert_eq!(count(&exports), 4);
        assert_eq!(exports.batch(Signal::Logs, &resource).unwrap().1, 1);
        assert!(exports.batch(Signal::Traces, &resource).is_none());
    }

    #[test]
    fn a_flood_of_one_owner_leaves_room_for_the_items_of_others() {
        let queue = Queue::default();
        let flood = (0..2 * QUEUE).filter(|_| queue.add("hostile", (), 0)).count();
        assert_eq!(flood, QUEUE / 2 + QUEUE / 8);
        assert!((0..QUEUE / 8).all(|_| queue.add("victim", (), 0)));
        assert!(!queue.add("victim", (), 0) && queue.add("another", (), 0));
        assert_eq!(queue.take(|()| 0).len(), BATCH);
        assert!(queue.add("hostile", (), 0));
    }
}
