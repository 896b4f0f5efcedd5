//! Keys that servers have: of a JWK set, or of the one that an issuer's OpenID configuration names.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Request, Uri};
use serde::Deserialize;

use super::compiled::{TokenKeys, ValidateJwt};
use super::signature::{Refused, candidates, keys, token};
use crate::model::{Discovery, Endpoint, KeySource, Reason};
use crate::policy::engine::{Call, World};

/// From one time that a server is asked for keys to the next: while there are none, or whoever asked has gone meanwhile,
const SOON: Duration = Duration::from_secs(1);
/// for one that is missed,
const MISSED: Duration = Duration::from_secs(30);
/// and else.
const HOUR: Duration = Duration::from_secs(3600);

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Most bytes of it.
const LARGEST: usize = 1 << 20;

/// Asks servers for the keys that they have, where it is time to, and again where the token names one that is missed.
pub(in crate::policy) async fn fetch_keys(validate: &ValidateJwt, call: &mut Call<'_>, world: &dyn World) {
    let remote = |keys: &TokenKeys| matches!(keys, TokenKeys::Public(set) if set.source.path().is_none());
    if !validate.keys.iter().any(remote) {
        return;
    }
    ask_for_keys(validate, false, call.context.max_body, world).await;
    if let (Ok(Ok(token)), Ok(keys)) = (token(&validate.token, call), keys(&validate.keys, call))
        && candidates(&token, &keys).is_err_and(|Refused(reason, _)| reason == Reason::TokenKeyNotFound)
    {
        ask_for_keys(validate, true, call.context.max_body, world).await;
    }
}

async fn ask_for_keys(validate: &ValidateJwt, missed: bool, most: usize, world: &dyn World) {
    for keys in &validate.keys {
        let TokenKeys::Public(set) = keys else { continue };
        let KeySource::Remote { endpoint, target, discovery } = &set.source else { continue };
        let mut asked = match set.asked.try_lock() {
            Some(asked) => asked,
            // Somebody is asking: what there is will do, if there is something.
            None if !missed && !set.current().is_empty() => continue,
            None => set.asked.lock().await,
        };
        let now = world.at();
        let has_keys = !set.current().is_empty();
        let again = |ended| match (missed, has_keys && ended) {
            (_, false) => SOON,
            (true, true) => MISSED,
            (false, true) => HOUR,
        };
        if asked.is_some_and(|(asked, ended)| now.saturating_sub(asked) < again(ended)) {
            continue;
        }
        *asked = Some((now, false));
        let document = documented(endpoint, target, discovery.as_ref(), most.max(LARGEST), world).await;
        let outcome = document.and_then(|document| set.replace(&document).map_err(|error| error.to_string()));
        *asked = Some((now, true));
        if let Err(error) = outcome {
            tracing::warn!(%endpoint, %error, "the keys of tokens cannot be had; the old ones are kept");
        }
    }
}

/// The set, wherever it is.
async fn documented(
    endpoint: &Arc<Endpoint>,
    target: &str,
    discovery: Option<&Discovery>,
    most: usize,
    world: &dyn World,
) -> Result<Bytes, String> {
    let target = target.parse().map_err(|_| "not a path".to_owned())?;
    let document = get(endpoint, target, most, world).await?;
    match discovery {
        None => Ok(document),
        Some(discovery) => get(&discovery.keys_at, set_of(discovery, &document)?, most, world).await,
    }
}

async fn get(to: &Arc<Endpoint>, target: PathAndQuery, most: usize, world: &dyn World) -> Result<Bytes, String> {
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = Uri::from(target);
    match world.fetch(to, request, most, PATIENCE).await {
        Ok(answer) if answer.status().is_success() => Ok(answer.into_body()),
        Ok(answer) => Err(format!("{to} answers {}", answer.status())),
        Err(reason) => Err(format!("{to}: {reason}")),
    }
}

/// What is needed of an OpenID configuration (OpenID Connect Discovery 1.0 §3).
#[derive(Deserialize)]
struct Configuration {
    issuer: String,
    jwks_uri: String,
}

/// Where the set is that an issuer's configuration names.
fn set_of(discovery: &Discovery, document: &[u8]) -> Result<PathAndQuery, String> {
    let read = serde_json::from_slice(document);
    let Configuration { issuer, jwks_uri } = read.map_err(|error| format!("not an OpenID configuration: {error}"))?;
    // §4.3: else anybody whose document is there could speak for others.
    if !discovery.issuers.is_empty() && !discovery.issuers.iter().any(|known| **known == *issuer) {
        return Err(format!("it is the configuration of {issuer}: if that is right, write `issuers`"));
    }
    let uri: Uri = jwks_uri.parse().map_err(|_| format!("its jwks_uri is no URL: {jwks_uri}"))?;
    let at = &discovery.keys_at;
    let is_there = uri.scheme_str() == Some("https")
        && uri.host().is_some_and(|host| host.eq_ignore_ascii_case(at.host.as_str()))
        && uri.port_u16().unwrap_or(443) == at.port;
    match uri.path_and_query() {
        Some(target) if is_there => Ok(target.clone()),
        _ => Err(format!("its jwks_uri {jwks_uri} is not on {at}: if it may be there, write it as `jwks_host`")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::Host;

    #[test]
    fn keys_are_where_the_owner_lets_them_be() {
        let keys_at = Endpoint { host: Host::parse("keys.example").unwrap(), port: 443, tls: None };
        let issuers = vec!["https://login.example".into(), "https://login.example/".into()];
        let discovery = Discovery { keys_at: Arc::new(keys_at), issuers };
        let found = |document: Value| set_of(&discovery, document.to_string().as_bytes());
        let of = |issuer: &str, uri: &str| found(json!({"issuer": issuer, "jwks_uri": uri}));
        for issuer in ["https://login.example", "https://login.example/"] {
            assert_eq!(of(issuer, "https://KEYS.example:443/a?b=c").unwrap(), "/a?b=c");
        }
        assert_eq!(of("https://login.example", "https://keys.example").unwrap(), "/");
        assert!(of("https://other.example", "https://keys.example/a").unwrap_err().contains("write `issuers`"));
        for uri in [
            "http://keys.example/a",
            "https://keys.example:444/a",
            "https://other.example/a",
            "https://keys.example.other.example/",
            "https://keys.example@other.example/",
            "/a",
        ] {
            let error = of("https://login.example", uri).unwrap_err();
            assert!(error.contains("write it as `jwks_host`"), "{uri}: {error}");
        }
        assert!(found(json!({"issuer": "https://login.example"})).unwrap_err().contains("jwks_uri"));
        assert!(set_of(&discovery, b"{").is_err());
    }
}
