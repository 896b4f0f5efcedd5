//! Destinations that are captured for the callers of some owners only. The hook looks here where the table says so: a miss in the
//! table never does.

use egret_kernel::{CaptureKey, RowKey};

use crate::caller::{DEEPEST, ancestor, cgroup};
use crate::connect::Row;
use crate::maps::SCOPED;

/// Returns the rule of the caller's owner: of its own cgroup, or of one that it is in.
#[inline(always)]
pub fn row(destination: CaptureKey) -> Option<Row> {
    let mut key = RowKey { scope: cgroup(), destination, pad: 0 };
    for level in 1..=DEEPEST {
        if let Some(row) = at(&key) {
            return Some(row);
        }
        // The root is never taken for an owner of what is below it.
        key.scope = ancestor(level);
        if key.scope == 0 {
            return None;
        }
    }
    at(&key)
}

#[inline(always)]
fn at(key: &RowKey) -> Option<Row> {
    // SAFETY: rules are replaced whole; a value read while it is replaced is the old or the new one.
    unsafe { SCOPED.get(key) }.map(|rule| Row { rule, scope: key.scope })
}
