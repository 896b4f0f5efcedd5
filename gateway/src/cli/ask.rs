//! Asking the daemon.

use std::path::Path;

use anyhow::bail;

use crate::admin::{Client, Request, Response, Status};

/// Asks for the status.
pub(super) fn status(socket: &Path) -> anyhow::Result<Status> {
    match Client::connect(socket)?.ask(&Request::Status)? {
        Response::Status(status) => Ok(*status),
        other => bail!("the daemon answered something else: {other:?}"),
    }
}
