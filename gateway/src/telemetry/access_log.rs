use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::{Exports, RequestLine, RequestSnapshot, Snapshot};
use crate::model::{Signal, Workload, printable_json};

/// The access log: one JSON line for each flow, and for each request if wanted. A thread of its own writes it, so a slow disk delays
/// no flow.
#[derive(Debug, Default)]
pub struct AccessLog {
    queue: Option<Arc<Queue>>,
    writer: Option<JoinHandle<()>>,
    lost: AtomicU64,
    /// Where lines are sent, too.
    exports: Option<Arc<Exports>>,
}

/// Maximum number of bytes that wait for the writer. Further lines are dropped and counted.
const QUEUE: usize = 4 << 20;

/// The part of it that lines of one owner may take when it is half full: a flood of one owner loses its own lines.
const SHARE: usize = QUEUE / 8;

/// The time during which lines are collected and then written together: waking the writer for each line would cost more than the
/// line.
const TOGETHER: Duration = Duration::from_millis(20);

#[derive(Debug, Default)]
struct Queue {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    text: Vec<u8>,
    /// Bytes of each owner since it was half full.
    owners: HashMap<String, usize>,
    closed: bool,
}

impl Lines {
    /// Returns whether there is room for a line of an owner.
    fn has_room(&mut self, owner: &str, bytes: usize) -> bool {
        if self.text.len() + bytes > QUEUE {
            return false;
        }
        if self.text.len() + bytes <= QUEUE / 2 {
            return true;
        }
        let own = self.owners.get(owner).copied().unwrap_or(0) + bytes;
        if own <= SHARE {
            self.owners.insert(owner.to_owned(), own);
        }
        own <= SHARE
    }
}

impl AccessLog {
    /// Returns a log on standard output.
    pub fn stdout() -> io::Result<Self> {
        Self::to(io::stdout())
    }

    /// Returns a log that is appended to a file. A new file is readable for its owner and group only (0640, less the umask): lines
    /// may have request bodies. A file that exists keeps its mode, which its owner or logrotate chose.
    pub fn file(path: &Path) -> io::Result<Self> {
        Self::to(OpenOptions::new().create(true).append(true).mode(0o640).open(path)?)
    }

    fn to(output: impl Write + Send + 'static) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let writer = {
            let queue = Arc::clone(&queue);
            std::thread::Builder::new().name("access-log".to_owned()).spawn(move || write(output, &queue))?
        };
        Ok(Self { queue: Some(queue), writer: Some(writer), lost: AtomicU64::new(0), exports: None })
    }

    /// Returns the log whose lines are sent to a collector, too, while the configuration says so.
    pub(super) fn exported(mut self, exports: Arc<Exports>) -> Self {
        self.exports = Some(exports);
        self
    }

    /// Returns the number of lines that were dropped because the output was too slow or failed.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    pub(super) fn write(&self, flow: &Snapshot, outcome: &str) {
        let owner = flow.flow.as_ref().map_or("", |flow| &*flow.workload.identity.owner);
        self.line(owner, &Line::new(flow, outcome));
    }

    pub(super) fn write_request(&self, request: &RequestSnapshot) {
        self.line(&request.workload.identity.owner, &RequestLine::from(request));
    }

    /// Adds a line that the callers of this owner have caused.
    pub(super) fn line(&self, owner: &str, line: &impl Serialize) {
        let exports = self.exports.as_ref().filter(|exports| exports.sends(Signal::Logs));
        if self.queue.is_none() && exports.is_none() {
            return;
        }
        let Ok(line) = serde_json::to_string(line) else { return };
        let mut line = match printable_json(&line) {
            Cow::Borrowed(_) => line,
            Cow::Owned(escaped) => escaped,
        };
        if let Some(exports) = exports {
            exports.line(owner, &line);
        }
        let Some(queue) = &self.queue else { return };
        line.push('\n');
        let mut lines = queue.lock();
        if lines.closed || !lines.has_room(owner, line.len()) {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let first = lines.text.is_empty();
        lines.text.extend_from_slice(line.as_bytes());
        if first {
            queue.changed.notify_one();
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        if let Some(queue) = &self.queue {
            queue.lock().closed = true;
            queue.changed.notify_one();
        }
        if let Some(writer) = self.writer.take() {
            // The thread ends when the queue is closed and empty. It does not panic.
            let _ = writer.join();
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for lines, collects more for a short time, and returns all of them. Returns none when the queue is closed.
    fn take(&self, into: &mut Vec<u8>) {
        let lines = self.lock();
        let waiting = self.changed.wait_while(lines, |lines| lines.text.is_empty() && !lines.closed);
        let lines = waiting.unwrap_or_else(PoisonError::into_inner);
        let waiting = self.changed.wait_timeout_while(lines, TOGETHER, |lines| !lines.closed);
        let (mut lines, _) = waiting.unwrap_or_else(PoisonError::into_inner);
        lines.owners.clear();
        std::mem::swap(&mut lines.text, into);
    }
}

fn write(mut output: impl Write, queue: &Queue) {
    let mut text = Vec::new();
    loop {
        text.clear();
        queue.take(&mut text);
        if text.is_empty() {
            return;
        }
        if let Err(error) = output.write_all(&text).and_then(|()| output.flush()) {
            tracing::error!(%error, "cannot write the access log: it ends here");
            queue.lock().closed = true;
            return;
        }
    }
}

/// A flow as a line of the log. Its names are an interface: programs read them.
#[derive(Serialize)]
struct Line<'a> {
    /// Time in seconds since 1970.
    time: f64,
    flow: u64,
    outcome: &'a str,
    api: Option<&'a str>,
    mode: Option<&'a str>,
    protocol: Option<&'a str>,
    name: Option<&'a str>,
    original_destination: Option<SocketAddr>,
    upstream: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy: Option<&'a str>,
    egress: Option<SocketAddr>,
    #[serde(flatten)]
    workload: Option<&'a Workload>,
    bytes_sent: u64,
    bytes_received: u64,
    duration_ms: u64,
    generation: Option<u32>,
    /// Number of equal decisions of the kernel hooks that the line stands for.
    #[serde(skip_serializing_if = "is_one")]
    times: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_one(times: &u64) -> bool {
    *times == 1
}

impl<'a> Line<'a> {
    fn new(snapshot: &'a Snapshot, outcome: &'a str) -> Self {
        let flow = snapshot.flow.as_ref();
        let time = snapshot.accepted.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            time: time.as_secs_f64(),
            flow: snapshot.id,
            outcome,
            api: snapshot.api.as_deref(),
            mode: snapshot.mode,
            protocol: snapshot.protocol,
            name: snapshot.name.as_ref().map(|name| name.as_str()),
            original_destination: flow.map(|flow| flow.original_dst.0),
            upstream: snapshot.upstream,
            proxy: snapshot.proxy.as_deref(),
            egress: snapshot.egress,
            workload: flow.map(|flow| &flow.workload),
            bytes_sent: snapshot.sent,
            bytes_received: snapshot.received,
            duration_ms: u64::try_from(snapshot.age.as_millis()).unwrap_or(u64::MAX),
            generation: flow.map(|flow| flow.generation.0),
            times: snapshot.times,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_owner_leaves_room_for_the_lines_of_others() {
        let mut lines = Lines::default();
        let mut add = |owner: &str| {
            let has_room = lines.has_room(owner, 1000);
            if has_room {
                lines.text.resize(lines.text.len() + 1000, b'x');
            }
            has_room
        };
        let written = (0..10_000).filter(|_| add("hostile")).count();
        assert!((QUEUE / 2 / 1000..=(QUEUE / 2 + SHARE) / 1000).contains(&written), "{written}");
        assert!((0..500).all(|_| add("victim")));
        assert!((0..500).all(|_| add("another")));
        while add("more") {}
        assert!(lines.text.len() <= QUEUE);
    }
}
