//! A token for the gateway itself: fetched once for all requests that need it, and again before it expires (RFC 6749 §4.4).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::lock::Mutex as Turn;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Uri};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::call::{Call, Fault};
use super::template;
use super::world::World;
use crate::model::{ClientCredentials, Reason, Secret, Template};

/// Tokens, by what they were asked for.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    slots: Mutex<HashMap<String, Arc<Slot>>>,
}

/// Who asks first fetches; the others wait for its token.
pub(super) type Slot = Turn<Kept>;

#[derive(Debug, Default)]
pub(super) struct Kept {
    token: Option<Token>,
    /// With which secret the last one was asked for that did not come, and why.
    failed: Option<(Secret, String)>,
}

#[derive(Debug)]
pub(super) struct Token {
    value: HeaderValue,
    /// With which secret it was fetched.
    secret: Secret,
    /// From when on another is fetched.
    renewed: Duration,
    until: Duration,
}

/// Tokens that are kept; beyond, those that nobody is asking for are forgotten.
const KEPT: usize = 1000;

/// Most bytes of an answer with a token.
const LARGEST: usize = 64 << 10;

/// Life of a token that does not say (RFC 6749 §5.1 recommends that it does).
const UNSAID: u64 = 300;

/// Longest life that counts.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Before its end.
const EARLY: Duration = Duration::from_secs(60);

pub(super) async fn run(
    credentials: &ClientCredentials,
    call: &mut Call<'_>,
    world: &dyn World,
) -> Result<(), Box<Fault>> {
    if !call.may_be_secret {
        return Err(Fault::secret_in_clear());
    }
    let own = call.secrets_for(&credentials.endpoint);
    let asked = Asked::of(credentials, call);
    call.may_be_secret = own;
    let asked = asked?;
    let slot = world.state().tokens.slot(&asked.name(credentials));
    let (mut kept, waited) = match slot.try_lock() {
        Some(kept) => (kept, false),
        None => (slot.lock().await, true),
    };
    let now = world.at();
    let current = kept.token.as_ref().filter(|token| token.secret == asked.secret && now < token.until);
    let (is_current, is_fresh) = (current.is_some(), current.is_some_and(|token| now < token.renewed));
    if !is_fresh {
        // Of those who wait none waits for one attempt after another.
        let fetched = match &kept.failed {
            Some((secret, why)) if waited && *secret == asked.secret => Err(missing(why.clone())),
            _ => {
                kept.failed = None;
                let fetched = fetch(credentials, &asked, call.max_body, world).await;
                let own = || Secret::new(asked.secret.expose().to_vec());
                kept.failed = fetched.as_ref().err().map(|fault| (own(), fault.message.clone()));
                fetched
            }
        };
        match fetched {
            Ok(token) => {
                call.note(|| format!("a token of {}", credentials.endpoint));
                kept.token = Some(token);
            }
            // It still has some time.
            Err(fault) if is_current => {
                tracing::warn!(endpoint = %credentials.endpoint, reason = %fault.message, "no new token; the old one holds");
            }
            Err(fault) => return Err(fault),
        }
    } else {
        call.note(|| format!("the token of {} that there is", credentials.endpoint));
    }
    if let Some(token) = &kept.token {
        call.request.headers.insert(AUTHORIZATION, token.value.clone());
        call.token = Some((Arc::clone(&slot), token.value.clone()));
    }
    Ok(())
}

/// The third party does not take the token: the next request has another.
pub(super) fn forget(call: &Call<'_>) {
    if let Some((slot, refused)) = &call.token
        // Whoever has it is fetching another.
        && let Some(mut kept) = slot.try_lock()
        && kept.token.as_ref().is_some_and(|token| token.value == *refused)
    {
        kept.token = None;
    }
}

/// What a token is asked for with.
struct Asked {
    target: String,
    client: String,
    secret: Secret,
    scope: Option<String>,
    audience: Option<String>,
}

impl Asked {
    fn of(credentials: &ClientCredentials, call: &Call<'_>) -> Result<Self, Box<Fault>> {
        let text = |template: &Template| template::fill(template, call).map(|filled| filled.text.into_owned());
        Ok(Self {
            target: text(&credentials.target)?,
            client: text(&credentials.client_id)?,
            secret: Secret::new(text(&credentials.client_secret)?.into_bytes()),
            scope: credentials.scope.as_ref().map(text).transpose()?,
            audience: credentials.audience.as_ref().map(text).transpose()?,
        })
    }

    fn name(&self, credentials: &ClientCredentials) -> String {
        let Self { target, client, scope, audience, .. } = self;
        format!("{}{target}\n{client}\n{scope:?}\n{audience:?}", credentials.endpoint)
    }

    fn request(&self, in_body: bool) -> Result<Request<Bytes>, Box<Fault>> {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let secret = String::from_utf8_lossy(self.secret.expose()).into_owned();
        let mut form = "grant_type=client_credentials".to_owned();
        let optional = [("scope", &self.scope), ("audience", &self.audience)];
        for (name, value) in optional.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
            form.push_str(&format!("&{name}={}", encoded(value)));
        }
        let mut authorization = None;
        if in_body {
            form.push_str(&format!("&client_id={}&client_secret={}", encoded(&self.client), encoded(&secret)));
        } else {
            // RFC 6749 §2.3.1: both encoded first.
            let pair = format!("{}:{}", encoded(&self.client), encoded(&secret));
            authorization = Some(format!("Basic {}", BASE64_STANDARD.encode(pair)));
        }
        let failed = || Fault::new(Reason::NoToken, 500, "the token's request cannot be made");
        let mut request = Request::new(Bytes::from(form));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::try_from(&self.target).map_err(|_| failed())?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(authorization) = authorization {
            headers.insert(AUTHORIZATION, HeaderValue::try_from(authorization).map_err(|_| failed())?);
        }
        Ok(request)
    }
}

async fn fetch(
    credentials: &ClientCredentials,
    asked: &Asked,
    most: usize,
    world: &dyn World,
) -> Result<Token, Box<Fault>> {
    let (endpoint, within) = (&credentials.endpoint, credentials.timeout);
    let request = asked.request(credentials.in_body)?;
    let answer = world.fetch(endpoint, request, most.max(LARGEST), within).await;
    let failed = |why: String| missing(format!("no token of {endpoint}: {why}"));
    let answer = answer.map_err(|reason| failed(reason.to_string()))?;
    let json: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    let token = match json["access_token"].as_str() {
        Some(token) if answer.status().is_success() => token,
        // RFC 6749 §5.2; nothing else of the answer: it may repeat what it was asked with.
        _ => {
            let error = json["error"].as_str().filter(|error| error.len() < 100);
            return Err(failed(format!("{} {}", answer.status(), error.unwrap_or_default()).trim_end().to_owned()));
        }
    };
    let mut value =
        HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| failed("it is no token".to_owned()))?;
    value.set_sensitive(true);
    let says = json["expires_in"].as_u64().or_else(|| json["expires_in"].as_str()?.parse().ok());
    let life = Duration::from_secs(says.unwrap_or(UNSAID)).min(LONGEST);
    let now = world.at();
    Ok(Token {
        value,
        secret: Secret::new(asked.secret.expose().to_vec()),
        renewed: now + life - EARLY.min(life / 10),
        until: now + life,
    })
}

fn missing(why: String) -> Box<Fault> {
    Fault::new(Reason::NoToken, 502, why)
}

impl Tokens {
    fn slot(&self, name: &str) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(name) {
            return Arc::clone(slot);
        }
        if slots.len() >= KEPT {
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        Arc::clone(slots.entry(name.to_owned()).or_default())
    }
}
