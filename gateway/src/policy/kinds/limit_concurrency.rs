use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::model::{Expression, LimitId, OfPlace, Reason, number};
use crate::policy::engine::keyed::short;
use crate::policy::engine::uses::LimitUse;
use crate::policy::engine::{
    Call, Fault, Held, Kind, Now, Outcome, Place, Reads, Responds, Sections, Site, Traits, WhenReported, World,
    expression,
};
use crate::syntax::{Form, Reader, Text};

/// Refuses requests beyond a number of concurrent ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitConcurrency {
    /// What its counts are stored under, across reloads.
    pub identity: OfPlace<LimitId>,
    /// The most concurrent requests.
    pub max: u32,
    /// Requests with different values are counted apart; all are counted together, if absent.
    pub key: Option<Expression>,
}

/// Refuses requests beyond a number of concurrent ones.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct LimitConcurrencyFile {
    /// The number of concurrent requests. Example: `10`.
    #[schemars(with = "u32", range(min = 1))]
    pub max: Spanned<u32>,
    /// An expression: requests with different values are counted apart. Default: all requests together. Example:
    /// `workload.owner`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub key: Option<Text>,
}

impl Form for LimitConcurrency {
    type File = LimitConcurrencyFile;
    type Compiled = Self;
    const ABOUT: &'static str = "Refuses requests beyond a number of concurrent ones (429). A request counts until its response has ended. Only in\n\
        inbound.";

    fn compile(written: &Spanned<LimitConcurrencyFile>, reader: &mut dyn Reader) -> Option<Self> {
        let key = written.value.key.as_ref().and_then(|key| reader.key(key));
        let identity = reader.identity(Self::NAME, key.as_ref());
        Some(Self { identity, max: written.value.max.value, key })
    }
}

impl Kind for LimitConcurrency {
    const NAME: &'static str = "limit-concurrency";
    const SECTIONS: Sections = Sections::INBOUND;

    fn traits(&self) -> Traits<'_> {
        Traits {
            expressions: self.key.iter().collect(),
            conditions: Vec::new(),
            endpoints: Vec::new(),
            backend: None,
            reads: Reads::Nothing,
            reads_sent_request: false,
            waits_for_response: false,
            needs_every_request: true,
            changes: Vec::new(),
            puts_secret: false,
            signs: None,
            responds: Responds::Never,
            counts_by: self.key.iter().collect(),
            described: None,
            names_files: false,
            when_reported: WhenReported::Evaluated,
        }
    }
}

impl Now for LimitConcurrency {
    fn run(&self, _: Site<'_>, call: &mut Call<'_>, world: &dyn World) -> Result<Outcome, Box<Fault>> {
        run(self, call, world.state().of()).map(|()| Outcome::Continue)
    }
}

type Counts = Arc<Mutex<HashMap<(LimitId, String), Count>>>;

#[derive(Debug, Default)]
struct Count {
    now: u32,
    max: u32,
}

/// The concurrent requests, by limit and key.
#[derive(Debug, Default)]
pub(in crate::policy) struct Concurrency(Counts);

/// A place among the concurrent requests, until it is dropped.
#[derive(Debug)]
struct Taken {
    counts: Counts,
    key: (LimitId, String),
}

impl Place for Taken {}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = counts.entry((self.key.0.clone(), std::mem::take(&mut self.key.1))) {
            entry.get_mut().now -= 1;
            if entry.get().now == 0 {
                entry.remove();
            }
        }
    }
}

impl Concurrency {
    /// Returns the numbers of concurrent requests, by limit and key.
    pub(in crate::policy) fn uses(&self) -> Vec<LimitUse> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let one = |((identity, key), count): (&(LimitId, String), &Count)| LimitUse {
            limit: Some(count.max.into()),
            ..LimitUse::new("limit-concurrency", identity, key, count.now.into())
        };
        counts.iter().map(one).collect()
    }
}

/// Takes a place until the response has ended, or refuses the request.
fn run(limit: &LimitConcurrency, call: &mut Call<'_>, concurrency: &Concurrency) -> Result<(), Box<Fault>> {
    let key = limit.key.as_ref().map(|key| expression::text(key, call).map(short)).transpose()?.unwrap_or_default();
    let key = (limit.identity.0.clone(), key);
    let mut counts = concurrency.0.lock().unwrap_or_else(PoisonError::into_inner);
    let count = counts.entry(key.clone()).or_default();
    count.max = limit.max;
    if count.now >= limit.max {
        let message = format!("{} in progress already", number(limit.max as usize, "request"));
        return Err(Fault::new(Reason::ConcurrencyExceeded, 429, message));
    }
    count.now += 1;
    let now = count.now;
    drop(counts);
    call.note(|| format!("{now} of {}", limit.max));
    call.effects.held.push(Held::new(Taken { counts: Arc::clone(&concurrency.0), key }));
    Ok(())
}
