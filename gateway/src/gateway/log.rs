//! The text log on standard error: one line for each event.

mod volume;

use std::io::{self, Write};

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

pub(super) use self::volume::spawn_report;
use crate::model::printable;

/// Starts the log at the level that the environment variable EGRET_LOG names; `info` by default.
pub(super) fn start() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("EGRET_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt::layer().with_writer(|| Lines).with_ansi(false);
    tracing_subscriber::registry().with(lines).with(volume::Bounded).with(filter).init();
}

/// Writes a line to standard error, whatever the level of the log is.
pub(super) fn line(text: &str) {
    // If nobody reads standard error, there is nobody to tell.
    let _ = Lines.write_all(text.as_bytes());
}

/// Returns the lines of a text, to be logged one by one: a line break within an event is escaped.
pub(super) fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.is_empty())
}

/// A writer that makes each write one line. Control characters are escaped, so no value can forge a line or move the cursor.
struct Lines;

impl Write for Lines {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = format!("{}\n", printable(text.strip_suffix('\n').unwrap_or(&text)));
        io::stderr().write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
