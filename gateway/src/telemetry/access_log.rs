use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::Snapshot;

/// One JSON line per flow, written by a thread of its own: a slow disk delays no flow.
#[derive(Debug, Default)]
pub struct AccessLog {
    lines: Option<SyncSender<String>>,
    writer: Option<JoinHandle<()>>,
    lost: AtomicU64,
}

/// Lines that wait for the writer; beyond, lines are lost and counted.
const QUEUE: usize = 8192;

impl AccessLog {
    /// To standard output.
    pub fn stdout() -> io::Result<Self> {
        Self::to(io::stdout())
    }

    /// To a file, appended.
    pub fn file(path: &Path) -> io::Result<Self> {
        Self::to(OpenOptions::new().create(true).append(true).open(path)?)
    }

    fn to(output: impl Write + Send + 'static) -> io::Result<Self> {
        let (lines, queue) = sync_channel(QUEUE);
        let writer = std::thread::Builder::new().name("access-log".to_owned()).spawn(move || write(output, &queue))?;
        Ok(Self { lines: Some(lines), writer: Some(writer), lost: AtomicU64::new(0) })
    }

    pub(super) fn write(&self, flow: &Snapshot, outcome: &str) {
        let Some(lines) = &self.lines else { return };
        if lines.try_send(line(flow, outcome)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.lines = None;
        if let Some(writer) = self.writer.take() {
            // The thread ends when its queue has; it does not panic.
            let _ = writer.join();
        }
    }
}

fn write(output: impl Write, queue: &Receiver<String>) {
    const QUIET: Duration = Duration::from_millis(100);
    let mut output = BufWriter::new(output);
    loop {
        let result = match queue.recv_timeout(QUIET) {
            Ok(line) => writeln!(output, "{line}"),
            Err(RecvTimeoutError::Timeout) => output.flush(),
            Err(RecvTimeoutError::Disconnected) => break,
        };
        if let Err(error) = result {
            tracing::error!(%error, "the access log cannot be written: it ends here");
            return;
        }
    }
    if let Err(error) = output.flush() {
        tracing::error!(%error, "the end of the access log cannot be written");
    }
}

fn line(snapshot: &Snapshot, outcome: &str) -> String {
    let flow = snapshot.flow.as_ref();
    let time = snapshot.accepted.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    json!({
        "time": time.as_secs_f64(),
        "flow": snapshot.id,
        "outcome": outcome,
        "api": snapshot.api.as_ref().map(|(name, _)| name),
        "mode": snapshot.api.as_ref().map(|(_, mode)| mode),
        "protocol": snapshot.protocol,
        "name": snapshot.name.as_ref().map(ToString::to_string),
        "original_destination": flow.map(|flow| flow.original_dst.0),
        "upstream": snapshot.upstream,
        "egress": snapshot.egress,
        "workload": flow.map(|flow| &flow.workload.name),
        "pid": flow.map(|flow| flow.workload.pid),
        "command": flow.map(|flow| &flow.workload.command),
        "bytes_sent": snapshot.sent,
        "bytes_received": snapshot.received,
        "duration_ms": u64::try_from(snapshot.age.as_millis()).unwrap_or(u64::MAX),
        "generation": flow.map(|flow| flow.generation.0),
    })
    .to_string()
}
