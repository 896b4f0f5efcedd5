//! Values that policies keep: `cache-*-value`.

use std::sync::Arc;

use cel::Value;

use super::super::call::{Call, Fault};
use super::super::expression;
use super::Caches;
use crate::model::{CacheLookupValue, CacheRemoveValue, CacheStoreValue};

/// Reads a value into a variable.
pub(in crate::policy) fn lookup_value(
    lookup: &CacheLookupValue,
    call: &mut Call<'_>,
    caches: &Caches,
) -> Result<(), Box<Fault>> {
    let key = expression::text(&lookup.key, call)?;
    let kept = caches.values.get(&key).filter(|(_, until)| call.at < *until).map(|(value, _)| value);
    let value = match (kept, &lookup.default) {
        (Some(value), _) => value,
        (None, Some(default)) => expression::value(default, call)?,
        (None, None) => Value::Null,
    };
    call.note(|| format!("{} = {}", lookup.variable, expression::spelled(&value)));
    call.variables.push((Arc::clone(&lookup.variable), value));
    Ok(())
}

/// Keeps a value.
pub(in crate::policy) fn store_value(
    store: &CacheStoreValue,
    call: &mut Call<'_>,
    caches: &Caches,
) -> Result<(), Box<Fault>> {
    let (key, value) = (expression::text(&store.key, call)?, expression::value(&store.value, call)?);
    call.note(|| format!("{key} = {} for {:?}", expression::spelled(&value), store.duration));
    caches.values.insert(key, (value, call.at + store.duration));
    Ok(())
}

/// Forgets a value.
pub(in crate::policy) fn remove_value(
    remove: &CacheRemoveValue,
    call: &mut Call<'_>,
    caches: &Caches,
) -> Result<(), Box<Fault>> {
    let key = expression::text(&remove.key, call)?;
    caches.values.invalidate(&key);
    call.note(|| key);
    Ok(())
}
