//! `cache-lookup` and `cache-store`: a shared cache of responses (RFC 9111). [`values`] has the policies that cache values.

pub(in crate::policy) mod compiled;
mod credentials;
mod freshness;
mod in_flight;
mod stored;
mod validation;
mod values;
mod written;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::select;
use http::header::{AGE, CONTENT_LENGTH, CONTENT_LOCATION, HOST, LOCATION, SET_COOKIE, TRANSFER_ENCODING, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, response};

use self::compiled::{CacheLookup, CacheStore};
use self::freshness::{Directives, is_for_all, lifetime};
use self::in_flight::{Joined, Leader};
pub(in crate::policy) use self::stored::Caches;
use self::stored::Stored;
use crate::model::{Pending, Section};
use crate::policy::engine::query::{pairs, parameters};
use crate::policy::engine::{
    Call, Fault, Kind, Now, Outcome, Reads, Responds, Sections, Site, SometimesTimed, State, Traits, Want,
    WhenReported, World, bodies,
};

/// What the cache knows of a request, from the lookup until its policies have run.
#[derive(Clone, Debug, Default)]
struct Exchange {
    /// The keys under which the response may be stored, where it was looked up.
    keys: Option<Keys>,
    /// A stored response that may not be used as it is.
    stale: Option<Stale>,
    /// Whether the third party was asked to confirm that response, and has confirmed it.
    is_confirmed: bool,
    /// The header fields of the response as they came from the third party.
    received: Option<Arc<HeaderMap>>,
    /// Other requests wait for the response while this exists.
    leader: Option<Arc<Leader>>,
    /// The places whose stored responses are removed if the request succeeds.
    changed: Vec<String>,
}

/// The keys under which the response to a request may be stored.
#[derive(Clone, Debug)]
struct Keys {
    /// The key of responses that all callers share.
    shared: String,
    /// The key of responses that are for this caller's owner alone.
    own: String,
    /// Whether its caller shows who it is, and shares responses only with the third party's word.
    authorized: bool,
    /// The policy that looked it up.
    lookup: CacheLookup,
}

/// A stored response that may not be used as it is.
#[derive(Clone, Debug)]
struct Stale {
    stored: Arc<Stored>,
    /// Whether it is better than no response, or one of 500 and more.
    on_error: bool,
}

impl Kind for CacheLookup {
    const NAME: &'static str = "cache-lookup";
    const SECTIONS: Sections = Sections::INBOUND;

    fn traits(&self) -> Traits<'_> {
        Traits {
            expressions: Vec::new(),
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
            responds: Responds::FromCache,
            counts_by: Vec::new(),
            described: None,
            names_files: false,
            when_reported: WhenReported::Evaluated,
        }
    }
}

impl Now for CacheLookup {
    fn run(&self, site: Site<'_>, call: &mut Call<'_>, world: &dyn World) -> Result<Outcome, Box<Fault>> {
        Ok(if lookup(self, site, call, world) { Outcome::Respond } else { Outcome::Continue })
    }
}

impl SometimesTimed for CacheLookup {
    fn waits(&self) -> bool {
        self.wait.is_some()
    }

    fn run_timed<'a>(
        &'a self,
        site: Site<'a>,
        call: &'a mut Call<'_>,
        world: &'a mut dyn World,
    ) -> Pending<'a, Result<Outcome, Box<Fault>>> {
        Box::pin(async move {
            let responds = lookup_in_turn(self, site, call, world).await;
            Ok(if responds { Outcome::Respond } else { Outcome::Continue })
        })
    }
}

impl Kind for CacheStore {
    const NAME: &'static str = "cache-store";
    const SECTIONS: Sections = Sections::OUTBOUND;

    fn traits(&self) -> Traits<'_> {
        Traits {
            expressions: Vec::new(),
            conditions: Vec::new(),
            endpoints: Vec::new(),
            backend: None,
            reads: Reads::AsTheMessageSays,
            reads_sent_request: true,
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

    fn wants(&self, call: &Call<'_>) -> Want {
        if may_be_stored(call) { Want::ResponseIfShort } else { Want::Nothing }
    }
}

impl Now for CacheStore {
    fn run(&self, _: Site<'_>, call: &mut Call<'_>, world: &dyn World) -> Result<Outcome, Box<Fault>> {
        store(self, call, world.state().of());
        Ok(Outcome::Continue)
    }
}

/// Notes, when a request begins its policies and when it is about to be forwarded, what it changes if it succeeds.
pub(in crate::policy) fn before(_: Section, call: &mut Call<'_>, state: &State) {
    if let Some(place) = changed(call, state) {
        exchange(call).changed.push(place);
    }
}

/// Makes the request conditional where a stored response may be confirmed. Returns whether it did.
pub(in crate::policy) fn revalidate(call: &Call<'_>, request: &mut HeaderMap) -> bool {
    let stale = call.message.slots.get().and_then(|exchange: &Exchange| exchange.stale.as_ref());
    let asks = stale.filter(|stale| validation::has_validator(&stale.stored.headers));
    if let Some(stale) = asks {
        validation::ask(request, &stale.stored.headers);
    }
    asks.is_some()
}

/// Notes the response of the third party to a request that was or was not made conditional.
pub(in crate::policy) fn received(was_conditional: bool, response: &response::Parts, call: &mut Call<'_>) {
    if let Some(exchange) = call.message.slots.get_mut::<Exchange>() {
        exchange.is_confirmed = was_conditional && response.status == StatusCode::NOT_MODIFIED;
        exchange.received = exchange.keys.as_ref().map(|_| Arc::new(response.headers.clone()));
    }
}

fn exchange<'c>(call: &'c mut Call<'_>) -> &'c mut Exchange {
    call.message.slots.get_or_insert()
}

fn keys<'c>(call: &'c Call<'_>) -> Option<&'c Keys> {
    call.message.slots.get().and_then(|exchange: &Exchange| exchange.keys.as_ref())
}

/// Looks a response up and, where another request is on its way for it, waits for that: once, and for so long. A policy that only
/// reports does not wait, and none waits for it.
async fn lookup_in_turn(cache: &CacheLookup, site: Site<'_>, call: &mut Call<'_>, world: &mut dyn World) -> bool {
    if lookup(cache, site, call, world) {
        return true;
    }
    // A response for this caller alone, or a new one, is nobody else's.
    let own = Directives::of(&call.message.request.headers).has("no-cache");
    let Some(keys) = keys(call).filter(|keys| !keys.authorized && !own && !site.report) else { return false };
    let turn = match world.state().of::<Caches>().in_flight.join(&keys.shared) {
        Joined::First(leader) => {
            exchange(call).leader = Some(Arc::new(leader));
            return false;
        }
        Joined::Later(turn) => turn,
    };
    call.note(|| "waits for the same answer, which is on its way".to_owned());
    let _ = select(turn.lock(), world.pause(cache.wait.unwrap_or_default())).await;
    let exchange = exchange(call);
    (exchange.keys, exchange.stale) = (None, None);
    lookup(cache, site, call, world)
}

/// Responds with a stored response. Returns whether it did.
fn lookup(lookup: &CacheLookup, site: Site<'_>, call: &mut Call<'_>, world: &dyn World) -> bool {
    let caches: &Caches = world.state().of();
    if !matches!(call.message.request.method, Method::GET | Method::HEAD) {
        call.note(|| "only GET and HEAD are looked up".to_owned());
        return false;
    }
    let asked = Directives::of(&call.message.request.headers);
    if validation::is_particular(&call.message.request.headers) || asked.has("no-store") {
        call.note(|| "the caller wants a part, or nothing kept: not looked up".to_owned());
        return nothing_else(&asked, call);
    }
    // What a third party makes of the body of a GET, nobody else has asked for.
    if call.message.request_body.as_ref().map_or_else(|| world.has_body(), |body| !body.is_empty()) {
        call.note(|| "there is a body: not looked up".to_owned());
        return nothing_else(&asked, call);
    }
    let key = key(lookup, call);
    let own = format!("{key}\nfor {:?}", call.context.workload.identity.owner);
    let authorized = !lookup.share_authorized && credentials::are_shown(lookup, &call.message.request.headers);
    let kept = [&key, &own].into_iter().filter_map(|key| caches.variants(key)).find_map(|variants| {
        let said = said(&variants.by, &call.message.request.headers);
        variants.answers.iter().find(|kept| kept.said == said && (kept.for_all || !authorized)).cloned()
    });
    exchange(call).keys = Some(Keys { shared: key, own, authorized, lookup: lookup.clone() });
    let Some(kept) = kept else {
        call.note(|| "miss".to_owned());
        return nothing_else(&asked, call);
    };
    if suits(&kept, &asked, call.context.at) {
        call.note(|| "hit".to_owned());
        if !site.report {
            kept.hits.fetch_add(1, Ordering::Relaxed);
        }
        give(&kept, call);
        return true;
    }
    let anew = asked.has("no-cache");
    call.note(|| if anew { "the caller wants it anew".to_owned() } else { "no longer fresh".to_owned() });
    let on_error = !anew && call.context.at < kept.stale_until;
    exchange(call).stale = Some(Stale { stored: kept, on_error });
    nothing_else(&asked, call)
}

/// Returns whether a stored response may be used as it is (RFC 9111 §4.2, and the directives of the caller, §5.2.1).
fn suits(kept: &Stored, asked: &Directives, at: Duration) -> bool {
    let fresh_for = kept.fresh_until.saturating_sub(at);
    let stale_for = at.saturating_sub(kept.fresh_until).saturating_add(kept.overdue);
    let too_old = asked.seconds("max-age").is_some_and(|most| kept.age(at) >= most);
    let too_near = asked.seconds("min-fresh").is_some_and(|least| fresh_for < least);
    let bears = asked.is_bare("max-stale") || asked.seconds("max-stale").is_some_and(|most| stale_for <= most);
    let is_stale = fresh_for.is_zero();
    !asked.has("no-cache") && !too_old && !too_near && (!is_stale || (bears && !kept.must_revalidate))
}

/// Refuses a request that accepts only a stored response (RFC 9111 §5.2.1.7). Returns whether it did.
fn nothing_else(asked: &Directives, call: &mut Call<'_>) -> bool {
    let refuses = asked.has("only-if-cached");
    if refuses {
        call.note(|| "only what is kept was asked for".to_owned());
        let (mut head, ()) = Response::new(()).into_parts();
        head.status = StatusCode::GATEWAY_TIMEOUT;
        (call.message.response, call.message.response_body) = (Some(head), Some(Bytes::new()));
    }
    refuses
}

/// Responds with a stored response.
fn give(kept: &Stored, call: &mut Call<'_>) {
    let (mut head, ()) = Response::new(()).into_parts();
    head.status = kept.status;
    head.headers = kept.headers.clone();
    head.headers.insert(AGE, HeaderValue::from(kept.age(call.context.at).as_secs()));
    let has_already = validation::has_already(&call.message.request.headers, &kept.headers);
    if has_already {
        // RFC 9110 §15.4.5.
        head.status = StatusCode::NOT_MODIFIED;
        head.headers.remove(CONTENT_LENGTH);
    }
    let bodiless = has_already || call.message.request.method == Method::HEAD;
    call.message.response_body = Some(if bodiless { Bytes::new() } else { kept.body.clone() });
    call.message.response = Some(head);
}

/// Puts a stored response in the place of what came, if anything came: where the third party has confirmed it, and where it is
/// better than an error. Returns whether it did.
pub(in crate::policy) fn forwarded(failed: bool, call: &mut Call<'_>, state: &State) -> bool {
    let Some(exchange) = call.message.slots.get_mut::<Exchange>() else { return false };
    let Some(Stale { stored: kept, on_error }) = exchange.stale.take() else { return false };
    let is_confirmed = exchange.is_confirmed;
    if is_confirmed && let Some(not_modified) = call.message.response.take() {
        call.note(|| "what is kept is still so".to_owned());
        renew(&kept, &not_modified, call, state.of());
        kept.hits.fetch_add(1, Ordering::Relaxed);
        return true;
    }
    let better = failed && on_error;
    if better {
        call.note(|| "what is kept is better than that".to_owned());
        kept.hits.fetch_add(1, Ordering::Relaxed);
        give(&kept, call);
    }
    better
}

/// Responds with a stored response that the third party has confirmed, and stores it for longer (RFC 9111 §4.3.4).
fn renew(kept: &Stored, not_modified: &response::Parts, call: &mut Call<'_>, caches: &Caches) {
    let headers = validation::renewed(&kept.headers, &not_modified.headers, &kept.changed);
    let renewed = Arc::new(made(call, (kept.status, headers, kept.body.clone()), kept.store.clone(), Some(kept)));
    let told = Directives::of(&renewed.headers);
    let may_be_kept = !told.has("no-store") && !told.has("private");
    if let (true, Some(keys), Some(by)) = (may_be_kept, keys(call), varies(&renewed.headers))
        && let Some(key) = key_for(keys, &renewed.headers, call)
    {
        caches.put(key, place_of(key), by, Arc::clone(&renewed));
    } else if let Some(keys) = keys(call) {
        // What it says now holds for what is stored, too, which must not be used by what it said before.
        caches.forget(&place_of(&keys.shared));
    }
    give(&renewed, call);
    // Its caller's alone.
    if let Some(response) = call.message.response.as_mut().filter(|_| !kept.changed.contains(&SET_COOKIE)) {
        let cookies = not_modified.headers.get_all(SET_COOKIE).iter();
        response.headers.extend(cookies.map(|cookie| (SET_COOKIE, cookie.clone())));
    }
}

/// Stores the response, if it may be stored.
fn store(store: &CacheStore, call: &mut Call<'_>, caches: &Caches) {
    let outcome = keep(store, call, caches);
    if let Some(exchange) = call.message.slots.get_mut::<Exchange>() {
        exchange.leader = None;
    }
    call.note(|| match outcome {
        Err(why) => format!("not kept: {why}"),
        Ok(Duration::ZERO) => "kept, and asked for each time whether it is still so".to_owned(),
        Ok(time) => format!("kept for {time:?}"),
    });
}

/// Returns the key under which a response may be kept: the one of all callers, the one of its caller's owner where Egret's own
/// credentials were in the request, or none where the caller's were. The third party's word, or the configuration's, is enough for
/// the first (RFC 9111 §3.5).
fn key_for<'k>(keys: &'k Keys, headers: &HeaderMap, call: &Call<'_>) -> Option<&'k str> {
    if keys.lookup.share_authorized || is_for_all(headers) {
        Some(&keys.shared)
    } else if keys.authorized || credentials::are_shown(&keys.lookup, &call.message.request.headers) {
        None
    } else if credentials::are_added(call) {
        Some(&keys.own)
    } else {
        Some(&keys.shared)
    }
}

/// Returns whether the response could be stored: then its body is read as a whole, if it is not too long.
fn may_be_stored(call: &Call<'_>) -> bool {
    let is_whole = call.message.response.as_ref().is_some_and(|response| response.status == StatusCode::OK);
    keys(call).is_some() && is_whole && call.message.request.method == Method::GET
}

/// Stores the response. Returns for how long it is fresh.
///
/// # Errors
/// Says why it may not be stored.
fn keep(store: &CacheStore, call: &Call<'_>, caches: &Caches) -> Result<Duration, &'static str> {
    let keys = keys(call).ok_or("it was not looked up")?;
    let response = call.message.response.as_ref().ok_or("there is none")?;
    if call.message.request.method != Method::GET || response.status != StatusCode::OK {
        return Err("only a 200 to a GET is");
    }
    let body = call.message.response_body.as_ref().ok_or("its body is too long")?;
    if response.headers.contains_key(SET_COOKIE) {
        return Err("it sets a cookie");
    }
    let told = Directives::of(&response.headers);
    if told.has("no-store") || told.has("private") {
        return Err("it must not be");
    }
    let key = key_for(keys, &response.headers, call)
        .ok_or("its caller has shown who it is, and the third party does not say that others may have it")?;
    let by = varies(&response.headers).ok_or("it varies by everything")?;
    let mut headers = response.headers.clone();
    headers.remove(TRANSFER_ENCODING);
    bodies::describe_whole(&mut headers, body.len());
    let time = lifetime(&headers, store, call.context.time).fresh;
    let can_ask = validation::has_validator(&headers);
    let time = match time {
        None if !can_ask => return Err("the third party does not say for how long"),
        Some(Duration::ZERO) if !can_ask && store.stale_if_error.is_none() => return Err("it is not fresh even now"),
        time => time.unwrap_or_default(),
    };
    // What came is a piece of what was read: kept, it would keep all of that.
    let own = (response.status, owned(&headers), Bytes::copy_from_slice(body));
    let kept = made(call, own, store.clone(), None);
    caches.put(key, place_of(key), by, Arc::new(kept));
    Ok(time)
}

/// Returns a response as it is stored, in the place of an earlier one if it is the same response.
fn made(
    call: &Call<'_>,
    (status, headers, body): (StatusCode, HeaderMap, Bytes),
    store: CacheStore,
    before: Option<&Stored>,
) -> Stored {
    let life = lifetime(&headers, &store, call.context.time);
    let fresh_until = call.context.at.saturating_add(life.fresh.unwrap_or_default());
    let by = varies(&headers).unwrap_or_default();
    let key = keys(call).map_or("", |keys| &keys.shared);
    Stored {
        api: Arc::clone(&call.context.api.name),
        shown: before.map_or_else(|| shown(key, call), |before| before.shown.clone()),
        hits: before.map(|before| Arc::clone(&before.hits)).unwrap_or_default(),
        said: said(&by, &call.message.request.headers),
        changed: before.map_or_else(|| changed_since(received_fields(call), &headers), |before| before.changed.clone()),
        status,
        for_all: is_for_all(&headers),
        headers,
        body,
        store,
        came: call.context.at,
        age: life.age,
        fresh_until,
        overdue: life.overdue,
        stale_until: fresh_until.saturating_add(life.on_error).saturating_sub(life.overdue),
        must_revalidate: life.must_revalidate,
    }
}

/// Returns the header fields of the response as they came.
fn received_fields<'c>(call: &'c Call<'_>) -> Option<&'c HeaderMap> {
    call.message.slots.get().and_then(|exchange: &Exchange| exchange.received.as_deref())
}

/// Returns header fields whose values share no memory with others.
fn owned(headers: &HeaderMap) -> HeaderMap {
    let value = |value: &HeaderValue| {
        let mut own = HeaderValue::from_bytes(value.as_bytes()).ok()?;
        own.set_sensitive(value.is_sensitive());
        Some(own)
    };
    headers.iter().filter_map(|(name, field)| Some((name.clone(), value(field)?))).collect()
}

/// The headers that policies have changed since an answer came.
fn changed_since(came: Option<&HeaderMap>, headers: &HeaderMap) -> Vec<HeaderName> {
    let Some(came) = came else { return Vec::new() };
    let mut names: Vec<_> = came.keys().chain(headers.keys()).cloned().collect();
    names.retain(|name| !came.get_all(name).iter().eq(headers.get_all(name).iter()));
    names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    names
}

/// Removes the stored responses that a successful request invalidates: those of its own place, and those of the places that the
/// response names (RFC 9111 §4.4). Where the request changes nothing, `Location` in its response invalidates nothing.
pub(in crate::policy) fn accepted(call: &mut Call<'_>, state: &State) {
    let exchange = call.message.slots.get_mut::<Exchange>();
    let Some(changed) = exchange.map(|exchange| std::mem::take(&mut exchange.changed)).filter(|all| !all.is_empty())
    else {
        return;
    };
    let caches: &Caches = state.of();
    let Some(response) = call.message.response.as_ref().filter(|response| response.status.as_u16() < 400) else {
        return;
    };
    let named = [LOCATION, CONTENT_LOCATION].map(|name| {
        let uri = response.headers.get(name)?.to_str().ok()?.parse::<Uri>().ok()?;
        // What another host has is not this one's to say.
        let ours = uri.host().is_none_or(|host| host.eq_ignore_ascii_case(call.context.host.as_str()));
        (ours && uri.path().starts_with('/')).then(|| place(call, uri.path()))
    });
    changed.iter().chain(named.iter().flatten()).for_each(|place| caches.forget(place));
}

/// Returns the place that a request changes if it succeeds; none, if the request is safe (RFC 9110 §9.2.1).
fn changed(call: &Call<'_>, state: &State) -> Option<String> {
    let is_unsafe =
        !matches!(call.message.request.method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE);
    (is_unsafe && state.of::<Caches>().has_answers()).then(|| place(call, call.message.request.uri.path()))
}

fn place(call: &Call<'_>, path: &str) -> String {
    format!("{}\n{}\n{path}\n", call.context.api.name, call.context.host)
}

/// Returns the place whose responses are stored under a key.
fn place_of(key: &str) -> String {
    key.split_inclusive('\n').take(3).collect()
}

/// Fields by which some servers choose another target, host or method than those that stand in the request. A response to them
/// is for requests with the same ones only.
const NOT_IN_THE_TARGET: [&str; 11] = [
    "expect",
    "forwarded",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-forwarded-scheme",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
];

/// Returns the key of a response: API, host, path and query, what the policy adds, and the backend. All parts are as they were sent:
/// decoded, one could be read as another.
fn key(lookup: &CacheLookup, call: &Call<'_>) -> String {
    let uri = &call.message.request.uri;
    let mut key = place(call, uri.path());
    let query = uri.query().unwrap_or_default();
    match &lookup.vary_by_query_parameter {
        None => key.push_str(query),
        Some(names) => {
            let is_named = |pair: &&str| parameters(pair).any(|(name, _)| names.iter().any(|known| **known == *name));
            for pair in pairs(query).filter(is_named) {
                key.push_str(&format!("{pair}&"));
            }
        }
    }
    for name in &lookup.vary_by_header {
        let values = call.message.request.headers.get_all(&**name);
        let values: Vec<_> = values.iter().map(|value| value.as_bytes().escape_ascii().to_string()).collect();
        key.push_str(&format!("\n{name}: {}", values.join(",")));
    }
    for name in NOT_IN_THE_TARGET {
        for value in call.message.request.headers.get_all(name) {
            key.push_str(&format!("\n{name}: {}", value.as_bytes().escape_ascii()));
        }
    }
    let field = call.message.request.headers.get(HOST).map(HeaderValue::as_bytes);
    let authority = field.or(uri.authority().map(|authority| authority.as_str().as_bytes()));
    if let Some(authority) = authority.filter(|authority| *authority != call.context.host.as_str().as_bytes()) {
        key.push_str(&format!("\nto {}", authority.escape_ascii()));
    }
    if lookup.vary_by_workload {
        key.push_str(&format!("\nby {:?}", call.context.workload.identity.owner));
    }
    if let Some(service) = &call.message.backend {
        key.push_str(&format!("\nof {}", service.name));
    }
    key
}

/// Returns the request that was looked up, for people: without the header fields by which responses differ, and with secrets masked.
fn shown(key: &str, call: &Call<'_>) -> String {
    let mut lines = key.split('\n').skip(1);
    let mut line = || lines.next().unwrap_or_default();
    let (host, path, query) = (line(), line(), line());
    format!("GET {host}{}", call.message.shown(path, query))
}

/// Returns the header fields by which responses differ; `None`, if they differ by more than is known.
fn varies(headers: &HeaderMap) -> Option<Vec<HeaderName>> {
    let values = headers.get_all(VARY).iter().map(|value| value.to_str().ok());
    let mut names = Vec::new();
    for value in values {
        for name in value?.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            if name == "*" {
                return None;
            }
            names.push(HeaderName::from_bytes(name.as_bytes()).ok()?);
        }
    }
    names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    Some(names)
}

/// Returns the values of these fields in a request.
fn said(by: &[HeaderName], headers: &HeaderMap) -> Vec<Vec<u8>> {
    by.iter()
        .map(|name| headers.get_all(name).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b'\n'))
        .collect()
}
