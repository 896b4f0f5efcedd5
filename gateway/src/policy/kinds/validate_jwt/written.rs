//! `validate-jwt` as it is written.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::syntax::{Text, TlsFile};

/// Allows requests with a valid token (JWT, RFC 7519). The issuer (`iss`) of a token is one text; a list is refused.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ValidateJwtFile {
    /// The header that contains the token, with or without a scheme. At most one of `header`, `query_parameter` and `token` is
    /// allowed. Default: `Authorization`. Example: `X-Token`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub header: Option<Text>,
    /// The query parameter that contains the token. Default: none. Example: `access_token`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub query_parameter: Option<Text>,
    /// A template for the token. Default: none. Example: `'${request.headers["x-token"]}'`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub token: Option<Text>,
    /// The scheme that must stand before the token in the header. Default: any, or none. Example: `Bearer`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub require_scheme: Option<Text>,
    /// Keys for the signature. Default: none. Example: `[{algorithm: RS256, public_key: /etc/egret/issuer.pem}]`.
    #[serde(default)]
    #[schemars(with = "Vec<JwtKeyFile>")]
    pub keys: Vec<Spanned<JwtKeyFile>>,
    /// Path of a JWK set (RFC 7517) with more keys. Egret reads it again when it changes. Keys whose `use` or `key_ops` is not
    /// for verifying signatures are left out. Default: none. Example: `/etc/egret/issuer.jwks`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub jwks: Option<Text>,
    /// URL (https) of a JWK set with more keys: the `jwks_uri` of the issuer's OpenID configuration. Egret fetches it when it
    /// is first needed, every hour, and when a token names a key that it lacks (at most every 30s). Default: none. Example:
    /// `https://login.example/keys`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub jwks_url: Option<Text>,
    /// URL (https) of the issuer's OpenID configuration, which names its JWK set (`jwks_uri`). Egret fetches it as it does
    /// `jwks_url`. Without `issuers`, the URL must end in `/.well-known/openid-configuration`, and only tokens of the issuer
    /// before that are valid. Default: none. Example: `https://login.example/.well-known/openid-configuration`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub openid_config: Option<Text>,
    /// The server that `jwks_uri` may name, with its port if it is not 443. Egret does not use a JWK set on any other server.
    /// Default: the server of `openid_config`. Example: `keys.login.example`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub jwks_host: Option<Text>,
    /// TLS settings for these servers.
    #[serde(default)]
    pub tls: Option<TlsFile>,
    /// Whether a token without an expiration time (`exp`) is refused. Default: true.
    #[serde(default)]
    pub require_expiration: Option<bool>,
    /// How far the clocks of Egret and the issuer may differ. Default: 0s. Example: `30s`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub clock_skew: Option<Text>,
    /// Issuers (`iss`) whose tokens are valid. Default: the issuer of `openid_config`; without it, any. Example:
    /// `[https://login.example]`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub issuers: Vec<Text>,
    /// Audiences (`aud`), one of which the token must name. Default: any. Example: `[orders]`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub audiences: Vec<Text>,
    /// Claims that the token must have. Default: none. Example: `[{name: scope, values: [orders.read]}]`.
    #[serde(default)]
    pub required_claims: Vec<RequiredClaimFile>,
    /// The name of a variable that receives the claims: `variables.NAME.sub`. Default: none. Example: `token`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub output_variable: Option<Text>,
    /// The status of a refusal. Default: 401. Example: `403`.
    #[serde(default)]
    #[schemars(range(min = 400, max = 599))]
    pub failed_status: Option<u16>,
    /// The message of a refusal. Default: the reason. Example: `Sign in first`.
    #[serde(default)]
    pub failed_message: Option<String>,
}

/// A key for the signatures of tokens. It has exactly one of `value` and `public_key`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct JwtKeyFile {
    /// The key's `kid`. Default: none; Egret tries the key where no key has the token's `kid`. Example: `2026-01`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub id: Option<Text>,
    /// HS256, HS384 or HS512 for a `value`; RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA for a
    /// `public_key`. Egret uses the key for no other algorithm, whatever a token says. Example: `RS256`.
    #[schemars(with = "String")]
    pub algorithm: Text,
    /// A key that the issuer has, too, usually a `{{named value}}`. Default: none. Example: `"{{issuer-key}}"`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub value: Option<Text>,
    /// How the value is written: `text`, `base64` or `hex`. Default: `text`. Example: `base64`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub encoding: Option<Text>,
    /// Path of a public key or a certificate (PEM). Egret reads it again when it changes. Default: none. Example:
    /// `/etc/egret/issuer.pem`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub public_key: Option<Text>,
}

/// A claim that a token must have.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RequiredClaimFile {
    /// The name of the claim. Example: `scope`.
    #[schemars(with = "String")]
    pub name: Text,
    /// Values that the claim must have. Default: any value. Example: `[orders.read]`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub values: Vec<Text>,
    /// Whether the claim must have `all` of the values or `any` of them. Default: `all`. Example: `any`.
    #[serde(default, rename = "match")]
    #[schemars(with = "Option<String>")]
    pub matching: Option<Text>,
    /// The text between several values of a claim that is a text. Default: none, the claim is one value. Example: `" "`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub separator: Option<Text>,
}
