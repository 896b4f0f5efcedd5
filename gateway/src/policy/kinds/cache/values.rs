//! `cache-lookup-value`, `cache-store-value` and `cache-remove-value`: values that belong to an API and an owner, unless they are shared
//! under a name.

use std::sync::Arc;

use cel::Value;

use super::compiled::{CacheLookupValue, CacheRemoveValue, CacheStoreValue};
use super::stored::{Caches, StoredValue};
use crate::model::Reason;
use crate::policy::engine::{
    Call, Fault, Kind, Now, Outcome, Reads, Responds, Sections, Site, Traits, WhenReported, World, expression,
};

impl Kind for CacheLookupValue {
    const NAME: &'static str = "cache-lookup-value";
    const SECTIONS: Sections = Sections::ALL;

    fn traits(&self) -> Traits<'_> {
        Traits {
            expressions: std::iter::once(&self.key).chain(&self.default).collect(),
            conditions: Vec::new(),
            endpoints: Vec::new(),
            backend: None,
            reads: Reads::Nothing,
            reads_sent_request: false,
            waits_for_response: false,
            needs_every_request: false,
            changes: Vec::new(),
            puts_secret: false,
            signs: None,
            responds: Responds::Never,
            counts_by: Vec::new(),
            described: None,
            names_files: false,
            when_reported: WhenReported::Evaluated,
        }
    }
}

impl Now for CacheLookupValue {
    fn run(&self, _: Site<'_>, call: &mut Call<'_>, world: &dyn World) -> Result<Outcome, Box<Fault>> {
        lookup_value(self, call, world.state().of()).map(|()| Outcome::Continue)
    }
}

impl Kind for CacheRemoveValue {
    const NAME: &'static str = "cache-remove-value";
    const SECTIONS: Sections = Sections::ALL;

    fn traits(&self) -> Traits<'_> {
        Traits {
            expressions: vec![&self.key],
            conditions: Vec::new(),
            endpoints: Vec::new(),
            backend: None,
            reads: Reads::Nothing,
            reads_sent_request: false,
            waits_for_response: false,
            needs_every_request: false,
            changes: Vec::new(),
            puts_secret: false,
            signs: None,
            responds: Responds::Never,
            counts_by: Vec::new(),
            described: None,
            names_files: false,
            when_reported: WhenReported::Withheld,
        }
    }
}

impl Now for CacheRemoveValue {
    fn run(&self, _: Site<'_>, call: &mut Call<'_>, world: &dyn World) -> Result<Outcome, Box<Fault>> {
        remove_value(self, call, world.state().of()).map(|()| Outcome::Continue)
    }
}

impl Kind for CacheStoreValue {
    const NAME: &'static str = "cache-store-value";
    const SECTIONS: Sections = Sections::ALL;

    fn traits(&self) -> Traits<'_> {
        Traits {
            expressions: vec![&self.key, &self.value],
            conditions: Vec::new(),
            endpoints: Vec::new(),
            backend: None,
            reads: Reads::Nothing,
            reads_sent_request: false,
            waits_for_response: false,
            needs_every_request: false,
            changes: Vec::new(),
            puts_secret: false,
            signs: None,
            responds: Responds::Never,
            counts_by: Vec::new(),
            described: None,
            names_files: false,
            when_reported: WhenReported::Withheld,
        }
    }
}

impl Now for CacheStoreValue {
    fn run(&self, _: Site<'_>, call: &mut Call<'_>, world: &dyn World) -> Result<Outcome, Box<Fault>> {
        store_value(self, call, world.state().of()).map(|()| Outcome::Continue)
    }
}

/// Reads a value into a variable.
fn lookup_value(lookup: &CacheLookupValue, call: &mut Call<'_>, caches: &Caches) -> Result<(), Box<Fault>> {
    let key = expression::text(&lookup.key, call)?;
    let kept =
        caches.values.get(&name(&key, lookup.shared.as_deref(), call)).filter(|kept| call.context.at < kept.until);
    let value = match (kept, &lookup.default) {
        (Some(kept), _) if kept.secret && !lookup.secret => {
            let message = format!("what is kept under {key} is a secret: add `secret: true` to cache-lookup-value");
            return Err(Fault::new(Reason::Expression, 500, message));
        }
        (Some(kept), _) => kept.value,
        (None, Some(default)) => expression::value(default, call)?,
        (None, None) => Value::Null,
    };
    expression::assign(&lookup.variable, value, lookup.secret, call);
    Ok(())
}

/// Keeps a value.
fn store_value(store: &CacheStoreValue, call: &mut Call<'_>, caches: &Caches) -> Result<(), Box<Fault>> {
    let (key, value) = (expression::text(&store.key, call)?, expression::value(&store.value, call)?);
    let secret = store.value.is_secret;
    call.note(|| format!("{key} = {} for {:?}", expression::shown(&value, secret), store.duration));
    let name = name(&key, store.shared.as_deref(), call);
    let api = store.shared.is_none().then(|| Arc::clone(&call.context.api.name));
    caches.values.insert(name, StoredValue { api, key, value, secret, until: call.context.at + store.duration });
    Ok(())
}

/// Forgets a value.
fn remove_value(remove: &CacheRemoveValue, call: &mut Call<'_>, caches: &Caches) -> Result<(), Box<Fault>> {
    let key = expression::text(&remove.key, call)?;
    caches.values.invalidate(&name(&key, remove.shared.as_deref(), call));
    call.note(|| key);
    Ok(())
}

/// Returns what a value is kept under. Each part is quoted, so that no key reads as another owner's.
fn name(key: &str, shared: Option<&str>, call: &Call<'_>) -> String {
    match shared {
        Some(shared) => format!("shared {shared:?} {key:?}"),
        None => format!("{:?} {:?} {key:?}", call.context.api.name, call.context.workload.identity.owner),
    }
}
