use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::Text;
use crate::config::file::TlsFile;

/// An API key in a header or in the query.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct ApiKeyFile {
    /// The header that receives the key. Exactly one of `header` and `query_parameter` is required. Default: none. Example:
    /// `X-Api-Key`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) header: Option<Text>,
    /// The query parameter that receives the key. Default: none. Example: `key`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) query_parameter: Option<Text>,
    /// The key, usually a `{{named value}}`. Example: `"{{partner-key}}"`.
    #[schemars(with = "String")]
    pub(in crate::config) value: Text,
}

/// An AWS signature, version 4, in `Authorization`. It covers the method, the path, the query, the host, `Content-Type`,
/// `Content-MD5`, all `X-Amz-*` headers and the body.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct AwsSigv4File {
    /// The AWS region. Example: `eu-central-1`.
    #[schemars(with = "String")]
    pub(in crate::config) region: Text,
    /// The AWS service. For `s3`, the path is signed as it is, and the request carries the hash of its body. Example:
    /// `execute-api`.
    #[schemars(with = "String")]
    pub(in crate::config) service: Text,
    /// The id of the access key, usually a `{{named value}}`. Example: `"{{aws-access-key}}"`.
    #[schemars(with = "String")]
    pub(in crate::config) access_key: Text,
    /// The secret access key, usually a `{{named value}}`. Egret never sends it. Example: `"{{aws-secret-key}}"`.
    #[schemars(with = "String")]
    pub(in crate::config) secret_key: Text,
    /// The session token of temporary credentials, usually a `{{named value}}`. Default: none. Example:
    /// `"{{aws-session-token}}"`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) session_token: Option<Text>,
    /// Whether the body is not signed and is streamed, where the service allows it (s3 does). If false, Egret reads the whole
    /// body, up to `max_body`. Default: false.
    #[serde(default)]
    pub(in crate::config) unsigned_payload: bool,
}

/// A signature with a key that the third party has, too. Egret makes it when the policy runs, with the time at which the
/// request arrived.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct HmacFile {
    /// `sha256`, `sha512` or `sha1`. Default: `sha256`. Example: `sha512`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) algorithm: Option<Text>,
    /// The key, usually a `{{named value}}`. Egret never sends it, so it may sign requests without TLS. Example:
    /// `"{{partner-key}}"`.
    #[schemars(with = "String")]
    pub(in crate::config) key: Text,
    /// How the key is written: `text`, `base64` or `hex`. Default: `text`. Example: `base64`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) key_encoding: Option<Text>,
    /// The text that is signed, a template. Values that earlier policies have set are signed as they are, secrets too.
    /// Example: `"${int(now)}.${request.body_bytes}"`.
    #[schemars(with = "String")]
    pub(in crate::config) string: Text,
    /// How the signature is written: `hex` or `base64`. Default: `hex`. Example: `base64`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) encoding: Option<Text>,
    /// The header that receives the signature. Exactly one of `header` and `query_parameter` is required. Default: none.
    /// Example: `X-Signature`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) header: Option<Text>,
    /// The query parameter that receives the signature. Default: none. Example: `signature`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) query_parameter: Option<Text>,
    /// The value of that header or parameter; `{signature}` in it stands for the signature. Default: the signature alone.
    /// Example: `"v1={signature}"`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) value: Option<Text>,
    /// A header that Egret sets to the time at which the request arrived, before it signs. Default: none. Example: `Date`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) time_header: Option<Text>,
    /// The format of the time: `http` (Sun, 06 Nov 1994 08:49:37 GMT), `iso8601` (1994-11-06T08:49:37Z), `unix` (seconds) or
    /// `unix_ms`. Default: `http`. Example: `iso8601`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) time_format: Option<Text>,
}

/// Allows requests with a valid token (JWT, RFC 7519). The issuer (`iss`) of a token is one text; a list is refused.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct ValidateJwtFile {
    /// The header that contains the token, with or without a scheme. At most one of `header`, `query_parameter` and `token` is
    /// allowed. Default: `Authorization`. Example: `X-Token`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) header: Option<Text>,
    /// The query parameter that contains the token. Default: none. Example: `access_token`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) query_parameter: Option<Text>,
    /// A template for the token. Default: none. Example: `'${request.headers["x-token"]}'`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) token: Option<Text>,
    /// The scheme that must stand before the token in the header. Default: any, or none. Example: `Bearer`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) require_scheme: Option<Text>,
    /// Keys for the signature. Default: none. Example: `[{algorithm: RS256, public_key: /etc/egret/issuer.pem}]`.
    #[serde(default)]
    #[schemars(with = "Vec<JwtKeyFile>")]
    pub(in crate::config) keys: Vec<Spanned<JwtKeyFile>>,
    /// Path of a JWK set (RFC 7517) with more keys. Egret reads it again when it changes. Keys whose `use` or `key_ops` is not
    /// for verifying signatures are left out. Default: none. Example: `/etc/egret/issuer.jwks`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) jwks: Option<Text>,
    /// URL (https) of a JWK set with more keys: the `jwks_uri` of the issuer's OpenID configuration. Egret fetches it when it
    /// is first needed, every hour, and when a token names a key that it lacks (at most every 30s). Default: none. Example:
    /// `https://login.example/keys`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) jwks_url: Option<Text>,
    /// URL (https) of the issuer's OpenID configuration, which names its JWK set (`jwks_uri`). Egret fetches it as it does
    /// `jwks_url`. Without `issuers`, the URL must end in `/.well-known/openid-configuration`, and only tokens of the issuer
    /// before that are valid. Default: none. Example: `https://login.example/.well-known/openid-configuration`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) openid_config: Option<Text>,
    /// The server that `jwks_uri` may name, with its port if it is not 443. Egret does not use a JWK set on any other server.
    /// Default: the server of `openid_config`. Example: `keys.login.example`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) jwks_host: Option<Text>,
    /// TLS settings for these servers.
    #[serde(default)]
    pub(in crate::config) tls: Option<TlsFile>,
    /// Whether a token without an expiration time (`exp`) is refused. Default: true.
    #[serde(default)]
    pub(in crate::config) require_expiration: Option<bool>,
    /// How far the clocks of Egret and the issuer may differ. Default: 0s. Example: `30s`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) clock_skew: Option<Text>,
    /// Issuers (`iss`) whose tokens are valid. Default: the issuer of `openid_config`; without it, any. Example:
    /// `[https://login.example]`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(in crate::config) issuers: Vec<Text>,
    /// Audiences (`aud`), one of which the token must name. Default: any. Example: `[orders]`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(in crate::config) audiences: Vec<Text>,
    /// Claims that the token must have. Default: none. Example: `[{name: scope, values: [orders.read]}]`.
    #[serde(default)]
    pub(in crate::config) required_claims: Vec<RequiredClaimFile>,
    /// The name of a variable that receives the claims: `variables.NAME.sub`. Default: none. Example: `token`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) output_variable: Option<Text>,
    /// The status of a refusal. Default: 401. Example: `403`.
    #[serde(default)]
    #[schemars(range(min = 400, max = 599))]
    pub(in crate::config) failed_status: Option<u16>,
    /// The message of a refusal. Default: the reason. Example: `Sign in first`.
    #[serde(default)]
    pub(in crate::config) failed_message: Option<String>,
}

/// A key for the signatures of tokens. It has exactly one of `value` and `public_key`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct JwtKeyFile {
    /// The key's `kid`. Default: none; Egret tries the key where no key has the token's `kid`. Example: `2026-01`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) id: Option<Text>,
    /// HS256, HS384 or HS512 for a `value`; RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA for a
    /// `public_key`. Egret uses the key for no other algorithm, whatever a token says. Example: `RS256`.
    #[schemars(with = "String")]
    pub(in crate::config) algorithm: Text,
    /// A key that the issuer has, too, usually a `{{named value}}`. Default: none. Example: `"{{issuer-key}}"`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) value: Option<Text>,
    /// How the value is written: `text`, `base64` or `hex`. Default: `text`. Example: `base64`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) encoding: Option<Text>,
    /// Path of a public key or a certificate (PEM). Egret reads it again when it changes. Default: none. Example:
    /// `/etc/egret/issuer.pem`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) public_key: Option<Text>,
}

/// A claim that a token must have.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct RequiredClaimFile {
    /// The name of the claim. Example: `scope`.
    #[schemars(with = "String")]
    pub(in crate::config) name: Text,
    /// Values that the claim must have. Default: any value. Example: `[orders.read]`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(in crate::config) values: Vec<Text>,
    /// Whether the claim must have `all` of the values or `any` of them. Default: `all`. Example: `any`.
    #[serde(default, rename = "match")]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) matching: Option<Text>,
    /// The text between several values of a claim that is a text. Default: none, the claim is one value. Example: `" "`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) separator: Option<Text>,
}

/// Policies of other gateways that something else stands for here, and what.
pub(in crate::config) const INSTEAD: &[(&str, &str)] = &[
    (
        "authentication-certificate",
        "set it for the API: backend: {tls: {client_certificate: {certificate: PATH, key: PATH}}}",
    ),
    (
        "authentication-managed-identity",
        "use authentication-oauth2 with a client and a secret of Entra ID (token_url, client_id, client_secret, scope)",
    ),
    ("get-authorization-context", "use authentication-oauth2: Egret fetches and renews a token of its own"),
    ("proxy", "write proxies: {NAME: {url: http://...}} at the top level, and egress: {proxy: NAME} in the API"),
    (
        "validate-azure-ad-token",
        "use validate-jwt: {openid_config: https://login.microsoftonline.com/TENANT/v2.0/.well-known/openid-configuration, audiences: [...]}",
    ),
];

/// The credentials of `Authorization: Basic`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct BasicFile {
    /// The user name, without a colon. Example: `acme`.
    #[schemars(with = "String")]
    pub(in crate::config) username: Text,
    /// The password, usually a `{{named value}}`. Example: `"{{partner-password}}"`.
    #[schemars(with = "String")]
    pub(in crate::config) password: Text,
}

/// Replaces a placeholder that the caller sends with a secret.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct ReplacePlaceholderFile {
    /// The text that callers send instead of the secret: at least 8 letters, digits, `-` and `_`. Example: `PARTNER-KEY-HERE`.
    #[schemars(with = "String")]
    pub(in crate::config) placeholder: Text,
    /// The secret, a `{{named value}}`. Example: `"{{partner-key}}"`.
    #[schemars(with = "String")]
    pub(in crate::config) value: Text,
    /// The places in which Egret replaces the placeholder: names of headers, `query` (all values of the query), `query.NAME` (those
    /// of one parameter) and `body` (which Egret reads as a whole, up to `max_body` bytes). Elsewhere the placeholder is sent as it
    /// is: a third party may repeat a field to its caller, like `Origin`. A secret of at least 6 bytes is masked in the head of the
    /// response, and in its body where a policy reads, buffers, stores or logs that; not in a body that is streamed or compressed.
    /// Example: `[Authorization]`.
    #[schemars(required, with = "Vec<String>", length(min = 1))]
    #[serde(default)]
    pub(in crate::config) r#in: Vec<Text>,
}
