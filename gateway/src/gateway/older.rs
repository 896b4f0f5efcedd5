use std::io;
use std::sync::Arc;

use super::models::Models;
use crate::admin::{OlderRow, Response};
use crate::capture::{Capture, Error, Older};

/// Lists connections that are older than their capture, in a thread that may block, and closes them on demand.
pub(super) async fn list(capture: &Arc<Capture>, models: &Models, close: bool) -> Response {
    let capture = Arc::clone(capture);
    let listed = tokio::task::spawn_blocking(move || {
        let older = capture.older()?;
        Ok::<_, Error>(older.into_iter().map(|one| (close.then(|| one.close()), one)).collect::<Vec<_>>())
    });
    match listed.await {
        Ok(Ok(listed)) => {
            Response::Older(listed.into_iter().map(|(outcome, one)| row(models, outcome, &one)).collect())
        }
        Ok(Err(error)) => Response::Error(error.to_string()),
        Err(error) => Response::Error(error.to_string()),
    }
}

fn row(models: &Models, outcome: Option<io::Result<()>>, older: &Older) -> OlderRow {
    OlderRow {
        api: models.of(older.generation).api(older.api).map(|api| api.name.to_string()),
        local: older.local(),
        remote: older.remote(),
        uid: older.uid(),
        closed: matches!(outcome, Some(Ok(()))),
        error: outcome.and_then(Result::err).map(|error| error.to_string()),
    }
}
