//! `authentication-oauth2` as it is written.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{AssertionKey, Grant, Oauth2, Proof};
use crate::model::{SIGNING, Signer};
use crate::syntax::{Form, Reader, Text, TlsFile, place};

/// The right by which Egret receives a token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Right {
    Client,
    Statement,
    User,
}

/// An access token for the gateway itself (OAuth 2.0).
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Oauth2File {
    /// The URL of the token endpoint. Example: `https://login.example/oauth2/token`.
    #[schemars(with = "String")]
    pub token_url: Text,
    /// The client id. Example: `egret`.
    #[schemars(with = "String")]
    pub client_id: Text,
    /// The client secret, usually a `{{named value}}`. Exactly one of `client_secret` and `private_key` is required. Default:
    /// none. Example: `"{{client-secret}}"`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub client_secret: Option<Text>,
    /// A private key in PEM, usually a `{{named value}}`, with which Egret signs an assertion instead of sending a secret (RFC
    /// 7523). Egret never sends it. Default: none. Example: `"{{client-key}}"`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub private_key: Option<Text>,
    /// The `kid` by which the server knows the private key. Default: none. Example: `2026-01`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub key_id: Option<Text>,
    /// The algorithm of the signature: RS256, PS256, ES256, ES384 or EdDSA. Default: RS256. Example: `ES256`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub algorithm: Option<Text>,
    /// The grant. `client_credentials`: the client's own. `jwt_bearer`: an assertion signed with `private_key`, as service
    /// accounts use. `refresh_token`: the one of a user who has consented. Default: `client_credentials`. Example:
    /// `refresh_token`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub grant: Option<Text>,
    /// For grant `jwt_bearer`: the subject of the assertion. Default: the client id. Example: `service@acme.example`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub subject: Option<Text>,
    /// For grant `refresh_token`: the first refresh token, usually a `{{named value}}`. If the server rotates it, Egret stores
    /// the new one in `state.directory` and uses that, until this value changes. Default: none. Example:
    /// `"{{refresh-token}}"`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub refresh_token: Option<Text>,
    /// The scope of the access token. Default: none. Example: `prices.read`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub scope: Option<Text>,
    /// The audience of the access token, where the server needs it. With grant `jwt_bearer` it is also the audience of the
    /// assertion, which otherwise is `token_url`. Default: none. Example: `https://api.partner.example`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub audience: Option<Text>,
    /// Where Egret sends client id and secret: `header` (Authorization: Basic) or `body`. Default: `header`. Example: `body`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub credentials_in: Option<Text>,
    /// The longest time to wait for a token. Default: 10s. Example: `5s`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub timeout: Option<Text>,
    /// TLS settings for the server.
    #[serde(default)]
    pub tls: Option<TlsFile>,
}

impl Form for Oauth2 {
    type File = Oauth2File;
    type Compiled = Self;
    const ABOUT: &'static str = "Sets `Authorization: Bearer` on the request, with an access token for the gateway itself (RFC 6749). Egret fetches one\n\
        token for all requests, and renews it before it expires and after a response with status 401.\n\
        Example: `{client_id: egret, client_secret: \"{{client-secret}}\", token_url: https://login.example/oauth2/token}`.";

    fn compile(written: &Spanned<Oauth2File>, reader: &mut dyn Reader) -> Option<Self> {
        let file = &written.value;
        let places = [("header", false), ("body", true)];
        let in_body = reader.one_of(file.credentials_in.as_ref(), "not a place for credentials", &places);
        let grants =
            [("client_credentials", Right::Client), ("jwt_bearer", Right::Statement), ("refresh_token", Right::User)];
        let right = reader.one_of(file.grant.as_ref(), "not a grant", &grants);
        let proof = proof(file, right, reader);
        let grant = match (right, &file.refresh_token) {
            (Right::Client, _) => Some(Grant::ClientCredentials),
            (Right::Statement, _) => {
                Some(Grant::JwtBearer(file.subject.as_ref().map(|subject| reader.template(subject))))
            }
            (Right::User, Some(token)) => Some(Grant::RefreshToken(reader.template(token))),
            (Right::User, None) => {
                let help = "add `refresh_token: \"{{named value}}\"`";
                reader.wrong(&file.token_url, "the refresh token is missing", help);
                None
            }
        };
        idle(file.refresh_token.as_ref().filter(|_| right != Right::User), "grant: refresh_token", reader);
        idle(file.subject.as_ref().filter(|_| right != Right::Statement), "grant: jwt_bearer", reader);
        let (endpoint, target) = reader.endpoint(&file.token_url, file.tls.as_ref())?;
        Some(Self {
            endpoint,
            target,
            client_id: reader.template(&file.client_id),
            proof: proof?,
            grant: grant?,
            scope: file.scope.as_ref().map(|scope| reader.template(scope)),
            audience: file.audience.as_ref().map(|audience| reader.template(audience)),
            in_body,
            timeout: reader.optional_duration(file.timeout.as_ref()).unwrap_or(Duration::from_secs(10)),
        })
    }
}

fn proof(file: &Oauth2File, right: Right, reader: &mut dyn Reader) -> Option<Proof> {
    if file.private_key.is_none() {
        idle(file.key_id.as_ref(), "private_key", reader);
        idle(file.algorithm.as_ref(), "private_key", reader);
    }
    match (&file.client_secret, &file.private_key) {
        (Some(secret), None) if right != Right::Statement => Some(Proof::Secret(reader.template(secret))),
        (None, Some(key)) => {
            let algorithm = reader.one_of(file.algorithm.as_ref(), "not an algorithm that Egret signs with", &SIGNING);
            let pem = reader.template(key);
            // As far as it is known now; a file may hold another one later.
            if reader.constant(&pem).is_some_and(|pem| Signer::read(&pem, algorithm).is_none()) {
                let help =
                    "name a private key in PEM (PKCS #8) of the kind that `algorithm` names: RSA, if it is not written";
                reader.wrong(key, format!("this is not a private key for {algorithm:?}"), help);
            }
            let id = file.key_id.as_ref().map(|id| reader.template(id));
            Some(Proof::Key(AssertionKey { pem, id, algorithm }))
        }
        (None, None) if right == Right::User => Some(Proof::None),
        _ => {
            let help = match right {
                Right::Client => "write exactly one of `client_secret` and `private_key`",
                Right::Statement => {
                    "write `private_key`, and no `client_secret`: the grant jwt_bearer needs a signature"
                }
                Right::User => "write `client_secret`, or `private_key`, or neither",
            };
            let rule = match right {
                Right::Client => "exactly one of `client_secret` and `private_key` is required",
                Right::Statement => "grant `jwt_bearer` needs `private_key` alone",
                Right::User => "`client_secret` and `private_key` exclude each other",
            };
            let keys = &["client_secret", "private_key"];
            reader.lacking(place(&file.client_id), rule.to_owned(), help.to_owned(), keys);
            None
        }
    }
}

/// Reports a key that has no effect.
fn idle(written: Option<&Text>, without: &str, reader: &mut dyn Reader) {
    if let Some(written) = written {
        let rule = format!("this has no effect without `{without}`");
        reader.wrong(written, rule, format!("add `{without}`, or remove this key"));
    }
}
