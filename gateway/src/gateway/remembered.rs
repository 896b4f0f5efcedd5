//! What policies remember beyond the process: counts of quotas, refresh tokens. Each in a file of its own, which is written anew
//! when it has changed, and which root alone reads.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use crate::policy::State;

/// What changes within this time may be forgotten by a process that is killed.
const PERIOD: Duration = Duration::from_secs(1);

/// Where it is kept.
pub(super) struct Remembered {
    directory: PathBuf,
    state: Arc<State>,
}

type Parse<Row> = fn(&[u8]) -> serde_json::Result<Vec<Row>>;

const QUOTAS: &str = "quotas.json";
const REFRESH_TOKENS: &str = "refresh-tokens.json";

impl Remembered {
    /// With what the processes before have left.
    pub(super) fn restored(directory: &Path, state: Arc<State>) -> anyhow::Result<Arc<Self>> {
        state.restore_quotas(read(&directory.join(QUOTAS), "all quotas begin anew", |bytes| {
            serde_json::from_slice(bytes)
        })?);
        let anew = "refresh tokens are those of the configuration again";
        state.restore_refresh_tokens(read(&directory.join(REFRESH_TOKENS), anew, |bytes| {
            serde_json::from_slice(bytes)
        })?);
        Ok(Arc::new(Self { directory: directory.to_owned(), state }))
    }

    /// Saves it from time to time until the end.
    pub(super) fn spawn(self: &Arc<Self>, stop: &CancellationToken) {
        let remembered = Arc::clone(self);
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            let mut tick = tokio::time::interval(PERIOD);
            loop {
                tick.tick().await;
                let remembered = Arc::clone(&remembered);
                // It logs what goes wrong.
                let _ = tokio::task::spawn_blocking(move || remembered.save()).await;
            }
        }));
    }

    /// Saves what has changed.
    pub(super) fn save(&self) {
        let quotas = self.state.changed_quotas().map(|rows| serde_json::to_vec(&rows));
        let tokens = self.state.changed_refresh_tokens().map(|rows| serde_json::to_vec(&rows));
        for (name, text) in [(QUOTAS, quotas), (REFRESH_TOKENS, tokens)] {
            let Some(text) = text else { continue };
            let path = self.directory.join(name);
            if let Err(error) = text.map_err(Into::into).and_then(|text| write(&path, &text)) {
                tracing::error!(path = %path.display(), %error, "this cannot be saved: a restart would forget it");
            }
        }
    }
}

fn read<Row>(path: &Path, without: &str, parse: Parse<Row>) -> anyhow::Result<Vec<Row>> {
    match std::fs::read(path) {
        Ok(bytes) => parse(&bytes)
            .with_context(|| format!("{} is not what Egret has written: move it away, and {without}", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

fn write(path: &Path, text: &[u8]) -> std::io::Result<()> {
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
