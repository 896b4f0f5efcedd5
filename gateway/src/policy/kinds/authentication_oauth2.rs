//! `authentication-oauth2`: a token for the gateway itself, which is fetched once for all requests and again before it expires (RFC 6749).

mod assertion;
pub(in crate::policy) mod rotated;
mod slots;
mod written;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use assertion::Says;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Uri};
use jsonwebtoken::Algorithm;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
pub use rotated::RefreshRow;
use rotated::Rotated;
use serde_json::Value;
use slots::{Slot, Slots, Token};

use crate::model::{Endpoint, Pending, Reason, Secret, Template};
use crate::policy::engine::{
    Call, Change, Fault, Kind, Outcome, Reads, Responds, Sections, Site, Timed, Traits, WhenReported, World,
    expressions, template,
};

/// The token that the request was sent with, and where it is stored.
#[derive(Clone, Debug)]
struct Used {
    slot: Arc<Slot>,
    token: HeaderValue,
}

/// Sets `Authorization: Bearer` on the request, with a token that Egret fetches for itself (RFC 6749).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oauth2 {
    /// The authorization server.
    pub endpoint: Arc<Endpoint>,
    /// The path and query of its token endpoint.
    pub target: Template,
    /// The client that Egret is there.
    pub client_id: Template,
    /// How the client proves who it is.
    pub proof: Proof,
    /// The grant by which it asks for a token.
    pub grant: Grant,
    /// The scope of the token.
    pub scope: Option<Template>,
    /// The audience of the token: a parameter of many servers that is not in the standard.
    pub audience: Option<Template>,
    /// Whether client and secret are in the body (RFC 6749 §2.3.1), not in `Authorization: Basic`.
    pub in_body: bool,
    /// The longest wait for a token.
    pub timeout: Duration,
}

impl Oauth2 {
    fn templates(&self) -> impl Iterator<Item = &Template> {
        let proof = match &self.proof {
            Proof::None => [None, None],
            Proof::Secret(secret) => [Some(secret), None],
            Proof::Key(key) => [Some(&key.pem), key.id.as_ref()],
        };
        let grant = match &self.grant {
            Grant::ClientCredentials => None,
            Grant::RefreshToken(token) => Some(token),
            Grant::JwtBearer(subject) => subject.as_ref(),
        };
        let optional = self.scope.iter().chain(&self.audience).chain(proof.into_iter().flatten()).chain(grant);
        [&self.target, &self.client_id].into_iter().chain(optional)
    }
}

/// How a client proves who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It proves nothing.
    None,
    /// By a secret that the server knows, too.
    Secret(Template),
    /// By a signed statement (RFC 7523 §2.2). The key is never sent.
    Key(AssertionKey),
}

/// The key that signs statements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssertionKey {
    /// The private key, in PEM.
    pub pem: Template,
    /// The id by which the server knows the public key.
    pub id: Option<Template>,
    /// The algorithm of the signature.
    pub algorithm: Algorithm,
}

/// The grant by which a client asks for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// The client's own credentials (RFC 6749 §4.4).
    ClientCredentials,
    /// The refresh token of a user who has consented once (RFC 6749 §6).
    RefreshToken(Template),
    /// A signed statement (RFC 7523 §2.1) about this subject; about the client itself, where it is absent.
    JwtBearer(Option<Template>),
}

impl Kind for Oauth2 {
    const NAME: &'static str = "authentication-oauth2";
    const SECTIONS: Sections = Sections::REQUEST;

    fn traits(&self) -> Traits<'_> {
        Traits {
            expressions: expressions(self.templates()),
            conditions: Vec::new(),
            endpoints: vec![&self.endpoint],
            backend: None,
            reads: Reads::Nothing,
            reads_sent_request: false,
            waits_for_response: false,
            needs_every_request: false,
            changes: vec![Change::Header("authorization")],
            puts_secret: true,
            signs: None,
            responds: Responds::Never,
            counts_by: Vec::new(),
            described: None,
            names_files: true,
            when_reported: WhenReported::Withheld,
        }
    }
}

impl Timed for Oauth2 {
    fn run<'a>(
        &'a self,
        _: Site<'a>,
        call: &'a mut Call<'_>,
        world: &'a mut dyn World,
    ) -> Pending<'a, Result<Outcome, Box<Fault>>> {
        Box::pin(async move { run(self, call, world).await.map(|()| Outcome::Continue) })
    }
}

/// The longest response with a token, in bytes.
const LARGEST: usize = 64 << 10;

/// The lifetime of a token where the server names none, in seconds (RFC 6749 §5.1 recommends that it does).
const UNSAID: u64 = 300;

/// The longest lifetime of a token that counts.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);

/// The least time between two tokens that are dropped because the third party refused them.
const REFUSED: Duration = Duration::from_secs(30);

/// How long before the end of a token another one is fetched.
const EARLY: Duration = Duration::from_secs(60);

async fn run(credentials: &Oauth2, call: &mut Call<'_>, world: &dyn World) -> Result<(), Box<Fault>> {
    if !call.message.secrecy.allowed {
        return Err(Fault::secret_in_clear());
    }
    let own = call.secrets_for(&credentials.endpoint);
    let asked = Asked::of(credentials, call);
    call.message.secrecy.allowed = own;
    let asked = asked?;
    let slot =
        world.state().of::<Slots>().of(&asked.name(credentials), &call.context.workload.identity.owner, world.at());
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
                let fetched = fetch(credentials, &asked, call.context.max_body, world).await;
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
        call.message.request.headers.insert(AUTHORIZATION, token.value.clone());
        call.message.slots.set(Used { slot: Arc::clone(&slot), token: token.value.clone() });
    }
    Ok(())
}

/// Drops the token that the third party has refused (401), so that the next request fetches another. All callers share the
/// token, and each of them can provoke a 401: only the token in use is dropped, and once in [`REFUSED`] at most.
pub(in crate::policy) fn refused(call: &Call<'_>, now: Duration) {
    if let Some(Used { slot, token: refused }) = call.message.slots.get()
        // Whoever has it is fetching another.
        && let Some(mut kept) = slot.try_lock()
        && kept.token.as_ref().is_some_and(|token| token.value == *refused)
        && kept.dropped.is_none_or(|dropped| now.saturating_sub(dropped) >= REFUSED)
    {
        kept.token = None;
        kept.dropped = Some(now);
    }
}

/// A request for a token.
struct Asked {
    /// The URL of the token endpoint without its query, and the path and query as they are sent.
    url: String,
    target: String,
    client: String,
    /// The client's secret, or its key.
    proof: Secret,
    /// The refresh token of the configuration.
    refresh: Option<Secret>,
    /// Both together: a token is as good as the secrets that it was fetched with.
    secret: Secret,
    scope: Option<String>,
    audience: Option<String>,
    /// The key's name.
    key_id: Option<String>,
    /// The subject of the token.
    subject: Option<String>,
    now: SystemTime,
}

impl Asked {
    fn of(credentials: &Oauth2, call: &mut Call<'_>) -> Result<Self, Box<Fault>> {
        let proof = match &credentials.proof {
            Proof::None => Vec::new(),
            Proof::Secret(secret) => template::fill(secret, call)?.text.into_owned().into_bytes(),
            Proof::Key(key) => template::bytes(&key.pem, call)?,
        };
        let text = |template: &Template| template::fill(template, call).map(|filled| filled.text.into_owned());
        let optional = |template: Option<&Template>| template.map(text).transpose();
        let (subject, refresh) = match &credentials.grant {
            Grant::ClientCredentials => (None, None),
            Grant::RefreshToken(token) => (None, Some(text(token)?)),
            Grant::JwtBearer(subject) => (optional(subject.as_ref())?, None),
        };
        let key_id = match &credentials.proof {
            Proof::Key(key) => optional(key.id.as_ref())?,
            Proof::None | Proof::Secret(_) => None,
        };
        let secret = [&*proof, refresh.as_deref().unwrap_or_default().as_bytes()].concat();
        let target = text(&credentials.target)?;
        Ok(Self {
            url: format!("{}{}", credentials.endpoint, target.split('?').next().unwrap_or_default()),
            target,
            client: text(&credentials.client_id)?,
            proof: Secret::new(proof),
            refresh: refresh.map(|token| Secret::new(token.into_bytes())),
            secret: Secret::new(secret),
            scope: optional(credentials.scope.as_ref())?,
            audience: optional(credentials.audience.as_ref())?,
            key_id,
            subject,
            now: call.context.time,
        })
    }

    /// Returns the name under which the token is stored.
    fn name(&self, credentials: &Oauth2) -> String {
        let Self { target, client, scope, audience, subject, .. } = self;
        let grant = match credentials.grant {
            Grant::ClientCredentials => "client",
            Grant::RefreshToken(_) => "user",
            Grant::JwtBearer(_) => "statement",
        };
        format!("{}{target}\n{client}\n{grant} {scope:?}\n{audience:?}\n{subject:?}", credentials.endpoint)
    }

    fn request(&self, credentials: &Oauth2, refresh: Option<&Secret>) -> Result<Request<Bytes>, Box<Fault>> {
        let failed = || Fault::new(Reason::NoToken, 500, "the token's request cannot be made");
        let text = |secret: &Secret| String::from_utf8_lossy(secret.expose()).into_owned();
        let mut form: Vec<(&str, String)> = Vec::new();
        let (mut authorization, mut in_statement) = (None, false);
        match (&credentials.grant, &credentials.proof) {
            (Grant::ClientCredentials, _) => form.push(("grant_type", "client_credentials".to_owned())),
            (Grant::RefreshToken(_), _) => {
                form.push(("grant_type", "refresh_token".to_owned()));
                form.extend(refresh.map(|token| ("refresh_token", text(token))));
            }
            (Grant::JwtBearer(_), Proof::Key(key)) => {
                let says = Says {
                    issuer: &self.client,
                    subject: self.subject.as_deref().unwrap_or(&self.client),
                    audience: self.audience.as_deref().unwrap_or(&self.url),
                    scope: self.scope.as_deref(),
                };
                let key = (self.proof.expose(), key.algorithm, self.key_id.as_deref());
                form.push(("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer".to_owned()));
                form.push(("assertion", assertion::signed(&says, key, self.now).ok_or_else(failed)?));
                in_statement = true;
            }
            // The statement is the proof.
            (Grant::JwtBearer(_), Proof::None | Proof::Secret(_)) => return Err(failed()),
        }
        if !in_statement {
            form.extend(self.scope.clone().map(|scope| ("scope", scope)));
            form.extend(self.audience.clone().map(|audience| ("audience", audience)));
        }
        match &credentials.proof {
            _ if in_statement => {}
            Proof::None => form.push(("client_id", self.client.clone())),
            Proof::Secret(_) if credentials.in_body => {
                form.extend([("client_id", self.client.clone()), ("client_secret", text(&self.proof))]);
            }
            Proof::Secret(_) => {
                // RFC 6749 §2.3.1: both encoded first.
                let pair = format!("{}:{}", encoded(&self.client), encoded(&text(&self.proof)));
                authorization = Some(format!("Basic {}", BASE64_STANDARD.encode(pair)));
            }
            Proof::Key(key) => {
                let (client, url) = (self.client.as_str(), self.url.as_str());
                let says = Says { issuer: client, subject: client, audience: url, scope: None };
                let key = (self.proof.expose(), key.algorithm, self.key_id.as_deref());
                let statement = assertion::signed(&says, key, self.now).ok_or_else(failed)?;
                let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer".to_owned();
                form.extend([("client_id", self.client.clone()), ("client_assertion_type", kind)]);
                form.push(("client_assertion", statement));
            }
        }
        let form: Vec<_> = form.into_iter().map(|(name, value)| format!("{name}={}", encoded(&value))).collect();
        let mut request = Request::new(Bytes::from(form.join("&")));
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

/// Encodes a text for a form: unreserved characters (RFC 3986 §2.3) stay as they are.
fn encoded(text: &str) -> String {
    const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, &RESERVED).to_string()
}

async fn fetch(credentials: &Oauth2, asked: &Asked, most: usize, world: &dyn World) -> Result<Token, Box<Fault>> {
    let (endpoint, within) = (&credentials.endpoint, credentials.timeout);
    let (rotated, name) = (world.state().of::<Rotated>(), asked.name(credentials));
    let refresh = asked.refresh.as_ref().map(|first| rotated.instead_of(&name, first));
    let request = asked.request(credentials, refresh.as_ref())?;
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
    if let (Some(first), Some(next)) = (&asked.refresh, json["refresh_token"].as_str()) {
        rotated.keep(name, first, next);
    }
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
