//! What is asked of others than the third party, as written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::Text;
use crate::config::file::TlsFile;

/// Sends a request.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct SendRequestFile {
    /// Like `https://hooks.example/calls/${request.id}`. Scheme, name and port are written out; no request decides them.
    #[schemars(with = "String")]
    pub(in crate::config) url: Text,
    /// Default GET.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) method: Option<Text>,
    /// Name and value.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub(in crate::config) headers: BTreeMap<String, Text>,
    /// What it says. Default: nothing.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) body: Option<Text>,
    /// Whether it has the method, the headers (but for secrets) and, where `body` is not said, the body of the caller's
    /// request. Default false.
    #[serde(default)]
    pub(in crate::config) copy: bool,
    /// Longest wait for the whole answer. Default 60s.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) timeout: Option<Text>,
    /// Where the answer goes: expressions say `variables.NAME.status`, `.headers` and `.body`, and `json(...)` of that.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) variable: Option<Text>,
    /// Whether it is a secret: what comes of it is masked where people read, and goes to no caller, no record and no server
    /// without TLS. Default false.
    #[serde(default)]
    pub(in crate::config) secret: bool,
    /// Whether the variable is null, and the request goes on, where there is no answer. Default false.
    #[serde(default)]
    pub(in crate::config) ignore_error: bool,
    /// TLS with it.
    #[serde(default)]
    pub(in crate::config) tls: Option<TlsFile>,
}

/// Several requests at once.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct WaitFile {
    /// `all` (default), or `any`: the first answer is enough, and the variables of the others are null.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) r#for: Option<Text>,
    /// As of `send-request`.
    #[schemars(with = "Vec<SendRequestFile>", length(min = 1, max = 16))]
    pub(in crate::config) requests: Spanned<Vec<SendRequestFile>>,
}

/// A token for the gateway itself.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct Oauth2File {
    /// Where tokens are given: `https://login.example/oauth2/token`.
    #[schemars(with = "String")]
    pub(in crate::config) token_url: Text,
    /// Who.
    #[schemars(with = "String")]
    pub(in crate::config) client_id: Text,
    /// Proof, as a rule `{{named value}}`. This, or `private_key`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) client_secret: Option<Text>,
    /// Instead: a key in PEM, as a rule `{{named value}}`, with which Egret signs who it is (RFC 7523). It is never sent.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) private_key: Option<Text>,
    /// The `kid` by which the server knows that key.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) key_id: Option<Text>,
    /// How it signs: RS256 (default), PS256, ES256, ES384 or EdDSA.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) algorithm: Option<Text>,
    /// By what right: `client_credentials` (default), the client's own; `jwt_bearer`, a statement that is signed with `private_key`,
    /// as service accounts do; `refresh_token`, a user's who has once consented.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) grant: Option<Text>,
    /// For grant `jwt_bearer`: on whose behalf. Default: the client's.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) subject: Option<Text>,
    /// For grant `refresh_token`: the first one, as a rule `{{named value}}`. Where the server gives another with a token, that one is
    /// kept in `state.directory` for the next, until this one is changed.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) refresh_token: Option<Text>,
    /// What for.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) scope: Option<Text>,
    /// For whom, where the server wants to know. In a signed statement it is for `token_url`, but with grant `jwt_bearer` for this, if
    /// it is said.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) audience: Option<Text>,
    /// Where client and secret are sent: `header` (default; Authorization: Basic), or `body`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) credentials_in: Option<Text>,
    /// Longest wait for a token. Default 10s.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) timeout: Option<Text>,
    /// TLS with it.
    #[serde(default)]
    pub(in crate::config) tls: Option<TlsFile>,
}

/// Servers that do the same, for `set-backend`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct ServiceFile {
    /// The only one: `https://sandbox.partner.example/v2`. Its path comes before that of the request.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) url: Option<Text>,
    /// Instead of `url`: several.
    #[serde(default)]
    pub(in crate::config) pool: Vec<MemberFile>,
    /// TLS with those that say nothing of their own.
    #[serde(default)]
    pub(in crate::config) tls: Option<TlsFile>,
    /// When one of them is left alone for a while. Default: never.
    #[serde(default)]
    pub(in crate::config) circuit_breaker: Option<BreakerFile>,
    /// How each is asked whether it is well, from `egress.addresses`. Default: not at all.
    #[serde(default)]
    pub(in crate::config) health: Option<HealthFile>,
}

/// One of a backend's servers.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct MemberFile {
    /// Where it is.
    #[schemars(with = "String")]
    pub(in crate::config) url: Text,
    /// Its share of the requests among those of the same priority. Default 1.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1000))]
    pub(in crate::config) weight: Option<u32>,
    /// It gets requests only while none of a lower number can. Default 1.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100))]
    pub(in crate::config) priority: Option<u32>,
    /// TLS with it.
    #[serde(default)]
    pub(in crate::config) tls: Option<TlsFile>,
}

/// When a server has failed too often.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct BreakerFile {
    /// So many failures. To give no answer is one.
    #[schemars(with = "u32", range(min = 1, max = 10000))]
    pub(in crate::config) failures: Spanned<u32>,
    /// Within this time. Default 1m.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) window: Option<Text>,
    /// It gets no requests for so long, or for as long as its Retry-After says, if that is longer; then one, which decides.
    /// Default 30s.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) open: Option<Text>,
    /// Which answers are failures: `500-599` (default), `429`.
    #[serde(default)]
    #[schemars(with = "Option<Vec<String>>")]
    pub(in crate::config) statuses: Option<Vec<Text>>,
}

/// How a server is asked whether it is well. While none is, all get requests.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct HealthFile {
    /// GET of this path; 200 to 399 is well.
    #[schemars(with = "String")]
    pub(in crate::config) path: Text,
    /// How often. Default 10s, at least 1s.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) interval: Option<Text>,
    /// Longest wait. Default 2s.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) timeout: Option<Text>,
}
