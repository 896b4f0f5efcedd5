//! Requests to the daemon that several commands make.

use std::path::Path;

use anyhow::bail;

use crate::admin::{Client, Request, Response, Status};

/// Returns the daemon's status.
pub(super) fn status(socket: &Path) -> anyhow::Result<Status> {
    match Client::connect(socket)?.ask(&Request::Status)? {
        Response::Status(status) => Ok(*status),
        _ => bail!(UNEXPECTED),
    }
}

/// Why a response is of no use.
pub(super) const UNEXPECTED: &str = "the daemon sent a response of another kind: is it another version of Egret?";
