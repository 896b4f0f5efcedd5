//! AWS Signature Version 4, in the head of the request: "Create a signed AWS API request" in the IAM user guide.

mod written;

use std::borrow::Cow;
use std::sync::Arc;

use aws_lc_rs::{digest, hmac};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, percent_decode_str, percent_encode};

use crate::model::{Encoding, Reason, Template};
use crate::policy::engine::query::{ENCODED, pairs};
use crate::policy::engine::{
    Call, Change, Fault, Kind, Now, Outcome, Reads, Responds, Sections, Signature, Site, Traits, WhenReported, World,
    expressions, fields, template,
};

/// Signs the request with AWS Signature Version 4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsSigv4 {
    /// The region, like `eu-central-1`.
    pub region: Arc<str>,
    /// The service, like `s3`.
    pub service: Arc<str>,
    /// The access key, which is sent.
    pub access_key: Template,
    /// The secret key, which signs and is never sent.
    pub secret_key: Template,
    /// The session token of temporary credentials, which is sent.
    pub session_token: Option<Template>,
    /// Whether the body is not signed, and can be streamed.
    pub unsigned_payload: bool,
}

impl AwsSigv4 {
    fn templates(&self) -> impl Iterator<Item = &Template> {
        [&self.access_key, &self.secret_key].into_iter().chain(&self.session_token)
    }
}

impl Kind for AwsSigv4 {
    const NAME: &'static str = "authentication-aws-sigv4";
    const SECTIONS: Sections = Sections::REQUEST;

    fn traits(&self) -> Traits<'_> {
        Traits {
            expressions: expressions(self.templates()),
            conditions: Vec::new(),
            endpoints: Vec::new(),
            backend: None,
            reads: if self.unsigned_payload { Reads::Nothing } else { Reads::RequestBytes },
            reads_sent_request: false,
            waits_for_response: false,
            needs_every_request: false,
            changes: vec![Change::Header("authorization")],
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

impl Now for AwsSigv4 {
    fn run(&self, _: Site<'_>, call: &mut Call<'_>, _: &dyn World) -> Result<Outcome, Box<Fault>> {
        run(self, call).map(|()| Outcome::Continue)
    }
}

const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// The text that is signed in the place of a body that is not signed (S3).
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// The text by which a caller announces a body in unsigned chunks; Egret signs the same text (S3).
const UNSIGNED_CHUNKS: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

/// The characters that are encoded in a path.
const ENCODED_IN_PATHS: &AsciiSet = &ENCODED.remove(b'/');

/// Signs the request as it is now, with the time at which it arrived.
fn run(sign: &AwsSigv4, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let access_key = template::fill(&sign.access_key, call)?;
    let secret_key = template::bytes(&sign.secret_key, call)?;
    let session_token = sign.session_token.as_ref().map(|token| template::fill(token, call)).transpose()?;
    // There are services with names of its kind: s3-outposts, s3-object-lambda.
    let is_s3 = sign.service.starts_with("s3");
    let payload = payload(sign.unsigned_payload, call)?;
    let now: DateTime<Utc> = call.context.time.into();
    let time = now.format("%Y%m%dT%H%M%SZ").to_string();
    let host = host(call)?;
    let headers = &mut call.message.request.headers;
    // What the caller had signed itself.
    for name in [AUTHORIZATION, CONTENT_SHA256, DATE, SECURITY_TOKEN] {
        headers.remove(name);
    }
    headers.insert(DATE, fields::value(&DATE, &time)?);
    if is_s3 || [UNSIGNED, UNSIGNED_CHUNKS].contains(&&*payload) {
        headers.insert(CONTENT_SHA256, fields::value(&CONTENT_SHA256, &payload)?);
    }
    if let Some(token) = &session_token {
        let mut value = fields::value(&SECURITY_TOKEN, &token.text)?;
        value.set_sensitive(true);
        headers.insert(SECURITY_TOKEN, value);
    }
    let (path, query) = (call.message.request.uri.path(), call.message.request.uri.query().unwrap_or_default());
    let request = Canonical {
        method: call.message.request.method.as_str(),
        path: if is_s3 { stored_path(path) } else { normal_path(path) },
        query: canonical_query(query),
        fields: signed_fields(&call.message.request.headers, &host),
        payload: &payload,
    };
    let scope = [&time[..8], &sign.region, &sign.service, "aws4_request"];
    let signature = signature(&secret_key, &time, scope, &request);
    let value = format!(
        "AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={}, Signature={signature}",
        access_key.text,
        scope.join("/"),
        request.names(),
    );
    let shown = access_key.shown();
    let (scope, names) = (scope.join("/"), request.names());
    call.note(|| format!("{shown}/{scope} signs {names}"));
    let mut value = fields::value(&AUTHORIZATION, &value)?;
    value.set_sensitive(true);
    call.message.request.headers.insert(AUTHORIZATION, value);
    Ok(())
}

/// Returns what the signature covers.
fn signature_of(sign: &AwsSigv4) -> Signature<'_> {
    let headers = ["authorization", "content-md5", "content-type"].map(Change::Header);
    let mut covers = [Change::Host, Change::Method, Change::Path, Change::Query].to_vec();
    covers.extend(headers);
    covers.extend((!sign.unsigned_payload).then_some(Change::Body));
    Signature { by: AwsSigv4::NAME, at: None, covers, covers_headers_like: Some("x-amz-") }
}

/// Returns what is signed of the body.
///
/// # Errors
/// The caller has signed its body in chunks.
fn payload(unsigned: bool, call: &Call<'_>) -> Result<Cow<'static, str>, Box<Fault>> {
    // Those who store take it at its word: chunks that are not announced would be stored as they are framed.
    let said = call.message.request.headers.get(CONTENT_SHA256).map_or(&b""[..], HeaderValue::as_bytes);
    if said == UNSIGNED_CHUNKS.as_bytes() {
        return Ok(UNSIGNED_CHUNKS.into());
    }
    if said.starts_with(b"STREAMING-") {
        let message =
            "the caller has signed its body in chunks, with a key of its own: that is its client's to turn off";
        return Err(Fault::new(Reason::BodyEncoded, 400, message));
    }
    if unsigned {
        return Ok(UNSIGNED.into());
    }
    let body = call.message.request_body.as_ref().map_or(&b""[..], Bytes::as_ref);
    Ok(sha256(body).into())
}

/// Returns the host as it is sent. Where the target of the request names one, the Host field does not count (RFC 9112 §3.2.2).
///
/// # Errors
/// The server of the backend, or the path below which it is, is chosen only when the request is sent.
fn host(call: &Call<'_>) -> Result<String, Box<Fault>> {
    match call.message.backend.as_ref().map(|service| service.members.as_slice()) {
        None => {}
        Some([only]) if only.base.is_empty() => return Ok(only.endpoint.authority()),
        Some(_) => {
            let message = "what is signed must be known: a backend of one server, without a path of its own";
            return Err(Fault::new(Reason::Expression, 500, message));
        }
    }
    let target = call.message.request.uri.authority().map(|authority| authority.as_str().to_owned());
    let field = || call.message.request.headers.get(HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
    Ok(target.or_else(field).unwrap_or_else(|| call.context.host.as_str().to_owned()))
}

/// A request as it is signed.
struct Canonical<'a> {
    method: &'a str,
    path: String,
    query: String,
    /// The names and values of the signed header fields, in their order.
    fields: Vec<(String, String)>,
    payload: &'a str,
}

impl Canonical<'_> {
    fn names(&self) -> String {
        self.fields.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";")
    }

    fn text(&self) -> String {
        let fields: String = self.fields.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let (method, path, query, names, payload) = (self.method, &self.path, &self.query, self.names(), self.payload);
        format!("{method}\n{path}\n{query}\n{fields}\n{names}\n{payload}")
    }
}

fn signature(secret_key: &[u8], time: &str, scope: [&str; 4], request: &Canonical<'_>) -> String {
    let signed = format!("AWS4-HMAC-SHA256\n{time}\n{}\n{}", scope.join("/"), sha256(request.text().as_bytes()));
    let first = [b"AWS4", secret_key].concat();
    let key = scope.iter().fold(first, |key, part| keyed(&key, part));
    Encoding::Hex.encode(&keyed(&key, &signed))
}

fn keyed(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

fn sha256(bytes: &[u8]) -> String {
    Encoding::Hex.encode(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// Returns the header fields that are signed: not those that a connection on the way may change.
fn signed_fields(headers: &HeaderMap, host: &str) -> Vec<(String, String)> {
    let signed = |name: &&HeaderName| {
        let name = name.as_str();
        name.starts_with("x-amz-") || matches!(name, "content-md5" | "content-type")
    };
    let all = headers.keys().filter(signed).map(|name| {
        let values = headers.get_all(name).iter().map(|value| folded(&String::from_utf8_lossy(value.as_bytes())));
        (name.as_str().to_owned(), values.collect::<Vec<_>>().join(","))
    });
    let mut fields: Vec<_> = all.chain([("host".to_owned(), folded(host))]).collect();
    fields.sort_unstable();
    fields
}

/// Returns a value without spaces around it, and with one space in the place of several.
fn folded(value: &str) -> String {
    value.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Returns a path without empty segments and dot segments, encoded once more.
fn normal_path(path: &str) -> String {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    let ends = path.rsplit('/').next().is_some_and(|last| matches!(last, "" | "." | ".."));
    let path = segments.join("/");
    let end = if ends && !path.is_empty() { "/" } else { "" };
    percent_encode(format!("/{path}{end}").as_bytes(), ENCODED_IN_PATHS).to_string()
}

/// The name of what is stored in S3 is all of its path, whatever it looks like; encoded once.
fn stored_path(path: &str) -> String {
    let decoded: Vec<u8> = percent_decode_str(path).collect();
    percent_encode(&decoded, ENCODED_IN_PATHS).to_string()
}

/// Returns the names and values of a query, encoded, in their order. A plus is a plus: AWS takes only `%20` for a space, as botocore
/// and the other SDKs sign it.
fn canonical_query(query: &str) -> String {
    let encoded = |text: &str| {
        let decoded: Vec<u8> = percent_decode_str(text).collect();
        percent_encode(&decoded, ENCODED).to_string()
    };
    let mut all: Vec<_> = pairs(query)
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (encoded(name), encoded(value)))
        .collect();
    all.sort_unstable();
    all.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    const TIME: &str = "20150830T123600Z";
    const SCOPE: [&str; 4] = ["20150830", "us-east-1", "service", "aws4_request"];

    fn of_suite(method: &str, path: &str, query: &str, more: &[(&str, &str)], body: &[u8]) -> String {
        let given = [("host", "example.amazonaws.com"), ("x-amz-date", TIME)];
        let mut fields: Vec<_> =
            given.iter().chain(more).map(|(name, value)| ((*name).to_owned(), folded(value))).collect();
        fields.sort_unstable();
        let (path, query) = (normal_path(path), canonical_query(query));
        signature(SECRET, TIME, SCOPE, &Canonical { method, path, query, fields, payload: &sha256(body) })
    }

    /// Signatures of botocore 1.43 (`SigV4Auth`, with `params={"q": "a+b", "w": "c d"}`).
    #[test]
    fn a_plus_in_a_query_is_signed_as_botocore_signs_it() {
        for query in ["q=a%2Bb&w=c%20d", "q=a+b&w=c%20d", "w=c%20d&q=a+b"] {
            assert_eq!(
                of_suite("GET", "/", query, &[], b""),
                "cb6a567499bf84b6f18942d761b47d41dc8c4f77b144391619559e5d9ef7308b",
                "{query}"
            );
        }
        assert_ne!(
            of_suite("GET", "/", "q=a%20b&w=c%20d", &[], b""),
            "cb6a567499bf84b6f18942d761b47d41dc8c4f77b144391619559e5d9ef7308b",
            "a space is another value"
        );
    }

    /// AWS's own test suite (aws-sig-v4-test-suite), by the names of its cases.
    #[test]
    fn requests_of_the_suite_are_signed_as_in_it() {
        let form = ("content-type", "application/x-www-form-urlencoded");
        let form_with_charset = ("content-type", "application/x-www-form-urlencoded; charset=utf8");
        let vanilla = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
        let unreserved = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let all_unreserved = format!("{unreserved}={unreserved}");
        let no_fields: &[(&str, &str)] = &[];
        for (case, method, path, query, more, body, expected) in [
            ("get-vanilla", "GET", "/", "", no_fields, "", vanilla),
            ("get-relative", "GET", "/example/..", "", no_fields, "", vanilla),
            ("get-relative-relative", "GET", "/example1/example2/../..", "", no_fields, "", vanilla),
            ("get-slash", "GET", "//", "", no_fields, "", vanilla),
            ("get-slash-dot-slash", "GET", "/./", "", no_fields, "", vanilla),
            (
                "get-slash-pointless-dot",
                "GET",
                "/./example",
                "",
                no_fields,
                "",
                "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5",
            ),
            (
                "get-slashes",
                "GET",
                "//example//",
                "",
                no_fields,
                "",
                "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
            ),
            (
                "get-space",
                "GET",
                "/example space/",
                "",
                no_fields,
                "",
                "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
            ),
            (
                "get-utf8",
                "GET",
                "/ሴ",
                "",
                no_fields,
                "",
                "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
            ),
            (
                "get-vanilla-query-order-key-case",
                "GET",
                "/",
                "Param2=value2&Param1=value1",
                no_fields,
                "",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            (
                "get-vanilla-query-unreserved",
                "GET",
                "/",
                &all_unreserved,
                no_fields,
                "",
                "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
            ),
            (
                "get-vanilla-utf8-query",
                "GET",
                "/",
                "ሴ=bar",
                no_fields,
                "",
                "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
            ),
            (
                "get-header-key-duplicate",
                "GET",
                "/",
                "",
                &[("my-header1", "value2,value2,value1")],
                "",
                "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
            ),
            (
                "get-header-value-trim",
                "GET",
                "/",
                "",
                &[("my-header1", " value1"), ("my-header2", " \"a   b   c\"")],
                "",
                "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
            ),
            (
                "post-vanilla",
                "POST",
                "/",
                "",
                no_fields,
                "",
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                "post-vanilla-query",
                "POST",
                "/",
                "Param1=value1",
                no_fields,
                "",
                "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
            ),
            (
                "post-x-www-form-urlencoded",
                "POST",
                "/",
                "",
                &[form],
                "Param1=value1",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
            (
                "post-x-www-form-urlencoded-parameters",
                "POST",
                "/",
                "",
                &[form_with_charset],
                "Param1=value1",
                "1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe",
            ),
        ] {
            assert_eq!(of_suite(method, path, query, more, body.as_bytes()), expected, "{case}");
        }
    }

    /// The examples of S3's own documentation (`Authorization` header, transferring a payload in one chunk).
    #[test]
    fn what_is_stored_is_signed_as_s3_says() {
        let sign = |method, path, query, more: &[(&str, &str)], body: &[u8]| {
            let (time, payload) = ("20130524T000000Z", sha256(body));
            let given = [
                ("host", "examplebucket.s3.amazonaws.com"),
                ("x-amz-date", time),
                ("x-amz-content-sha256", payload.as_str()),
            ];
            let mut fields: Vec<_> =
                given.iter().chain(more).map(|(name, value)| ((*name).to_owned(), folded(value))).collect();
            fields.sort_unstable();
            let (path, query) = (stored_path(path), canonical_query(query));
            let request = Canonical { method, path, query, fields, payload: &payload };
            let secret = b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
            signature(secret, time, ["20130524", "us-east-1", "s3", "aws4_request"], &request)
        };
        assert_eq!(
            sign("GET", "/test.txt", "", &[("range", "bytes=0-9")], b""),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
        let dated = [("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")];
        assert_eq!(
            sign("PUT", "/test%24file.text", "", &dated, b"Welcome to Amazon S3."),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
        );
        assert_eq!(
            sign("GET", "/", "lifecycle", &[], b""),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
        );
        assert_eq!(
            sign("GET", "/", "max-keys=2&prefix=J", &[], b""),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
        );
    }

    #[test]
    fn paths_are_signed_as_the_service_reads_them() {
        assert_eq!(normal_path("/documents%20and%20settings/a$b"), "/documents%2520and%2520settings/a%24b");
        assert_eq!(stored_path("/documents%20and%20settings/../a$b//c"), "/documents%20and%20settings/../a%24b//c");
        assert_eq!(canonical_query("b=2&a=x%20y&a=%7e&flag"), "a=x%20y&a=~&b=2&flag=");
    }
}
