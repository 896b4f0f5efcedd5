pub(super) mod written;

use std::time::SystemTime;

use aws_lc_rs::hmac;
use chrono::{DateTime, SecondsFormat, Utc};
use http::HeaderName;

use super::authentication_api_key::put;
use crate::model::{CredentialPlace, Encoding, SecretKey, Template};
use crate::policy::engine::{
    Call, Change, Fault, Kind, Now, Outcome, Reads, Responds, Sections, Signature, Site, Traits, WhenReported, World,
    expressions, fields, template,
};

/// Signs the request with a key that the third party has, too (RFC 2104).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hmac {
    /// The hash function.
    pub algorithm: HmacAlgorithm,
    /// The key, which signs and is never sent.
    pub key: SecretKey,
    /// The text that is signed.
    pub string: Template,
    /// How the signature is encoded.
    pub encoding: Encoding,
    /// Where the signature stands in the request.
    pub place: CredentialPlace,
    /// The texts before and after the signature.
    pub around: [Template; 2],
    /// The header field that carries the time of the signature, and how the time is written.
    pub time: Option<(HeaderName, TimeFormat)>,
}

impl Hmac {
    fn templates(&self) -> impl Iterator<Item = &Template> {
        [&self.key.value, &self.string].into_iter().chain(&self.around)
    }
}

/// The hash function of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the hashes'")]
pub enum HmacAlgorithm {
    Sha1,
    Sha256,
    Sha512,
}

/// How the time of a signature is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeFormat {
    /// RFC 9110 §5.6.7: `Sun, 06 Nov 1994 08:49:37 GMT`.
    Http,
    /// RFC 3339: `1994-11-06T08:49:37Z`.
    Iso8601,
    /// The seconds since 1970.
    Unix,
    /// The milliseconds since 1970.
    UnixMilliseconds,
}

impl Kind for Hmac {
    const NAME: &'static str = "authentication-hmac";
    const SECTIONS: Sections = Sections::REQUEST;

    fn traits(&self) -> Traits<'_> {
        Traits {
            expressions: expressions(self.templates()),
            conditions: Vec::new(),
            endpoints: Vec::new(),
            backend: None,
            reads: Reads::Nothing,
            reads_sent_request: false,
            waits_for_response: false,
            needs_every_request: false,
            changes: own_fields(self),
            puts_secret: false,
            signs: Some(signature_of(self)),
            responds: Responds::Never,
            counts_by: Vec::new(),
            described: None,
            names_files: false,
            when_reported: WhenReported::Evaluated,
        }
    }
}

impl Now for Hmac {
    fn run(&self, _: Site<'_>, call: &mut Call<'_>, _: &dyn World) -> Result<Outcome, Box<Fault>> {
        run(self, call).map(|()| Outcome::Continue)
    }
}

/// Signs the text of the policy (RFC 2104). The key is not sent, so TLS is not needed for it.
fn run(sign: &Hmac, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    if let Some((name, format)) = &sign.time {
        let time = written(call.context.time, *format);
        call.note(|| format!("{name}: {time}"));
        call.message.request.headers.insert(name, fields::value(name, &time)?);
    }
    let key = template::key(&sign.key, call)?;
    let signed = template::bytes(&sign.string, call)?;
    call.note(|| format!("{} bytes are signed", signed.len()));
    let signature = sign.encoding.encode(signature(sign.algorithm, &key, &signed).as_ref());
    let [before, after] = &sign.around;
    let value = format!("{}{signature}{}", template::fill(before, call)?.text, template::fill(after, call)?.text);
    put(&sign.place, &value, call)
}

/// Returns the changes that it makes in the request.
fn own_fields(sign: &Hmac) -> Vec<Change<'_>> {
    let time = sign.time.as_ref().map(|(name, _)| Change::Header(name.as_str()));
    std::iter::once(Change::of(&sign.place)).chain(time).collect()
}

/// Returns what the signature covers: its own fields, and what the signed text reads of the request.
fn signature_of(sign: &Hmac) -> Signature<'_> {
    let own = own_fields(sign).into_iter().filter(|change| matches!(change, Change::Header(_)));
    let read = sign.string.expressions().flat_map(|expression| &*expression.reads);
    let read = read.filter(|read| &*read.root == "request").filter_map(|read| match (&*read.field, &read.entry) {
        ("body" | "body_bytes", _) => Some(Change::Body),
        ("headers", Some(name)) => Some(Change::Header(name)),
        ("host", _) => Some(Change::Host),
        ("method", _) => Some(Change::Method),
        ("path", _) => Some(Change::Path),
        ("query" | "query_string", _) => Some(Change::Query),
        _ => None,
    });
    Signature { by: Hmac::NAME, at: Some(&sign.place), covers: own.chain(read).collect(), covers_headers_like: None }
}

fn signature(algorithm: HmacAlgorithm, key: &[u8], signed: &[u8]) -> hmac::Tag {
    let algorithm = match algorithm {
        HmacAlgorithm::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        HmacAlgorithm::Sha256 => hmac::HMAC_SHA256,
        HmacAlgorithm::Sha512 => hmac::HMAC_SHA512,
    };
    hmac::sign(&hmac::Key::new(algorithm, key), signed)
}

fn written(time: SystemTime, format: TimeFormat) -> String {
    let time: DateTime<Utc> = time.into();
    match format {
        TimeFormat::Http => time.format("%a, %d %b %Y %H:%M:%S GMT").to_string(),
        TimeFormat::Iso8601 => time.to_rfc3339_opts(SecondsFormat::Secs, true),
        TimeFormat::Unix => time.timestamp().to_string(),
        TimeFormat::UnixMilliseconds => time.timestamp_millis().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::model::Encoding;

    /// RFC 4231 §4.3, RFC 2202 §3.
    #[test]
    fn signatures_are_those_of_the_rfcs() {
        let sign =
            |algorithm| Encoding::Hex.encode(signature(algorithm, b"Jefe", b"what do ya want for nothing?").as_ref());
        assert_eq!(sign(HmacAlgorithm::Sha1), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        assert_eq!(sign(HmacAlgorithm::Sha256), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        assert!(
            sign(HmacAlgorithm::Sha512).starts_with("164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554")
        );
    }

    /// RFC 9110 §5.6.7.
    #[test]
    fn times_are_written_as_partners_want_them() {
        let time = UNIX_EPOCH + Duration::from_millis(784_111_777_250);
        assert_eq!(written(time, TimeFormat::Http), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(written(time, TimeFormat::Iso8601), "1994-11-06T08:49:37Z");
        assert_eq!(written(time, TimeFormat::Unix), "784111777");
        assert_eq!(written(time, TimeFormat::UnixMilliseconds), "784111777250");
    }
}
