//! Counts of quotas, which outlive the process: in one file, written anew when they have changed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use crate::policy::{QuotaRow, State};

/// What is used within this time may be forgotten by a process that is killed.
const PERIOD: Duration = Duration::from_secs(1);

/// Where they are kept.
pub(super) struct Quotas {
    path: PathBuf,
    state: Arc<State>,
}

impl Quotas {
    /// With the counts of the processes before.
    pub(super) fn restored(directory: &Path, state: Arc<State>) -> anyhow::Result<Arc<Self>> {
        let path = directory.join("quotas.json");
        match std::fs::read(&path) {
            Ok(bytes) => {
                let rows: Vec<QuotaRow> = serde_json::from_slice(&bytes).with_context(|| {
                    format!("{} is not what Egret has written: move it away, and all quotas begin anew", path.display())
                })?;
                state.restore_quotas(rows);
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
        }
        Ok(Arc::new(Self { path, state }))
    }

    /// Saves them from time to time until the end.
    pub(super) fn spawn(self: &Arc<Self>, stop: &CancellationToken) {
        let quotas = Arc::clone(self);
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            let mut tick = tokio::time::interval(PERIOD);
            loop {
                tick.tick().await;
                let quotas = Arc::clone(&quotas);
                // It logs what goes wrong.
                let _ = tokio::task::spawn_blocking(move || quotas.save()).await;
            }
        }));
    }

    /// Saves them, if they have changed.
    pub(super) fn save(&self) {
        let Some(rows) = self.state.changed_quotas() else { return };
        if let Err(error) = self.write(&rows) {
            tracing::error!(path = %self.path.display(), %error, "counts of quotas cannot be saved: a restart would forget them");
        }
    }

    fn write(&self, rows: &[QuotaRow]) -> std::io::Result<()> {
        if let Some(directory) = self.path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let fresh = self.path.with_extension("json.new");
        std::fs::write(&fresh, serde_json::to_vec(rows)?)?;
        std::fs::rename(fresh, &self.path)
    }
}
