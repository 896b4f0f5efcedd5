//! `llm-token-limit`: tokens of language models.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::ACCEPT_ENCODING;
use http::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::quota::written::periods;
use super::quota::{self, Counter, Quotas};
use crate::model::{CountedPart, Expression, LimitId, OfPlace, Periods, Reason};
use crate::policy::engine::keyed::{Keyed, Lapse, Name, short};
use crate::policy::engine::window::Window;
use crate::policy::engine::{
    Call, Fault, Kind, Now, Outcome, Reads, Responds, Sections, Site, Traits, WhenReported, World, expression, meter,
};
use crate::syntax::{Form, Reader, Text};

/// Refuses requests of callers that have used up their tokens of a language model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LlmTokenLimit {
    /// What its counts are stored under, across reloads and restarts.
    pub identity: OfPlace<LimitId>,
    /// Requests with different values are counted apart; workloads are, if absent.
    pub key: Option<Expression>,
    /// The most tokens in any minute.
    pub tokens_per_minute: Option<u64>,
    /// The most tokens in a long period; for ever, where it has no period.
    pub quota: Option<(u64, Option<Periods>)>,
    /// Whether a request is refused whose prompt alone is likely too long.
    pub estimate_prompt: bool,
    /// The field of the response that says how many tokens were left.
    pub remaining_header: Option<Arc<str>>,
}

/// Refuses requests of callers that have used up their tokens. The tokens of a request are known when its response has ended,
/// from its `usage`. For a stream without `usage`, each event counts as one token, and each four bytes of the request.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct LlmTokenLimitFile {
    /// The number of tokens in any minute; beyond it, requests are refused (429). Default: none. Example: `10000`.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub tokens_per_minute: Option<u64>,
    /// The number of tokens in a period; beyond it, requests are refused (403). Counts outlive a restart. Default: none.
    /// Example: `1000000`.
    #[serde(default)]
    #[schemars(with = "Option<u64>", range(min = 1))]
    pub token_quota: Option<Spanned<u64>>,
    /// `month`, or a duration of at least 1m. Periods follow one another from the start of 1970 (UTC). Default: none, the
    /// quota never renews. Example: `1d`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub period: Option<Text>,
    /// An expression. Requests with different values are counted apart. Default: each workload. Example: `subscription.name`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub key: Option<Text>,
    /// Whether Egret also refuses a request whose prompt alone, by its length, has more tokens than are left of the minute. It
    /// then reads the whole request. Default: false.
    #[serde(default)]
    pub estimate_prompt: bool,
    /// A response header that receives the number of tokens left before the request. Default: none. Example:
    /// `X-Tokens-Remaining`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub remaining_header: Option<Text>,
}

impl Form for LlmTokenLimit {
    type File = LlmTokenLimitFile;
    type Compiled = Self;
    const ABOUT: &'static str = "Refuses requests of callers that have used up their tokens of a language model. Only in inbound.\n\
        Example: `{tokens_per_minute: 10000}`.";

    fn compile(written: &Spanned<LlmTokenLimitFile>, reader: &mut dyn Reader) -> Option<Self> {
        let file = &written.value;
        if file.tokens_per_minute.is_none() && file.token_quota.is_none() {
            let help = "add tokens_per_minute: 10000, token_quota: 1000000, or both";
            reader.wrong(written, "this limit has neither `tokens_per_minute` nor `token_quota`", help);
        }
        if let (Some(period), None) = (&file.period, &file.token_quota) {
            let help = "add `token_quota`, or remove `period`";
            reader.wrong(period, "`period` has no effect without `token_quota`", help);
        }
        let key = file.key.as_ref().and_then(|key| reader.key(key));
        let period = periods(file.period.as_ref(), None, reader);
        Some(Self {
            identity: reader.identity(Self::NAME, key.as_ref()),
            key,
            tokens_per_minute: file.tokens_per_minute,
            quota: file.token_quota.as_ref().map(|most| (most.value, period)),
            estimate_prompt: file.estimate_prompt,
            remaining_header: file.remaining_header.as_ref().and_then(|name| reader.header(name)),
        })
    }
}

impl Kind for LlmTokenLimit {
    const NAME: &'static str = "llm-token-limit";
    const SECTIONS: Sections = Sections::INBOUND;

    fn traits(&self) -> Traits<'_> {
        Traits {
            expressions: self.key.iter().collect(),
            conditions: Vec::new(),
            endpoints: Vec::new(),
            backend: None,
            reads: if self.estimate_prompt { Reads::RequestText } else { Reads::Nothing },
            reads_sent_request: self.estimate_prompt,
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

impl Now for LlmTokenLimit {
    fn run(&self, _: Site<'_>, call: &mut Call<'_>, world: &dyn World) -> Result<Outcome, Box<Fault>> {
        run(self, call, world.state().of(), world.state().of()).map(|()| Outcome::Continue)
    }
}

/// The tokens of the last minute, by limit and key.
#[derive(Clone, Debug, Default)]
pub(in crate::policy) struct Spent(Arc<Mutex<Keyed<Window>>>);

const MINUTE: Duration = Duration::from_secs(60);

impl Lapse for Window {
    fn is_over(&mut self, now: Duration) -> bool {
        Self::is_over(self, now, MINUTE)
    }
}

impl Spent {
    /// Returns a copy that counts on its own.
    pub(in crate::policy) fn copied(&self) -> Self {
        Self(Arc::new(Mutex::new(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone())))
    }

    /// Returns how many tokens are left, or how long to wait until some are.
    fn left(&self, most: u64, name: &Name, now: Duration) -> Result<u64, Duration> {
        let mut all = self.lock();
        let Some((_, window)) = all.find(name) else { return Ok(most) };
        window.forget(now, MINUTE);
        let spent = window.sum();
        let left = u128::from(most).saturating_sub(spent);
        if left > 0 {
            return Ok(u64::try_from(left).unwrap_or(u64::MAX));
        }
        Err(window.frees(spent - u128::from(most) + 1, now, MINUTE).unwrap_or(MINUTE))
    }

    fn add(&self, name: &Name, tokens: u64, now: Duration) {
        if tokens > 0 {
            let mut all = self.lock();
            let window = all.entry(name, now, Window::default);
            window.forget(now, MINUTE);
            window.add(now, tokens, MINUTE);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Keyed<Window>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Refuses a request whose key has used up its tokens. Otherwise counts its tokens when the response has ended.
fn run(limit: &LlmTokenLimit, call: &mut Call<'_>, spent: &Spent, quotas: &Quotas) -> Result<(), Box<Fault>> {
    let key = match &limit.key {
        Some(key) => short(expression::text(key, call)?),
        None => call.context.workload.identity.owner.to_string(),
    };
    let guessed = match (&call.message.request_body, limit.estimate_prompt) {
        (Some(body), true) => meter::guess(body.len() as u64),
        _ => 0,
    };
    let mut left = u64::MAX;
    let owner = Arc::clone(&call.context.workload.identity.owner);
    let name = Name { limit: limit.identity.0.clone(), key: key.clone(), owner: Arc::clone(&owner) };
    if let Some(most) = limit.tokens_per_minute {
        let now = spent.left(most, &name, call.context.at).map_err(|wait| refused(most).after(wait))?;
        if guessed > now {
            return Err(refused(most).after(MINUTE));
        }
        left = now;
    }
    let tokens = Name { limit: limit.identity.0.part(CountedPart::Tokens), key: key.clone(), owner };
    let counter = limit.quota.map(|(most, period)| (most, Counter::new(tokens, most, period, call.context.time)));
    if let Some((most, counter)) = &counter {
        left = left.min(quotas.take(counter, 0).map_err(|wait| quota::used_up(*most, "tokens", wait))?);
    }
    call.note(|| format!("{key}: {left} tokens left"));
    if let Some(name) = limit.remaining_header.as_deref().and_then(|name| HeaderName::from_bytes(name.as_bytes()).ok())
    {
        call.message.response_fields.push((name, HeaderValue::from(left.saturating_sub(guessed))));
    }
    watch(call);
    let (spent, quotas) = (spent.clone(), quotas.clone());
    call.effects.meters.add(move |passed| {
        let tokens = passed.usage.total();
        spent.add(&name, tokens, passed.at);
        if let Some((_, counter)) = &counter {
            quotas.add(counter, tokens);
        }
        Vec::new()
    });
    Ok(())
}

/// Counts the tokens of the response. It must not be compressed: then it could not be read as it passes.
pub(in crate::policy) fn watch(call: &mut Call<'_>) {
    call.message.request.headers.remove(ACCEPT_ENCODING);
    call.effects.meters.reads_tokens();
}

fn refused(most: u64) -> Box<Fault> {
    Fault::new(Reason::RateLimitExceeded, 429, format!("more than {most} tokens in a minute"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::LimitId;

    #[test]
    fn tokens_come_back_after_their_minute() {
        let (spent, at) = (Spent::default(), Duration::from_secs);
        let name = |key: &str| Name { limit: LimitId::saved("limit"), key: key.to_owned(), owner: "owner".into() };
        assert_eq!(spent.left(100, &name("a"), at(0)), Ok(100));
        spent.add(&name("a"), 30, at(0));
        spent.add(&name("a"), 90, at(10));
        assert_eq!(spent.left(100, &name("a"), at(20)), Err(at(40)));
        assert_eq!(spent.left(100, &name("b"), at(20)), Ok(100));
        assert_eq!(spent.left(100, &name("a"), at(60)), Ok(10));
        assert_eq!(spent.left(100, &name("a"), at(70)), Ok(100));
        // Whatever a third party says.
        spent.add(&name("a"), u64::MAX, at(80));
        spent.add(&name("a"), u64::MAX, at(81));
        assert_eq!(spent.left(100, &name("a"), at(90)), Err(at(51)));
    }
}
