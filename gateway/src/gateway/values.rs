//! Named values and public keys follow their files: a secret, or a key, is rotated without a restart.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::models::Models;
use crate::model::{Model, Secret, ValueSource};

/// How soon a changed file is used, at most.
const PERIOD: Duration = Duration::from_millis(500);

/// Reads the files again and again until the end.
pub(super) fn spawn_values(models: &Arc<Models>, stop: &CancellationToken) {
    let models = Arc::clone(models);
    tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
        let mut tick = tokio::time::interval(PERIOD);
        loop {
            tick.tick().await;
            let model = models.current();
            let follows = model.values.iter().any(|value| matches!(value.source, ValueSource::File(_)));
            if follows || !model.keys.is_empty() {
                // It ends soon, and nothing is to be heard of it.
                let _ = tokio::task::spawn_blocking(move || refresh(&model)).await;
            }
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
                tracing::debug!(value = %value.name, path = %path.display(), %error, "kept: its file cannot be read");
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
            Err(error) => tracing::debug!(path = %path.display(), %error, "kept: the keys' file cannot be read"),
        }
    }
}
