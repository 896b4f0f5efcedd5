use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::Text;
use crate::config::file::TlsFile;

/// A key of the owner's, in a header or in the query.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct ApiKeyFile {
    /// The header that it is in. This, or `query_parameter`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) header: Option<Text>,
    /// The parameter of the query that it is in.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) query_parameter: Option<Text>,
    /// The key, as a rule `{{named value}}`.
    #[schemars(with = "String")]
    pub(in crate::config) value: Text,
}

/// A signature of AWS, version 4, in `Authorization`. Signed are the method, the path, the query, the host, `Content-Type`,
/// `Content-MD5`, all `X-Amz-*` and the body.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct AwsSigv4File {
    /// Like eu-central-1.
    #[schemars(with = "String")]
    pub(in crate::config) region: Text,
    /// Like execute-api, or s3: whose paths are signed as they are, and whose requests say the hash of their body.
    #[schemars(with = "String")]
    pub(in crate::config) service: Text,
    /// The access key's id, as a rule `{{named value}}`.
    #[schemars(with = "String")]
    pub(in crate::config) access_key: Text,
    /// The secret access key, as a rule `{{named value}}`. It is never sent.
    #[schemars(with = "String")]
    pub(in crate::config) secret_key: Text,
    /// Of temporary credentials, as a rule `{{named value}}`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) session_token: Option<Text>,
    /// Whether the body is left out, and streamed, where the service allows that (s3 does). Default false: it is read as a
    /// whole, up to `max_body`.
    #[serde(default)]
    pub(in crate::config) unsigned_payload: bool,
}

/// A signature with a key that the third party has, too. It is made when this policy runs, with the time at which the request
/// came.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct HmacFile {
    /// `sha256` (default), `sha512` or `sha1`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) algorithm: Option<Text>,
    /// The key, as a rule `{{named value}}`. It is never sent: it may sign what is sent without TLS.
    #[schemars(with = "String")]
    pub(in crate::config) key: Text,
    /// How the key is written: `text` (default), `base64` or `hex`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) key_encoding: Option<Text>,
    /// What is signed, with expressions: `${int(now)}.${request.body_bytes}`. What policies before this one have set is
    /// signed as it is, secrets too.
    #[schemars(with = "String")]
    pub(in crate::config) string: Text,
    /// How the signature is written: `hex` (default) or `base64`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) encoding: Option<Text>,
    /// The header that the signature is in. This, or `query_parameter`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) header: Option<Text>,
    /// The parameter of the query that the signature is in.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) query_parameter: Option<Text>,
    /// What is said there; `{signature}` is the signature. Default: nothing else.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) value: Option<Text>,
    /// A header that is set to the time at which the request came, before anything is signed.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) time_header: Option<Text>,
    /// How: `http` (default: Sun, 06 Nov 1994 08:49:37 GMT), `iso8601` (1994-11-06T08:49:37Z), `unix` (seconds) or
    /// `unix_ms`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) time_format: Option<Text>,
}

/// Lets requests through whose token (JWT, RFC 7519) is valid.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct ValidateJwtFile {
    /// The header that it is in, perhaps after a scheme. One of `header` (default: Authorization), `query_parameter` and
    /// `token`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) header: Option<Text>,
    /// The parameter of the query that it is in.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) query_parameter: Option<Text>,
    /// A text that is the token, like `${request.headers["x-token"]}`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) token: Option<Text>,
    /// What must be before the token in the header, like Bearer. Default: anything.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) require_scheme: Option<Text>,
    /// Keys that its signature may be made with.
    #[serde(default)]
    #[schemars(with = "Vec<JwtKeyFile>")]
    pub(in crate::config) keys: Vec<Spanned<JwtKeyFile>>,
    /// Path of a JWK set with more of them; read again when it changes.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) jwks: Option<Text>,
    /// URL (https) of a JWK set with more of them: the `jwks_uri` of the issuer's OpenID configuration. It is asked for at the
    /// first need, when a token names a key that it does not have (every 30s at most), and every hour.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) jwks_url: Option<Text>,
    /// URL (https) of the issuer's OpenID configuration, which says where its JWK set is (`jwks_uri`): it is asked for as
    /// `jwks_url` is. Without `issuers` it must end in `/.well-known/openid-configuration`, and only tokens of the issuer before
    /// that are let through.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) openid_config: Option<Text>,
    /// The server that `jwks_uri` may name, with its port if it is not 443. Default: that of `openid_config`; a set elsewhere is
    /// not used.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) jwks_host: Option<Text>,
    /// TLS with these servers.
    #[serde(default)]
    pub(in crate::config) tls: Option<TlsFile>,
    /// Whether a token that does not say when it expires is refused. Default true.
    #[serde(default)]
    pub(in crate::config) require_expiration: Option<bool>,
    /// How far clocks may be apart. Default 0s.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) clock_skew: Option<Text>,
    /// Who may have made it (`iss`). Default: the issuer of `openid_config`; without one, anybody.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(in crate::config) issuers: Vec<Text>,
    /// Whom it may be for (`aud`), one of these. Default: anybody.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(in crate::config) audiences: Vec<Text>,
    /// What else it must say.
    #[serde(default)]
    pub(in crate::config) required_claims: Vec<RequiredClaimFile>,
    /// A variable that its claims go to: `variables.NAME.sub`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) output_variable: Option<Text>,
    /// What is answered. Default 401.
    #[serde(default)]
    #[schemars(range(min = 400, max = 599))]
    pub(in crate::config) failed_status: Option<u16>,
    /// In the answer.
    #[serde(default)]
    pub(in crate::config) failed_message: Option<String>,
}

/// A key that tokens are signed with. `value`, or `public_key`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct JwtKeyFile {
    /// Its `kid`. Default: it is tried where no key has the token's.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) id: Option<Text>,
    /// HS256, HS384 or HS512 for a `value`; RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA for a
    /// `public_key`. It is used for no other, whatever a token says.
    #[schemars(with = "String")]
    pub(in crate::config) algorithm: Text,
    /// A key that whoever makes the tokens has, too, as a rule `{{named value}}`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) value: Option<Text>,
    /// How the value is written: `text` (default), `base64` or `hex`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) encoding: Option<Text>,
    /// Path of a public key, or of a certificate (PEM); read again when it changes.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) public_key: Option<Text>,
}

/// A claim that a token must have.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct RequiredClaimFile {
    /// The claim.
    #[schemars(with = "String")]
    pub(in crate::config) name: Text,
    /// What it must say. Default: anything.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(in crate::config) values: Vec<Text>,
    /// Whether it must say `all` of these (default) or `any`.
    #[serde(default, rename = "match")]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) matching: Option<Text>,
    /// What is between the values of a claim that is a text, like a space or a comma. Default: it is one value.
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
        "authentication-oauth2: a token for a client and a secret of Entra ID (token_url, client_id, client_secret, scope)",
    ),
    ("get-authorization-context", "authentication-oauth2: a token for the gateway itself, fetched and renewed"),
    ("proxy", "it is how all of an API leaves: proxies: {NAME: {url: http://...}}, and egress: {proxy: NAME} there"),
    (
        "validate-azure-ad-token",
        "validate-jwt: {openid_config: https://login.microsoftonline.com/TENANT/v2.0/.well-known/openid-configuration, audiences: [...]}",
    ),
];

/// `Authorization: Basic`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct BasicFile {
    /// Who; without a colon.
    #[schemars(with = "String")]
    pub(in crate::config) username: Text,
    /// Proof, as a rule `{{named value}}`.
    #[schemars(with = "String")]
    pub(in crate::config) password: Text,
}

/// Puts a secret where the caller has written a placeholder.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct ReplacePlaceholderFile {
    /// What callers are configured with instead of the secret: at least 8 letters, digits, `-` and `_`.
    #[schemars(with = "String")]
    pub(in crate::config) placeholder: Text,
    /// `{{named value}}`.
    #[schemars(with = "String")]
    pub(in crate::config) value: Text,
}
