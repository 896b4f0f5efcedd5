use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::PAD;
use base64::engine::{DecodePaddingMode, GeneralPurpose};
use base64::prelude::BASE64_STANDARD;
use http::HeaderName;
use jsonwebtoken::Algorithm;

use super::Refusal;
use crate::model::{Endpoint, KeySet, KeySource, Template};

/// What proves to the third party who calls it, in a place of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Where it is.
    pub place: CredentialPlace,
    /// What it is.
    pub value: Template,
}

/// Where a request has a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialPlace {
    /// In this field of its head.
    Header(HeaderName),
    /// In this parameter of its query.
    QueryParameter(Arc<str>),
}

/// A signature of AWS, version 4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsSigv4 {
    /// Like `eu-central-1`.
    pub region: Arc<str>,
    /// Like `s3`.
    pub service: Arc<str>,
    /// Whose it is: sent.
    pub access_key: Template,
    /// What signs: never sent.
    pub secret_key: Template,
    /// Of temporary credentials: sent.
    pub session_token: Option<Template>,
    /// Whether the body is not signed, and can be streamed.
    pub unsigned_payload: bool,
}

impl AwsSigv4 {
    /// What has holes in it.
    pub fn templates(&self) -> Vec<&Template> {
        [&self.access_key, &self.secret_key].into_iter().chain(&self.session_token).collect()
    }
}

/// A signature with a key that the third party has, too (RFC 2104).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hmac {
    /// By which it is made.
    pub algorithm: HmacAlgorithm,
    /// What signs: never sent.
    pub key: SecretKey,
    /// What is signed.
    pub string: Template,
    /// How the signature is written.
    pub encoding: Encoding,
    /// Where it is.
    pub place: CredentialPlace,
    /// What is said before it and after it.
    pub around: [Template; 2],
    /// The field that says when, and how.
    pub time: Option<(HeaderName, TimeFormat)>,
}

impl Hmac {
    /// What has holes in it.
    pub fn templates(&self) -> Vec<&Template> {
        [&self.key.value, &self.string].into_iter().chain(&self.around).collect()
    }
}

/// What a signature is made by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the hashes'")]
pub enum HmacAlgorithm {
    Sha1,
    Sha256,
    Sha512,
}

/// A key that is used and never sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretKey {
    /// As written.
    pub value: Template,
    /// What its bytes are.
    pub encoding: Encoding,
}

/// How bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// RFC 4648 §4.
    Base64,
    /// In lower case.
    Hex,
    /// As they are.
    Text,
}

impl Encoding {
    /// The bytes, if they are written so; padding may be missing.
    pub fn decode(self, written: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Base64 => LENIENT.decode(written.trim_ascii()).ok(),
            Self::Hex => {
                let (pairs, []) = written.trim_ascii().as_chunks::<2>() else { return None };
                let digit = |digit: u8| char::from(digit).to_digit(16);
                let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? * 16 + digit(*low)?).ok();
                pairs.iter().map(byte).collect()
            }
            Self::Text => Some(written.to_vec()),
        }
    }

    /// The bytes, written so; as text, what is not UTF-8 in them is lost.
    pub fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Base64 => BASE64_STANDARD.encode(bytes),
            Self::Hex => bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
                // It cannot fail: it is a text.
                let _ = write!(text, "{byte:02x}");
                text
            }),
            Self::Text => String::from_utf8_lossy(bytes).into_owned(),
        }
    }
}

/// Whoever hands out a key may have left its padding out.
const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, PAD.with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// How a time is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeFormat {
    /// RFC 9110 §5.6.7: `Sun, 06 Nov 1994 08:49:37 GMT`.
    Http,
    /// RFC 3339, in seconds of UTC: `1994-11-06T08:49:37Z`.
    Iso8601,
    /// Seconds since the start of 1970.
    Unix,
    /// Milliseconds since the start of 1970.
    UnixMilliseconds,
}

/// Lets requests through whose token (RFC 7519) is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidateJwt {
    /// Where it is.
    pub token: TokenPlace,
    /// What its signature is checked with: any of these.
    pub keys: Vec<TokenKeys>,
    /// Whether a token without `exp` is refused.
    pub require_expiration: bool,
    /// How far the clocks of whoever made it and ours may be apart.
    pub clock_skew: Duration,
    /// Who may have made it; anybody, if there are none.
    pub issuers: Vec<Template>,
    /// Whom it may be for, any of these; anybody, if there are none.
    pub audiences: Vec<Template>,
    /// What else it must say.
    pub claims: Vec<RequiredClaim>,
    /// The variable that its claims go to.
    pub output: Option<Arc<str>>,
    /// What is answered.
    pub failed: Refusal,
}

impl ValidateJwt {
    /// Who gives keys.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        let sources = self.keys.iter().filter_map(|keys| match keys {
            TokenKeys::Public(set) => Some(&set.source),
            TokenKeys::Shared { .. } => None,
        });
        sources.flat_map(|source| match source {
            KeySource::Remote { endpoint, discovery, .. } => {
                let keys_at = discovery.as_ref().map(|discovery| &*discovery.keys_at);
                [Some(&**endpoint), keys_at].into_iter().flatten()
            }
            KeySource::Jwks(_) | KeySource::Pem { .. } => [None, None].into_iter().flatten(),
        })
    }

    /// What has holes in it.
    pub fn templates(&self) -> Vec<&Template> {
        let text = match &self.token {
            TokenPlace::Text(text) => Some(text),
            TokenPlace::Header { .. } | TokenPlace::QueryParameter(_) => None,
        };
        let keys = self.keys.iter().filter_map(|keys| match keys {
            TokenKeys::Shared { key, .. } => Some(&key.value),
            TokenKeys::Public(_) => None,
        });
        let claims = self.claims.iter().flat_map(|claim| &claim.values);
        text.into_iter().chain(keys).chain(&self.issuers).chain(&self.audiences).chain(claims).collect()
    }
}

/// Where a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenPlace {
    /// In a field of the head.
    Header {
        /// Which.
        name: HeaderName,
        /// What must be before it; if absent, what is before a space there is left out.
        scheme: Option<Arc<str>>,
    },
    /// In this parameter of the query.
    QueryParameter(Arc<str>),
    /// What this says.
    Text(Template),
}

/// What signatures of tokens are checked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenKeys {
    /// A key that whoever makes them has, too.
    Shared {
        /// The `kid` of its tokens.
        id: Option<Arc<str>>,
        /// Theirs: HS256, HS384 or HS512.
        algorithm: Algorithm,
        /// Itself.
        key: SecretKey,
    },
    /// Keys that nobody can sign with.
    Public(Arc<KeySet>),
}

/// What a token must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequiredClaim {
    /// The claim.
    pub name: Arc<str>,
    /// Its values; anything, if there are none.
    pub values: Vec<Template>,
    /// Whether one of them is enough.
    pub any: bool,
    /// What is between the values of a claim that is a text.
    pub separator: Option<Arc<str>>,
}

/// Puts a secret in the place of a text by which callers name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplacePlaceholder {
    /// What callers write.
    pub placeholder: Arc<str>,
    /// What the third party sees.
    pub value: Template,
    /// Where it is replaced; elsewhere it stays as it is.
    pub places: Vec<PlaceholderPlace>,
}

/// A place in which a placeholder is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlaceholderPlace {
    /// A header of the request.
    Header(HeaderName),
    /// The values of the query, or of this parameter in it.
    Query(Option<Arc<str>>),
    /// The body of the request.
    Body,
}

/// `Authorization: Basic`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basic {
    /// Who.
    pub username: Template,
    /// Proof.
    pub password: Template,
}
