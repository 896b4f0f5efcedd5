//! Refresh tokens that servers have issued in the place of others (RFC 6749 §6). The old ones may be invalid then, so the new ones
//! outlive the process.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::model::Secret;

/// The most refresh tokens that are kept: what a token is asked for may come from callers.
const MOST: usize = 10_000;

/// The refresh tokens, by the name of the access token that they are for.
#[derive(Debug, Default)]
pub(in crate::policy) struct Rotated(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// A digest of the token in the configuration, and the token that takes its place.
    tokens: HashMap<String, (String, Secret)>,
    changed: bool,
}

/// A token as it is saved: its name, a digest of the one of the configuration, and what is used instead.
pub type RefreshRow = (String, String, String);

impl Rotated {
    /// Returns the token that is used in the place of the configured one. A new token in the configuration is used itself.
    pub(in crate::policy) fn instead_of(&self, name: &str, first: &Secret) -> Secret {
        let kept = self.lock();
        let next = kept.tokens.get(name).filter(|(of, _)| *of == short(first)).map(|(_, next)| next);
        next.unwrap_or(first).clone()
    }

    pub(in crate::policy) fn keep(&self, name: String, first: &Secret, next: &str) {
        let mut kept = self.lock();
        let row = (short(first), Secret::new(next.as_bytes().to_vec()));
        if kept.tokens.len() >= MOST && !kept.tokens.contains_key(&name) {
            tracing::error!(most = MOST, "too many refresh tokens: the one that a server gave is not kept");
        } else if kept.tokens.get(&name) != Some(&row) {
            kept.tokens.insert(name, row);
            kept.changed = true;
        }
    }

    /// Returns all tokens, if they have changed since the last call.
    pub(in crate::policy) fn changed(&self) -> Option<Vec<RefreshRow>> {
        let mut kept = self.lock();
        let row = |(name, (of, next)): (&String, &(String, Secret))| {
            (name.clone(), of.clone(), String::from_utf8_lossy(next.expose()).into_owned())
        };
        std::mem::take(&mut kept.changed).then(|| kept.tokens.iter().map(row).collect())
    }

    pub(in crate::policy) fn restore(&self, rows: Vec<RefreshRow>) {
        let rows = rows.into_iter().map(|(name, of, next)| (name, (of, Secret::new(next.into_bytes()))));
        self.lock().tokens.extend(rows);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn short(token: &Secret) -> String {
    BASE64_STANDARD.encode(&digest(&SHA256, token.expose()).as_ref()[..16])
}
