//! The subscription under which a request comes: by its workload, by a key, or by both.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::HeaderName;

use super::call::Call;
use super::fault::Fault;
use super::state::State;
use super::template;
use crate::model::{Reason, Rules, SUBSCRIPTION_KEY, Subscription, is_one_of};

/// How often subscriptions were used.
#[derive(Debug, Default)]
pub(in crate::policy) struct Subscriptions {
    used: Mutex<BTreeMap<Arc<str>, Used>>,
}

/// How often a subscription was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// The number of requests.
    pub requests: u64,
    /// When the newest request came, on the clock of [`super::call::Context::at`].
    pub last: Duration,
}

impl Subscriptions {
    pub(in crate::policy) fn used(&self, name: &str) -> Option<Used> {
        self.lock().get(name).copied()
    }

    fn count(&self, name: &Arc<str>, at: Duration) {
        let mut all = self.lock();
        let used = all.entry(Arc::clone(name)).or_default();
        (used.requests, used.last) = (used.requests + 1, at);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Used>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the index of the product that the caller has subscribed to, if any.
///
/// # Errors
/// The API is for subscribers only, and the caller is none.
pub(in crate::policy) fn find<'a>(
    call: &mut Call<'a>,
    rules: &'a Rules,
    state: &State,
) -> Result<Option<usize>, Box<Fault>> {
    if rules.products.is_empty() {
        return Ok(None);
    }
    const KEY: HeaderName = HeaderName::from_static(SUBSCRIPTION_KEY);
    let said = call.message.request.headers.remove(KEY);
    for (index, product) in rules.products.iter().enumerate() {
        for subscription in &product.subscriptions {
            if is_like(subscription, said.as_ref().map(|said| said.as_bytes()), call) {
                state.of::<Subscriptions>().count(&subscription.name, call.context.at);
                (call.context.product, call.context.subscription) = (&product.name, &subscription.name);
                return Ok(Some(index));
            }
        }
    }
    if !rules.products.iter().any(|product| product.subscription_required) {
        return Ok(None);
    }
    let what = if said.is_some() { "its key is none of theirs" } else { "it has none" };
    let names: Vec<_> = rules.products.iter().map(|product| &*product.name).collect();
    let message = format!(
        "{} needs a subscription to {} for {}: {what}",
        call.context.workload.identity.name,
        names.join(" or "),
        call.context.api.name
    );
    Err(Fault::new(Reason::SubscriptionRequired, 401, message))
}

fn is_like(subscription: &Subscription, said: Option<&[u8]>, call: &mut Call<'_>) -> bool {
    let workload = subscription.workloads.is_empty() || is_one_of(&subscription.workloads, call.context.workload);
    let key = subscription.key.as_ref().is_none_or(|key| {
        // It is compared, not sent.
        let before = std::mem::replace(&mut call.message.secrecy.allowed, true);
        let key = template::fill(key, call);
        call.message.secrecy.allowed = before;
        matches!((key, said), (Ok(key), Some(said)) if verify_slices_are_equal(key.text.as_bytes(), said).is_ok())
    });
    workload && key
}
