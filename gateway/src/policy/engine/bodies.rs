//! Whole bodies: how policies read and replace them. A body that is set is sent with its length; fields that described the old one
//! are removed.

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, TRAILER, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, StatusCode, response};

use super::call::Call;
use super::fault::Fault;
use super::side::Side;
use super::world::World;
use super::{charset, mask, template};
use crate::model::{Reason, Scanner, Syntax, Template};

/// The longest body that a replacement may make, as a multiple of what policies may read.
const MOST_GROWTH: usize = 4;

/// A body in which a text was replaced, and how often.
pub(in crate::policy) struct Replaced {
    pub(in crate::policy) body: Vec<u8>,
    pub(in crate::policy) times: usize,
    /// Whether a secret is in what was put in.
    pub(in crate::policy) is_secret: bool,
}

/// Returns the section's body with a template in the place of a text.
///
/// # Errors
/// An expression failed, or the body would become too long.
pub(in crate::policy) fn replaced(from: &str, to: &Template, call: &Call<'_>) -> Result<Replaced, Box<Fault>> {
    let (body, headers) = match call.side() {
        Side::Request => (&call.message.request_body, Some(&call.message.request.headers)),
        Side::Response => {
            (&call.message.response_body, call.message.response.as_ref().map(|response| &response.headers))
        }
    };
    let (from, body) = (from.as_bytes(), body.clone().unwrap_or_default());
    let most = call.context.max_body.saturating_mul(MOST_GROWTH);
    let mut scanner = Scanner::new(syntax(headers, &body));
    let mut outcome = Replaced { body: Vec::with_capacity(body.len()), times: 0, is_secret: false };
    let mut rest = &body[..];
    while let Some(at) = mask::find(rest, from).filter(|_| !from.is_empty()) {
        let (before, found) = rest.split_at(at);
        scanner.read(before);
        let filled = template::fill_at(to, scanner.clone(), call)?;
        if outcome.body.len() + at + filled.text.len() > most {
            let status = if call.side() == Side::Request { 413 } else { 502 };
            let message = format!("the body would have more than {most} bytes with what is put in");
            return Err(Fault::new(Reason::BodyTooLarge, status, message));
        }
        outcome.body.extend_from_slice(before);
        outcome.body.extend_from_slice(filled.text.as_bytes());
        scanner.read(filled.text.as_bytes());
        outcome.is_secret |= filled.is_secret();
        outcome.times += 1;
        rest = &found[from.len()..];
    }
    outcome.body.extend_from_slice(rest);
    Ok(outcome)
}

/// Returns what a body is written in: as its media type says, else as it begins. What begins like JSON is read as JSON by many
/// servers, whatever its type.
fn syntax(headers: Option<&HeaderMap>, body: &[u8]) -> Syntax {
    let kind = headers.and_then(|headers| headers.get(CONTENT_TYPE)?.to_str().ok()).and_then(Syntax::of_kind);
    kind.unwrap_or_else(|| Syntax::of_text(&String::from_utf8_lossy(&body[..body.len().min(1024)])))
}

/// Checks that policies can read a body as text: it is not compressed, and in no charset in which text hides from them.
///
/// # Errors
/// [`Reason::BodyEncoded`].
pub(in crate::policy) fn is_plain(side: Side, call: &Call<'_>) -> Result<(), Box<Fault>> {
    let headers = match side {
        Side::Request => Some(&call.message.request.headers),
        Side::Response => call.message.response.as_ref().map(|response| &response.headers),
    };
    let Some(headers) = headers else { return Ok(()) };
    if let Some(coding) = coding(headers) {
        let help = "set-header in inbound: {name: Accept-Encoding, value: identity}";
        return Err(Fault::new(Reason::BodyEncoded, 502, format!("the body is encoded ({coding}): {help}")));
    }
    match charset::other_than_utf8(headers).filter(|name| charset::hides_ascii(name)) {
        Some(name) => {
            let status = if side == Side::Request { 415 } else { 502 };
            Err(Fault::new(Reason::BodyEncoded, status, format!("the body is in {name}: policies read UTF-8")))
        }
        None => Ok(()),
    }
}

/// Returns whether a response has no body, whatever policies have made of it (RFC 9110 §6.4.1). Its head does not announce one then.
pub(in crate::policy) fn has_none(asks_for_head: bool, response: &mut response::Parts) -> bool {
    let bodiless = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&response.status);
    if response.status == StatusCode::NO_CONTENT {
        // RFC 9110 §8.6.
        for name in [CONTENT_LENGTH, TRANSFER_ENCODING] {
            response.headers.remove(name);
        }
    }
    bodiless || asks_for_head
}

/// Returns the coding of a compressed body; of several fields, one is enough.
pub(in crate::policy) fn coding(headers: &HeaderMap) -> Option<String> {
    let coding = headers.get_all(CONTENT_ENCODING).iter().find(|coding| *coding != "identity")?;
    Some(String::from_utf8_lossy(coding.as_bytes()).into_owned())
}

/// Puts a body in the place of the one that the section is about.
pub(in crate::policy) fn put(call: &mut Call<'_>, body: Bytes) {
    if let Some(headers) = call.headers() {
        describe(headers, body.len());
    }
    match call.side() {
        Side::Request => call.message.request_body = Some(body),
        Side::Response => call.message.response_body = Some(body),
    }
}

/// Describes another body, of this length, in the head.
pub(in crate::policy) fn describe(headers: &mut HeaderMap, length: usize) {
    headers.remove(CONTENT_ENCODING);
    describe_whole(headers, length);
}

/// Describes the same body, which is sent as a whole, in the head.
pub(in crate::policy) fn describe_whole(headers: &mut HeaderMap, length: usize) {
    for name in [TRANSFER_ENCODING, TRAILER, EXPECT] {
        headers.remove(name);
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
}

/// Reads a body to its end, if it is not there already.
pub(in crate::policy) async fn whole(side: Side, call: &mut Call<'_>, world: &mut dyn World) -> Result<(), Box<Fault>> {
    let known = match side {
        Side::Request => call.message.request_body.is_some(),
        Side::Response => call.message.response_body.is_some(),
    };
    if known {
        return Ok(());
    }
    let most = call.context.max_body;
    let bytes = world.body(side, most).await.map_err(|reason| broken(side, reason, most))?;
    match side {
        Side::Request => {
            if !bytes.is_empty() {
                describe_whole(&mut call.message.request.headers, bytes.len());
            }
            call.message.request_body = Some(bytes);
        }
        Side::Response => {
            let masked = if is_compressed(call) { None } else { mask::body(&bytes, &call.message.secrecy.sent) };
            put_response(call, masked.unwrap_or(bytes));
            keep_trailers(call, world);
        }
    }
    Ok(())
}

/// Masks the secrets that a third party repeats in a body that is there as a whole.
pub(in crate::policy) fn masked(call: &mut Call<'_>) {
    let body = call.message.response_body.as_ref().filter(|_| !is_compressed(call));
    if let Some(masked) = body.and_then(|body| mask::body(body, &call.message.secrecy.sent)) {
        put_response(call, masked);
    }
}

fn is_compressed(call: &Call<'_>) -> bool {
    call.message.response.as_ref().is_some_and(|response| coding(&response.headers).is_some())
}

/// Puts a body in the place of the third party's, which it is but for what is masked.
pub(in crate::policy) fn put_response(call: &mut Call<'_>, body: Bytes) {
    if let Some(response) = call.message.response.as_mut().filter(|_| !body.is_empty()) {
        describe_whole(&mut response.headers, body.len());
    }
    call.message.response_body = Some(body);
}
/// The trailers of a response whose body policies have read: an extension of its head, so that they go when another response
/// takes its place.
#[derive(Clone, Debug)]
pub struct Trailers(pub HeaderMap);

/// Keeps the trailers of the body that was just read, for the caller.
pub(in crate::policy) fn keep_trailers(call: &mut Call<'_>, world: &mut dyn World) {
    if let (Some(response), Some(trailers)) = (&mut call.message.response, world.trailers()) {
        response.extensions.insert(Trailers(trailers));
    }
}

/// Returns the failure of a request whose body could not be read.
pub(in crate::policy) fn broken(side: Side, reason: Reason, most: usize) -> Box<Fault> {
    let (status, whose) = match side {
        Side::Request => (413, "request's"),
        Side::Response => (502, "answer's"),
    };
    let message = match reason {
        Reason::BuffersFull => {
            let message = "no room for the body: the bodies of all requests, or of this caller's, take too much memory";
            return Fault::new(reason, 503, message);
        }
        Reason::BodyTooLarge => format!("the {whose} body has more than {most} bytes (max_body)"),
        other => format!("the {whose} body broke off: {other}"),
    };
    Fault::new(reason, status, message)
}
