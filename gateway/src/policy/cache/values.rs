//! Values that policies keep: `cache-*-value`. They belong to an API and an owner, unless they are shared by a name.

use std::sync::Arc;

use cel::Value;

use super::super::call::{Call, Fault};
use super::super::expression;
use super::Caches;
use super::kept::KeptValue;
use crate::model::{CacheLookupValue, CacheRemoveValue, CacheStoreValue, Reason};

/// Reads a value into a variable.
pub(in crate::policy) fn lookup_value(
    lookup: &CacheLookupValue,
    call: &mut Call<'_>,
    caches: &Caches,
) -> Result<(), Box<Fault>> {
    let key = expression::text(&lookup.key, call)?;
    let kept = caches.values.get(&name(&key, lookup.shared.as_deref(), call)).filter(|kept| call.at < kept.until);
    let value = match (kept, &lookup.default) {
        (Some(kept), _) if kept.secret && !lookup.secret => {
            let message = format!("what is kept under {key} is a secret: add `secret: true` to cache-lookup-value");
            return Err(Fault::new(Reason::Expression, 500, message));
        }
        (Some(kept), _) => kept.value,
        (None, Some(default)) => expression::value(default, call)?,
        (None, None) => Value::Null,
    };
    call.set_variable(&lookup.variable, value, lookup.secret);
    Ok(())
}

/// Keeps a value.
pub(in crate::policy) fn store_value(
    store: &CacheStoreValue,
    call: &mut Call<'_>,
    caches: &Caches,
) -> Result<(), Box<Fault>> {
    let (key, value) = (expression::text(&store.key, call)?, expression::value(&store.value, call)?);
    let secret = store.value.is_secret;
    call.note(|| format!("{key} = {} for {:?}", expression::shown(&value, secret), store.duration));
    let name = name(&key, store.shared.as_deref(), call);
    let api = store.shared.is_none().then(|| Arc::clone(&call.api.name));
    caches.values.insert(name, KeptValue { api, key, value, secret, until: call.at + store.duration });
    Ok(())
}

/// Forgets a value.
pub(in crate::policy) fn remove_value(
    remove: &CacheRemoveValue,
    call: &mut Call<'_>,
    caches: &Caches,
) -> Result<(), Box<Fault>> {
    let key = expression::text(&remove.key, call)?;
    caches.values.invalidate(&name(&key, remove.shared.as_deref(), call));
    call.note(|| key);
    Ok(())
}

/// Returns what a value is kept under. Each part is quoted, so that no key reads as another owner's.
fn name(key: &str, shared: Option<&str>, call: &Call<'_>) -> String {
    match shared {
        Some(shared) => format!("shared {shared:?} {key:?}"),
        None => format!("{:?} {:?} {key:?}", call.api.name, call.workload.identity.owner),
    }
}
