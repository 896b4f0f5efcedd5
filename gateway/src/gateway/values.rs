//! Named values, public keys and the CA follow their files: a secret or a key is rotated without a restart.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::models::Models;
use crate::model::{Model, Secret, ValueSource};
use crate::tls::Leaves;

/// The time between two looks at the files.
const PERIOD: Duration = Duration::from_millis(500);

/// Reads the files again and again until the end, away from the workers of the data path.
pub(super) fn spawn_values(models: &Arc<Models>, leaves: &Arc<Leaves>, stop: &CancellationToken) {
    let (models, leaves) = (Arc::clone(models), Arc::clone(leaves));
    tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
        let mut tick = tokio::time::interval(PERIOD);
        loop {
            tick.tick().await;
            let (model, leaves) = (models.current(), Arc::clone(&leaves));
            let look = move || {
                refresh(&model);
                leaves.refresh();
            };
            // A look that panicked has been reported, and the next one may succeed.
            let _ = tokio::task::spawn_blocking(look).await;
        }
    }));
}

fn refresh(model: &Model) {
    for value in &model.values {
        let ValueSource::File(path) = &value.source else { continue };
        match std::fs::read(path) {
            // A file that is being written is empty for a moment.
            Ok(bytes) if bytes.is_empty() => {}
            Ok(bytes) => {
                if value.replace(Secret::of_file(bytes)) {
                    tracing::info!(value = %value.name, "a named value has changed");
                }
            }
            Err(error) => {
                tracing::debug!(value = %value.name, path = %path.display(), %error, "cannot read the file of a named value: its old value stays in use");
            }
        }
    }
    for keys in &model.keys {
        let Some(path) = keys.source.path() else { continue };
        match std::fs::read(path) {
            Ok(bytes) if bytes.is_empty() => {}
            Ok(bytes) => match keys.replace(&bytes) {
                Ok(false) => {}
                Ok(true) => tracing::info!(path = %path.display(), "the keys of tokens have changed"),
                Err(error) => tracing::warn!(path = %path.display(), %error, "the old keys of tokens are kept"),
            },
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "cannot read the file of keys: the old ones stay in use")
            }
        }
    }
}
