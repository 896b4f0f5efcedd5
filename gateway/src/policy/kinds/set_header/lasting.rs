//! Texts that are in each message: a reference to one that lasts costs nothing to copy, where a counted one costs more than all
//! else that is done with it.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// All of this process's configurations. None is given back: a text is here once, however often the configuration is read.
static TEXTS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

/// The same text, for as long as the process lasts. Not for secrets.
pub(super) fn lasting(text: &str) -> &'static str {
    let mut texts = TEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = texts.get(text) {
        return known;
    }
    let new: &'static str = Box::leak(text.into());
    texts.insert(new);
    new
}
