//! The policies of the cache as they are written.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::compiled::{CacheLookup, CacheLookupValue, CacheRemoveValue, CacheStore, CacheStoreValue};
use crate::syntax::{Form, Reader, Text, Wanted};

/// Answers GET and HEAD requests from the cache (RFC 9111), as fresh as the caller's Cache-Control demands. A stale response
/// is revalidated (If-None-Match, If-Modified-Since) if the third party gave it a validator. The caller receives the response
/// as `cache-store` stored it: outbound does not run again.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CacheLookupFile {
    /// Request headers that select between cached responses, beside those that the third party names (Vary). Default: none.
    /// Example: `[Accept-Language]`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub vary_by_header: Vec<Text>,
    /// Query parameters that select between cached responses. Default: all. Example: `[page]`.
    #[serde(default)]
    pub vary_by_query_parameter: Option<Vec<String>>,
    /// Whether each owner (unit, container or pod) has cached responses of its own. Default: false.
    #[serde(default)]
    pub vary_by_workload: bool,
    /// Whether callers with credentials share responses. Otherwise they share those that the third party says are for all
    /// (`public`, `must-revalidate`, `s-maxage`). Of the others Egret stores none to a request with credentials of the caller
    /// (Authorization, Cookie, Proxy-Authorization, a header with a word like key, token or session in its name), unless
    /// `vary_by_header` names them all. Where Egret adds a credential or shows a certificate, callers of the same owner (unit,
    /// container or pod) share them. Default: false.
    #[serde(default)]
    pub share_authorized: bool,
    /// The longest time to wait for the same response while it is on its way to another caller. Egret then requests it once,
    /// if it may be cached. Default: none, each caller's request is forwarded. Example: `10s`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub wait: Option<Text>,
}

impl Form for CacheLookup {
    type File = CacheLookupFile;
    type Compiled = Self;
    const ABOUT: &'static str = "Answers the request with a response that `cache-store` has cached. Only in inbound.\n\
        Example: `{vary_by_header: [Accept-Language]}`.";

    fn compile(written: &Spanned<CacheLookupFile>, reader: &mut dyn Reader) -> Option<Self> {
        let file = &written.value;
        let names = file.vary_by_query_parameter.as_ref();
        Some(Self {
            vary_by_header: file.vary_by_header.iter().filter_map(|name| reader.header(name)).collect(),
            vary_by_query_parameter: names.map(|names| names.iter().map(|name| name.as_str().into()).collect()),
            vary_by_workload: file.vary_by_workload,
            share_authorized: file.share_authorized,
            wait: reader.optional_duration(file.wait.as_ref()).filter(|wait| !wait.is_zero()),
        })
    }
}

/// Caches the response of a GET request that `cache-lookup` looked up, if it has status 200, is complete and sets no cookie. A
/// successful request to the same path with a method other than GET, HEAD, OPTIONS or TRACE removes its cached responses.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CacheStoreFile {
    /// How long the response is fresh, whatever the third party says. Default: as long as the third party says (Cache-Control,
    /// Expires, Age). Example: `5m`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub duration: Option<Text>,
    /// How long after that the response is used while the third party does not respond, or responds with a status of 500 or
    /// more. Without `duration`, the third party's `must-revalidate`, `proxy-revalidate`, `s-maxage` and `no-cache` forbid it.
    /// Default: as long as the third party says (`stale-if-error`), else 0s. Example: `1h`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub stale_if_error: Option<Text>,
}

impl Form for CacheStore {
    type File = CacheStoreFile;
    type Compiled = Self;
    const ABOUT: &'static str =
        "Caches a response in memory, if RFC 9111 allows a shared cache to store it. Only in outbound.";

    fn compile(written: &Spanned<CacheStoreFile>, reader: &mut dyn Reader) -> Option<Self> {
        Some(Self {
            duration: reader.optional_duration(written.value.duration.as_ref()),
            stale_if_error: reader.optional_duration(written.value.stale_if_error.as_ref()),
        })
    }
}

/// Reads a cached value.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CacheLookupValueFile {
    /// An expression for the key of the value. Example: `'"token-" + workload.owner'`.
    #[schemars(with = "String")]
    pub key: Text,
    /// A name under which all APIs and callers that give it share the value. Default: the value belongs to this API and to the owner
    /// of the caller (its unit, container or pod). Example: `partner`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub shared: Option<Text>,
    /// The name of the variable that receives the value. Example: `token`.
    #[schemars(with = "String")]
    pub variable: Text,
    /// Whether the value is a secret. A secret is masked wherever people read it, and never goes to a caller, to a record or
    /// to a server without TLS. Default: false.
    #[serde(default)]
    pub secret: bool,
    /// An expression for the value if there is none in the cache. Default: null. Example: `'"none"'`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub default: Option<Text>,
}

impl Form for CacheLookupValue {
    type File = CacheLookupValueFile;
    type Compiled = Self;
    const ABOUT: &'static str = "Reads a value that `cache-store-value` has cached into a variable.";

    fn compile(written: &Spanned<CacheLookupValueFile>, reader: &mut dyn Reader) -> Option<Self> {
        let file = &written.value;
        let (key, variable) = (reader.key(&file.key), reader.variable(&file.variable));
        let secret = reader.is_secret(&variable);
        let default = file.default.as_ref().and_then(|default| reader.stored(default, secret));
        Some(Self { key: key?, shared: shared(file.shared.as_ref()), variable, secret, default })
    }

    fn variables(file: &CacheLookupValueFile) -> Vec<(&Text, bool)> {
        vec![(&file.variable, file.secret)]
    }
}

/// Caches a value.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CacheStoreValueFile {
    /// An expression for the key of the value. Example: `'"token-" + workload.owner'`.
    #[schemars(with = "String")]
    pub key: Text,
    /// A name under which all APIs and callers that give it share the value. Default: the value belongs to this API and to the owner
    /// of the caller (its unit, container or pod). Example: `partner`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub shared: Option<Text>,
    /// An expression for the value. Example: `variables.token`.
    #[schemars(with = "String")]
    pub value: Text,
    /// How long the value stays in the cache. Example: `5m`.
    #[schemars(with = "String")]
    pub duration: Text,
}

impl Form for CacheStoreValue {
    type File = CacheStoreValueFile;
    type Compiled = Self;
    const ABOUT: &'static str = "Caches a value in memory.";

    fn compile(written: &Spanned<CacheStoreValueFile>, reader: &mut dyn Reader) -> Option<Self> {
        let file = &written.value;
        let (key, value) = (reader.key(&file.key), reader.expression(&file.value, Wanted::Any));
        let duration = reader.duration(&file.duration, Duration::from_secs(1));
        Some(Self { key: key?, shared: shared(file.shared.as_ref()), value: value?, duration })
    }
}

/// Removes a cached value.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CacheRemoveValueFile {
    /// An expression for the key of the value. Example: `'"token-" + workload.owner'`.
    #[schemars(with = "String")]
    pub key: Text,
    /// A name under which all APIs and callers that give it share the value. Default: the value belongs to this API and to the owner
    /// of the caller (its unit, container or pod). Example: `partner`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub shared: Option<Text>,
}

impl Form for CacheRemoveValue {
    type File = CacheRemoveValueFile;
    type Compiled = Self;
    const ABOUT: &'static str = "Removes a cached value.";

    fn compile(written: &Spanned<CacheRemoveValueFile>, reader: &mut dyn Reader) -> Option<Self> {
        Some(Self { key: reader.key(&written.value.key)?, shared: shared(written.value.shared.as_ref()) })
    }
}

fn shared(written: Option<&Text>) -> Option<Arc<str>> {
    written.map(|name| name.value.trim().into())
}
