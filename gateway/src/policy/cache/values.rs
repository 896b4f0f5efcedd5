//! Values that policies keep: `cache-*-value`.

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
    let kept = caches.values.get(&key).filter(|kept| call.at < kept.until);
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
    caches.values.insert(key, KeptValue { value, secret, until: call.at + store.duration });
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
