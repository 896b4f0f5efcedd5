//! Answers and values that are kept: `cache-lookup`, `cache-store` (RFC 9111, as a shared cache) and `cache-*-value`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cel::Value;
use http::header::{
    AGE, AUTHORIZATION, CACHE_CONTROL, ETAG, IF_NONE_MATCH, PRAGMA, SET_COOKIE, TRANSFER_ENCODING, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use moka::sync::Cache;

use super::bodies;
use super::call::{Call, Fault};
use super::expression;
use super::set_query_parameter::parameters;
use super::uses::CacheUse;
use crate::model::{CacheLookup, CacheLookupValue, CacheRemoveValue, CacheStore, CacheStoreValue};

/// Bytes of all answers that are kept; those that were used longest ago go first.
const ANSWERS: u64 = 64 << 20;

/// Bytes of all values that are kept.
const VALUES: u64 = 16 << 20;

/// What is kept.
#[derive(Debug)]
pub(super) struct Caches {
    answers: Cache<String, Arc<Variants>>,
    values: Cache<String, (Value, Duration)>,
}

/// The answers to a request that differ by headers of it.
#[derive(Debug)]
struct Variants {
    /// The headers.
    by: Vec<HeaderName>,
    answers: Vec<Arc<Kept>>,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Kept {
    /// Whose it is, and the request, for people.
    api: Arc<str>,
    shown: String,
    /// How often it was given.
    hits: AtomicU64,
    /// What the request said in the headers by which answers differ.
    said: Vec<Option<HeaderValue>>,
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    /// When it came, or its third party made it.
    since: Duration,
    fresh_until: Duration,
    stale_until: Duration,
}

/// Variants of an answer that are kept at most.
const VARIANTS: usize = 16;

impl Default for Caches {
    fn default() -> Self {
        let size = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        let weigh = move |key: &String, variants: &Arc<Variants>| {
            let answers = variants.answers.iter().map(|kept| kept.body.len() + 64 * kept.headers.len() + 256);
            size(key.len() + answers.sum::<usize>())
        };
        let weigh_value =
            move |key: &String, (value, _): &(Value, Duration)| size(key.len() + expression::spelled(value).len() + 64);
        Self {
            answers: Cache::builder().max_capacity(ANSWERS).weigher(weigh).build(),
            values: Cache::builder().max_capacity(VALUES).weigher(weigh_value).build(),
        }
    }
}

impl Caches {
    /// All that is of use still.
    pub(super) fn uses(&self, at: Duration) -> Vec<CacheUse> {
        let each = |(_, variants): (_, Arc<Variants>)| {
            let of_use = variants.answers.iter().filter(|kept| at < kept.stale_until);
            of_use.map(|kept| (variants.by.clone(), Arc::clone(kept))).collect::<Vec<_>>()
        };
        let answers = self.answers.iter().flat_map(each).map(|(by, kept)| CacheUse {
            api: Some(kept.api.to_string()),
            key: kept.shown.clone(),
            varies: by.iter().map(ToString::to_string).collect(),
            status: Some(kept.status.as_u16()),
            bytes: kept.body.len(),
            age: Some(at.saturating_sub(kept.since)),
            fresh_for: kept.fresh_until.saturating_sub(at),
            hits: Some(kept.hits.load(Ordering::Relaxed)),
        });
        let values = self.values.iter().map(|(key, (value, until))| CacheUse {
            api: None,
            key: key.to_string(),
            varies: Vec::new(),
            status: None,
            bytes: expression::spelled(&value).len(),
            age: None,
            fresh_for: until.saturating_sub(at),
            hits: None,
        });
        answers.chain(values.filter(|value| !value.fresh_for.is_zero())).collect()
    }
}

/// Answers from what is kept; whether it did.
pub(super) fn lookup(lookup: &CacheLookup, call: &mut Call<'_>, caches: &Caches) -> bool {
    let asked = directives(&call.request.headers, CACHE_CONTROL);
    let unwanted = asked.iter().any(|(name, value)| {
        matches!(&**name, "no-store" | "no-cache") || (name == "max-age" && value.as_deref() == Some("0"))
    });
    if !is_safe(&call.request.method) {
        call.note(|| "only GET and HEAD are looked up".to_owned());
        return false;
    }
    if call.request.headers.contains_key(AUTHORIZATION) && !lookup.share_authorized {
        call.note(|| "the caller is authorized: not looked up".to_owned());
        return false;
    }
    let key = key(lookup, call);
    let variants = caches.answers.get(&key);
    call.cached_under = Some(key);
    let kept = variants.and_then(|variants| {
        let said = said(&variants.by, &call.request.headers);
        variants.answers.iter().find(|kept| kept.said == said).cloned()
    });
    let Some(kept) = kept else {
        call.note(|| "miss".to_owned());
        return false;
    };
    if unwanted || call.at >= kept.fresh_until {
        if call.at < kept.stale_until {
            call.stale = Some(kept);
        }
        call.note(|| if unwanted { "the caller wants it anew".to_owned() } else { "no longer fresh".to_owned() });
        return false;
    }
    call.note(|| "hit".to_owned());
    give(&kept, call);
    true
}

/// Answers with what is kept.
pub(super) fn give(kept: &Kept, call: &mut Call<'_>) {
    kept.hits.fetch_add(1, Ordering::Relaxed);
    let (mut head, ()) = Response::new(()).into_parts();
    head.status = kept.status;
    head.headers = kept.headers.clone();
    head.headers.insert(AGE, HeaderValue::from(call.at.saturating_sub(kept.since).as_secs()));
    let known = call.request.headers.get(IF_NONE_MATCH).map(HeaderValue::as_bytes);
    let same = known.zip(kept.headers.get(ETAG)).is_some_and(|(known, tag)| {
        known == b"*" || known.split(|byte| *byte == b',').any(|one| one.trim_ascii() == tag.as_bytes())
    });
    if same {
        // RFC 9110 §15.4.5.
        head.status = StatusCode::NOT_MODIFIED;
        head.headers.remove(http::header::CONTENT_LENGTH);
        call.response_body = Some(Bytes::new());
    } else {
        call.response_body = Some(kept.body.clone());
    }
    call.response = Some(head);
}

/// Keeps the answer, if it may be kept.
pub(super) fn store(store: &CacheStore, call: &mut Call<'_>, caches: &Caches) {
    let outcome = keep(store, call, caches);
    call.note(|| outcome.map_or_else(|why| format!("not kept: {why}"), |time| format!("kept for {time:?}")));
}

/// Whether an answer could be kept: then its body is read as a whole, if it is not too long.
pub(super) fn is_wanted(call: &Call<'_>) -> bool {
    call.cached_under.is_some() && call.response.as_ref().is_some_and(|response| response.status.is_success())
}

fn keep(store: &CacheStore, call: &Call<'_>, caches: &Caches) -> Result<Duration, &'static str> {
    let key = call.cached_under.as_ref().ok_or("it was not looked up")?;
    let response = call.response.as_ref().ok_or("there is none")?;
    let body = call.response_body.as_ref().ok_or("its body is too long")?;
    if call.request.method != Method::GET || response.status != StatusCode::OK {
        return Err("only a 200 to a GET is");
    }
    if response.headers.contains_key(SET_COOKIE) {
        return Err("it sets a cookie");
    }
    let said_by = |name: HeaderName| directives(&response.headers, name);
    let told = said_by(CACHE_CONTROL);
    let has = |wanted: &str| told.iter().any(|(name, _)| name == wanted);
    let asked = directives(&call.request.headers, CACHE_CONTROL);
    if has("no-store") || has("private") || asked.iter().any(|(name, _)| name == "no-store") {
        return Err("it must not be");
    }
    let seconds = |wanted: &str| {
        let (_, value) = told.iter().find(|(name, _)| name == wanted)?;
        value.as_ref()?.parse().ok().map(Duration::from_secs)
    };
    let time = match store.duration {
        Some(time) => time,
        None if has("no-cache") || said_by(PRAGMA).iter().any(|(name, _)| name == "no-cache") => {
            return Err("it must not be");
        }
        None => {
            seconds("s-maxage").or_else(|| seconds("max-age")).ok_or("the third party does not say for how long")?
        }
    };
    let by = varies(&response.headers).ok_or("it varies by everything")?;
    let mut headers = response.headers.clone();
    headers.remove(TRANSFER_ENCODING);
    bodies::describe_whole(&mut headers, body.len());
    let kept = Arc::new(Kept {
        api: Arc::clone(&call.api.name),
        shown: shown(key, call),
        hits: AtomicU64::new(0),
        said: said(&by, &call.request.headers),
        status: response.status,
        headers,
        body: body.clone(),
        since: call.at,
        fresh_until: call.at + time,
        stale_until: call.at + time + store.stale_if_error.unwrap_or_default(),
    });
    let mut answers = vec![Arc::clone(&kept)];
    if let Some(before) = caches.answers.get(key).filter(|before| before.by == by) {
        let others = before.answers.iter().filter(|other| other.said != kept.said && call.at < other.stale_until);
        answers.extend(others.take(VARIANTS - 1).cloned());
    }
    caches.answers.insert(key.clone(), Arc::new(Variants { by, answers }));
    Ok(time)
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// By API, host, path and query, and what the policy adds.
fn key(lookup: &CacheLookup, call: &Call<'_>) -> String {
    let uri = &call.request.uri;
    let mut key = format!("{}\n{}\n{}\n", call.api.name, call.host, uri.path());
    let query = uri.query().unwrap_or_default();
    match &lookup.vary_by_query_parameter {
        None => key.push_str(query),
        Some(names) => {
            for (name, value) in parameters(query).filter(|(name, _)| names.iter().any(|known| **known == **name)) {
                key.push_str(&format!("{name}={value}&"));
            }
        }
    }
    for name in &lookup.vary_by_header {
        let values: Vec<_> = call.request.headers.get_all(&**name).iter().map(HeaderValue::as_bytes).collect();
        key.push_str(&format!("\n{name}: {}", String::from_utf8_lossy(&values.join(&b','))));
    }
    if lookup.vary_by_workload {
        key.push_str(&format!("\n{}", call.workload.cgroup));
    }
    key
}

/// What was looked up, without the headers by which it differs and with secrets masked.
fn shown(key: &str, call: &Call<'_>) -> String {
    let mut lines = key.split('\n').skip(1);
    let mut line = || lines.next().unwrap_or_default();
    let (host, path, query) = (line(), line(), line());
    format!("GET {host}{}", call.shown(path, query))
}

/// Names in lower case, and values without their quotes.
fn directives(headers: &HeaderMap, name: HeaderName) -> Vec<(String, Option<String>)> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let items = values.flat_map(|value| value.split(',')).map(str::trim).filter(|item| !item.is_empty());
    items
        .map(|item| match item.split_once('=') {
            Some((name, value)) => (name.trim().to_ascii_lowercase(), Some(value.trim().trim_matches('"').to_owned())),
            None => (item.to_ascii_lowercase(), None),
        })
        .collect()
}

/// By which headers answers differ; `None` by more than is known.
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

fn said(by: &[HeaderName], headers: &HeaderMap) -> Vec<Option<HeaderValue>> {
    by.iter().map(|name| headers.get(name).cloned()).collect()
}

/// Reads a value into a variable.
pub(super) fn lookup_value(lookup: &CacheLookupValue, call: &mut Call<'_>, caches: &Caches) -> Result<(), Box<Fault>> {
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
pub(super) fn store_value(store: &CacheStoreValue, call: &mut Call<'_>, caches: &Caches) -> Result<(), Box<Fault>> {
    let (key, value) = (expression::text(&store.key, call)?, expression::value(&store.value, call)?);
    call.note(|| format!("{key} = {} for {:?}", expression::spelled(&value), store.duration));
    caches.values.insert(key, (value, call.at + store.duration));
    Ok(())
}

/// Forgets a value.
pub(super) fn remove_value(remove: &CacheRemoveValue, call: &mut Call<'_>, caches: &Caches) -> Result<(), Box<Fault>> {
    let key = expression::text(&remove.key, call)?;
    caches.values.invalidate(&key);
    call.note(|| key);
    Ok(())
}
