//! What policies remember beyond the process: counts of quotas, and refresh tokens. Each is in a file that only root reads.

mod journal;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use self::journal::Journal;
use crate::policy::State;

/// A process that is killed may forget what changed within this time.
const PERIOD: Duration = Duration::from_secs(1);

/// The most counts that are written in one period, some 100 bytes each; the others are written in the next one.
const AT_ONCE: usize = 4096;

pub(super) const QUOTAS: &str = "quotas.json";
pub(super) const REFRESH_TOKENS: &str = "refresh-tokens.json";

/// Saves what policies remember.
pub(super) struct Remembered {
    directory: PathBuf,
    state: Arc<State>,
    quotas: Mutex<Journal>,
}

impl Remembered {
    /// Restores what the processes before have left.
    pub(super) fn restored(directory: &Path, state: Arc<State>) -> anyhow::Result<Arc<Self>> {
        let path = directory.join(QUOTAS);
        let rows = match read(&path)? {
            None => Vec::new(),
            Some(text) => journal::rows(&text).with_context(|| unreadable(&path, "all quotas begin anew"))?,
        };
        state.restore_quotas(rows, SystemTime::now());
        let tokens = directory.join(REFRESH_TOKENS);
        if let Some(text) = read(&tokens)? {
            let without = "refresh tokens are those of the configuration again";
            state.restore_refresh_tokens(serde_json::from_slice(&text).with_context(|| unreadable(&tokens, without))?);
        }
        Ok(Arc::new(Self { directory: directory.to_owned(), state, quotas: Mutex::new(Journal::new(path)) }))
    }

    /// Saves what has changed, every period until the end.
    pub(super) fn spawn(self: &Arc<Self>, stop: &CancellationToken) {
        let remembered = Arc::clone(self);
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            let mut tick = tokio::time::interval(PERIOD);
            loop {
                tick.tick().await;
                let remembered = Arc::clone(&remembered);
                // It logs what goes wrong.
                let _ = tokio::task::spawn_blocking(move || remembered.save_some()).await;
            }
        }));
    }

    /// Saves all that has changed.
    pub(super) fn save(&self) {
        while self.save_some() == AT_ONCE {}
    }

    /// Saves the refresh tokens and some of the counts that have changed; returns how many counts.
    fn save_some(&self) -> usize {
        if let Some(rows) = self.state.changed_refresh_tokens() {
            let path = self.directory.join(REFRESH_TOKENS);
            let written = serde_json::to_vec(&rows).map_err(Into::into).and_then(|text| write_anew(&path, &text));
            noted(&path, written);
        }
        let changed = self.state.changed_quotas(AT_ONCE);
        if changed.is_empty() {
            return 0;
        }
        let mut journal = self.quotas.lock().unwrap_or_else(PoisonError::into_inner);
        let written = journal.add(&changed, || self.state.quotas(SystemTime::now()));
        noted(&self.directory.join(QUOTAS), written);
        changed.len()
    }
}

fn noted(path: &Path, written: std::io::Result<()>) {
    if let Err(error) = written {
        tracing::error!(path = %path.display(), %error, "this cannot be saved: a restart would forget it");
    }
}

fn unreadable(path: &Path, without: &str) -> String {
    format!("{} is not what Egret has written: move it away, and {without}", path.display())
}

fn read(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

/// Replaces a file: a reader sees the old one or the new one, whole.
fn write_anew(path: &Path, text: &[u8]) -> std::io::Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let fresh = path.with_extension("json.new");
    // One that a killed process has left may be read by others.
    let _ = std::fs::remove_file(&fresh);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(fresh, path)
}
