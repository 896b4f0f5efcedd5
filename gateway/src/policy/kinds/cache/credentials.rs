//! Responses to requests with credentials belong to their caller, unless the third party or the API's owner says otherwise.

use http::{HeaderMap, HeaderName};

use super::compiled::CacheLookup;
use crate::policy::engine::Call;

/// Parts of the names of header fields by which callers show who they are: `X-Api-Key`, `X-Auth-Token`, `Ocp-Apim-Subscription-Key`.
const PARTS: [&str; 12] = [
    "accesskey",
    "apikey",
    "authent",
    "authoriz",
    "cookie",
    "credential",
    "dpop",
    "passw",
    "secret",
    "session",
    "signature",
    "token",
];

/// Whole words in such names.
const WORDS: [&str; 5] = ["auth", "bearer", "jwt", "key", "sid"];

/// Returns whether a caller shows who it is, in a header by which cached responses do not differ. What policies add is not the
/// caller's.
pub(in crate::policy) fn are_shown(lookup: &CacheLookup, headers: &HeaderMap) -> bool {
    let by_key = |name: &HeaderName| lookup.vary_by_header.iter().any(|known| **known == *name.as_str());
    let is_credential = |name: &HeaderName| {
        let name = name.as_str();
        PARTS.iter().any(|part| name.contains(part)) || name.split(['-', '_']).any(|word| WORDS.contains(&word))
    };
    headers.iter().any(|(name, value)| !value.is_sensitive() && is_credential(name) && !by_key(name))
}

/// Returns whether the third party knows its caller by a credential of Egret's: one that policies have put into the request, or a
/// client certificate.
pub(in crate::policy) fn are_added(call: &Call<'_>) -> bool {
    let certificate = match &call.message.backend {
        Some(service) => {
            service.members.iter().filter_map(|member| member.endpoint.tls.as_ref()).any(|tls| tls.client.is_some())
        }
        None => call.context.api.backend.as_ref().is_some_and(|backend| backend.client.is_some()),
    };
    certificate || call.message.has_secret()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_show_who_they_are_in_many_headers() {
        let shown = |name: &'static str, lookup: &CacheLookup| {
            are_shown(lookup, &HeaderMap::from_iter([(HeaderName::from_static(name), "a".parse().unwrap())]))
        };
        for name in [
            "authorization",
            "cookie",
            "proxy-authorization",
            "x-api-key",
            "api-key",
            "apikey",
            "x-auth-token",
            "x-amz-security-token",
            "ocp-apim-subscription-key",
            "x-session-id",
            "x_api_key",
            "private-token",
            "xauthtoken",
            "x-access-password",
            "x-goog-iap-jwt-assertion",
        ] {
            assert!(shown(name, &CacheLookup::default()), "{name}");
            let by_name = CacheLookup { vary_by_header: vec![name.into()], ..CacheLookup::default() };
            assert!(!shown(name, &by_name), "{name}");
        }
        for name in ["accept", "accept-language", "x-author", "user-agent", "x-request-id", "if-none-match"] {
            assert!(!shown(name, &CacheLookup::default()), "{name}");
        }
    }
}
