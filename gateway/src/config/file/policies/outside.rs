//! What is asked of others than the third party, as written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::Text;
use crate::config::file::TlsFile;

/// Sends a request to a server.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct SendRequestFile {
    /// The URL. Scheme, name and port are literal: no request decides where Egret connects. Path and query are a template, whose
    /// values are encoded as those of `rewrite-uri`. Example: `"https://hooks.example/calls/${request.id}"`.
    #[schemars(with = "String")]
    pub(in crate::config) url: Text,
    /// The method. Default: GET. Example: `POST`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) method: Option<Text>,
    /// Names and values (templates) of headers. Default: none. Example: `{Content-Type: application/json}`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub(in crate::config) headers: BTreeMap<String, Text>,
    /// The body, a template. Values are encoded as those of `set-body`, for the `Content-Type` in `headers` if that is JSON, XML or
    /// a form. Default: empty. Example: `'{"unit": "${workload.unit}"}'`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) body: Option<Text>,
    /// Whether the request has the method, the headers (except secrets) and, without `body`, the body of the caller's request.
    /// Default: false.
    #[serde(default)]
    pub(in crate::config) copy: bool,
    /// The longest time to wait for the whole response. Default: 60s. Example: `5s`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) timeout: Option<Text>,
    /// A variable that receives the response: expressions refer to `variables.NAME.status`, `.headers` and `.body`, and to
    /// `json(variables.NAME.body)`. Default: none. Example: `reply`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) variable: Option<Text>,
    /// Whether the response is a secret. A secret is masked wherever people read it, and never goes to a caller, to a record
    /// or to a server without TLS. Default: false.
    #[serde(default)]
    pub(in crate::config) secret: bool,
    /// Whether the variable is null, and the request continues, if the server does not respond. Default: false.
    #[serde(default)]
    pub(in crate::config) ignore_error: bool,
    /// TLS settings for the server.
    #[serde(default)]
    pub(in crate::config) tls: Option<TlsFile>,
}

/// Sends several requests at once and waits for their responses.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct WaitFile {
    /// `all`: Egret waits for all responses. `any`: the first response is enough, and the variables of the other requests are
    /// null. Default: `all`. Example: `any`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) r#for: Option<Text>,
    /// The requests, as for `send-request`. Example: `[{url: https://one.example, variable: one}]`.
    #[schemars(with = "Vec<SendRequestFile>", length(min = 1, max = 16))]
    pub(in crate::config) requests: Spanned<Vec<SendRequestFile>>,
}

/// An access token for the gateway itself (OAuth 2.0).
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct Oauth2File {
    /// The URL of the token endpoint. Example: `https://login.example/oauth2/token`.
    #[schemars(with = "String")]
    pub(in crate::config) token_url: Text,
    /// The client id. Example: `egret`.
    #[schemars(with = "String")]
    pub(in crate::config) client_id: Text,
    /// The client secret, usually a `{{named value}}`. Exactly one of `client_secret` and `private_key` is required. Default:
    /// none. Example: `"{{client-secret}}"`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) client_secret: Option<Text>,
    /// A private key in PEM, usually a `{{named value}}`, with which Egret signs an assertion instead of sending a secret (RFC
    /// 7523). Egret never sends it. Default: none. Example: `"{{client-key}}"`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) private_key: Option<Text>,
    /// The `kid` by which the server knows the private key. Default: none. Example: `2026-01`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) key_id: Option<Text>,
    /// The algorithm of the signature: RS256, PS256, ES256, ES384 or EdDSA. Default: RS256. Example: `ES256`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) algorithm: Option<Text>,
    /// The grant. `client_credentials`: the client's own. `jwt_bearer`: an assertion signed with `private_key`, as service
    /// accounts use. `refresh_token`: the one of a user who has consented. Default: `client_credentials`. Example:
    /// `refresh_token`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) grant: Option<Text>,
    /// For grant `jwt_bearer`: the subject of the assertion. Default: the client id. Example: `service@acme.example`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) subject: Option<Text>,
    /// For grant `refresh_token`: the first refresh token, usually a `{{named value}}`. If the server rotates it, Egret stores
    /// the new one in `state.directory` and uses that, until this value changes. Default: none. Example:
    /// `"{{refresh-token}}"`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) refresh_token: Option<Text>,
    /// The scope of the access token. Default: none. Example: `prices.read`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) scope: Option<Text>,
    /// The audience of the access token, where the server needs it. With grant `jwt_bearer` it is also the audience of the
    /// assertion, which otherwise is `token_url`. Default: none. Example: `https://api.partner.example`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) audience: Option<Text>,
    /// Where Egret sends client id and secret: `header` (Authorization: Basic) or `body`. Default: `header`. Example: `body`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) credentials_in: Option<Text>,
    /// The longest time to wait for a token. Default: 10s. Example: `5s`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) timeout: Option<Text>,
    /// TLS settings for the server.
    #[serde(default)]
    pub(in crate::config) tls: Option<TlsFile>,
}

/// One server, or several that do the same, for `set-backend`. It has exactly one of `url` and `pool`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct ServiceFile {
    /// The URL of the only server. Its path comes before the path of the request. Default: none. Example:
    /// `https://sandbox.partner.example/v2`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) url: Option<Text>,
    /// Several servers. Default: none. Example: `[{url: https://one.example}, {url: https://two.example}]`.
    #[serde(default)]
    pub(in crate::config) pool: Vec<MemberFile>,
    /// TLS settings for servers that have none of their own.
    #[serde(default)]
    pub(in crate::config) tls: Option<TlsFile>,
    /// When Egret stops sending requests to a failing server for a while. Default: never.
    #[serde(default)]
    pub(in crate::config) circuit_breaker: Option<BreakerFile>,
    /// How Egret checks the health of each server, from `egress.addresses`. Default: not at all.
    #[serde(default)]
    pub(in crate::config) health: Option<HealthFile>,
}

/// One of the servers of a backend.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct MemberFile {
    /// The URL of the server. Its path comes before the path of the request. Example: `https://one.example`.
    #[schemars(with = "String")]
    pub(in crate::config) url: Text,
    /// The server's share of the requests among those of the same priority. Default: 1. Example: `3`.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1000))]
    pub(in crate::config) weight: Option<u32>,
    /// A server receives requests only while no server with a lower number can. Default: 1. Example: `2`.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100))]
    pub(in crate::config) priority: Option<u32>,
    /// TLS settings for the server.
    #[serde(default)]
    pub(in crate::config) tls: Option<TlsFile>,
}

/// When Egret stops sending requests to a failing server for a while.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct BreakerFile {
    /// The number of failures. A request without a response is a failure. Example: `5`.
    #[schemars(with = "u32", range(min = 1, max = 10000))]
    pub(in crate::config) failures: Spanned<u32>,
    /// The time within which the failures occur. Default: 1m. Example: `30s`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) window: Option<Text>,
    /// How long the server receives no requests, or as long as its Retry-After says, if that is longer. After that, one
    /// request decides. Default: 30s. Example: `10s`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) open: Option<Text>,
    /// Statuses, and ranges of them, that are failures. Default: `500-599`. Example: `['429', 500-599]`.
    #[serde(default)]
    #[schemars(with = "Option<Vec<String>>")]
    pub(in crate::config) statuses: Option<Vec<Text>>,
}

/// How Egret checks the health of a server. While no server is healthy, all receive requests.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct HealthFile {
    /// The path of a GET request; a status from 200 to 399 is healthy. Example: `/health`.
    #[schemars(with = "String")]
    pub(in crate::config) path: Text,
    /// The time between checks, at least 1s. Default: 10s. Example: `30s`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) interval: Option<Text>,
    /// The longest time to wait for the response. Default: 2s. Example: `1s`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) timeout: Option<Text>,
}
