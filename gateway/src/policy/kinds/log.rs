//! `log`: a request or a response in the access log, with secrets masked.

mod written;

use std::borrow::Cow;

use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::model::{Logged, LoggedBody, Redact, Template, Told};
use crate::policy::engine::json::{self, Json};
use crate::policy::engine::{
    Call, Fault, Kind, MASK, Now, Outcome, Peeked, Reads, Responds, Sections, Side, Site, Traits, Want, WhenReported,
    World, bodies, expressions, mask, template,
};

/// Writes the request or the response to the access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// A message beside it.
    pub message: Option<Template>,
    /// Whether the body is written, too.
    pub body: bool,
    /// The most bytes of the body that are written.
    pub max_bytes: usize,
    /// What is masked, beside what always is.
    pub redact: Redact,
}

impl Kind for Log {
    const NAME: &'static str = "log";
    const SECTIONS: Sections = Sections::ALL;

    fn traits(&self) -> Traits<'_> {
        Traits {
            expressions: expressions(&self.message),
            conditions: Vec::new(),
            endpoints: Vec::new(),
            backend: None,
            reads: Reads::AsTheMessageSays,
            reads_sent_request: true,
            waits_for_response: false,
            needs_every_request: false,
            changes: Vec::new(),
            puts_secret: false,
            signs: None,
            responds: Responds::Never,
            counts_by: Vec::new(),
            described: None,
            names_files: false,
            when_reported: WhenReported::Evaluated,
        }
    }

    fn wants(&self, call: &Call<'_>) -> Want {
        if reads_request(self, call) { Want::Request } else { looks_at(self, call).map_or(Want::Nothing, Want::Peek) }
    }
}

impl Now for Log {
    fn run(&self, site: Site<'_>, call: &mut Call<'_>, _: &dyn World) -> Result<Outcome, Box<Fault>> {
        run(self, site, call).map(|()| Outcome::Continue)
    }
}

/// The header fields that are always masked, beside those that are marked as secret.
const ALWAYS: [HeaderName; 5] =
    [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, SET_COOKIE, HeaderName::from_static("x-api-key")];

/// Writes the message that the section is about to the log. Of a response whose body was not read, it writes the beginning.
fn run(log: &Log, site: Site<'_>, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let message = log.message.as_ref().map(|message| template::fill(message, call)).transpose()?;
    let message = message.map(|filled| masked(filled.shown(), &log.redact).into_owned());
    let target = format!("{}{}", call.context.host, call.message.shown_path());
    let headers = headers_of(call).map(|headers| shown(headers, &log.redact)).unwrap_or_default();
    let status = call.message.response.as_ref().filter(|_| call.side() == Side::Response);
    let logged = Logged {
        section: call.context.section,
        id: site.id.cloned(),
        message,
        method: call.message.request.method.to_string(),
        target: masked(&target, &log.redact).into_owned(),
        status: status.map(|response| response.status.as_u16()),
        headers,
        body: log.body.then(|| body(log, call)),
    };
    call.note(|| match &logged.body {
        None => "its head".to_owned(),
        Some(Ok(body)) => format!("its head, and {} bytes of its body", body.text.len()),
        Some(Err(why)) => format!("its head; not its body: {why}"),
    });
    call.message.peeked = None;
    call.effects.told.push(Told::Log(Box::new(logged)));
    Ok(())
}

/// Returns whether the body of the request is read as a whole first.
fn reads_request(log: &Log, call: &Call<'_>) -> bool {
    // When the answer has come, it was sent.
    log.body && call.side() == Side::Request && call.message.response.is_none() && encoding(call).is_none()
}

/// Returns how many bytes of the response's body are read first, where it was not read.
fn looks_at(log: &Log, call: &Call<'_>) -> Option<usize> {
    let missing = call.side() == Side::Response && call.message.response_body.is_none() && encoding(call).is_none();
    (log.body && missing).then_some(if log.redact.looks_at_bodies() { call.context.max_body } else { log.max_bytes })
}

fn headers_of<'a>(call: &'a Call<'_>) -> Option<&'a HeaderMap> {
    match call.side() {
        Side::Request => Some(&call.message.request.headers),
        Side::Response => call.message.response.as_ref().map(|response| &response.headers),
    }
}

fn encoding(call: &Call<'_>) -> Option<String> {
    headers_of(call).and_then(bodies::coding)
}

fn body(log: &Log, call: &Call<'_>) -> Result<LoggedBody, String> {
    if let Some(coding) = encoding(call) {
        return Err(format!("it is encoded ({coding})"));
    }
    let there = match call.side() {
        Side::Request if call.message.secrecy.body => return Err("there is a secret in it".to_owned()),
        Side::Request => call.message.request_body.as_ref(),
        Side::Response => call.message.response_body.as_ref(),
    };
    let (bytes, whole) = match (there, &call.message.peeked) {
        (Some(bytes), _) => (bytes, true),
        (None, Some(Peeked { bytes, whole })) => (bytes, *whole),
        (None, None) => return Err("it is gone: this comes after the request was sent".to_owned()),
    };
    let masked_bytes = mask::body(bytes, &call.message.secrecy.sent);
    let text = String::from_utf8_lossy(masked_bytes.as_ref().unwrap_or(bytes));
    if !log.redact.looks_at_bodies() || text.is_empty() {
        return Ok(cut(text, log.max_bytes, whole));
    }
    if !whole {
        return Err(format!("it has more than {} bytes (max_body): nothing could be masked", call.context.max_body));
    }
    let text = if log.redact.json.is_empty() {
        text
    } else {
        let mut json = json::parse(text.as_bytes()).map_err(|_| "it is no JSON: nothing could be masked".to_owned())?;
        log.redact.json.iter().for_each(|place| mask(&mut json, place));
        Cow::Owned(json.to_string())
    };
    Ok(cut(masked(&text, &log.redact), log.max_bytes, true))
}

fn cut(text: Cow<'_, str>, most: usize, whole: bool) -> LoggedBody {
    let end = text.floor_char_boundary(most);
    LoggedBody { text: text[..end].to_owned(), cut: !whole || end < text.len() }
}

/// Masks the value at a place; `*` stands for each part.
fn mask(json: &mut Json, place: &[impl AsRef<str>]) {
    let Some((name, rest)) = place.split_first() else {
        *json = Json::Text(MASK.to_owned());
        return;
    };
    match (json, name.as_ref()) {
        (Json::List(parts), "*") => parts.iter_mut().for_each(|part| mask(part, rest)),
        (Json::List(parts), index) => {
            let part = index.parse::<usize>().ok().and_then(|index| parts.get_mut(index));
            part.into_iter().for_each(|part| mask(part, rest));
        }
        (Json::Object(parts), name) => {
            let fitting = parts.iter_mut().filter(|(key, _)| name == "*" || key == name);
            fitting.for_each(|(_, part)| mask(part, rest));
        }
        _ => {}
    }
}

fn shown(headers: &HeaderMap, redact: &Redact) -> Vec<(String, String)> {
    let value = |name: &HeaderName, value: &HeaderValue| {
        if value.is_sensitive() || ALWAYS.contains(name) || redact.headers.contains(name) {
            return MASK.to_owned();
        }
        masked(&String::from_utf8_lossy(value.as_bytes()), redact).into_owned()
    };
    headers.iter().map(|(name, field)| (name.to_string(), value(name, field))).collect()
}

fn masked<'a>(text: &'a str, redact: &Redact) -> Cow<'a, str> {
    redact.text.iter().fold(Cow::Borrowed(text), |text, pattern| {
        let replaced = match pattern.0.replace_all(&text, MASK) {
            Cow::Borrowed(_) => None,
            Cow::Owned(replaced) => Some(replaced),
        };
        replaced.map_or(text, Cow::Owned)
    })
}

#[cfg(test)]
mod tests {
    use super::mask;
    use crate::policy::engine::json;

    #[test]
    fn places_are_masked_wherever_they_are() {
        let masked = |places: &[&[&str]]| {
            let text =
                r#"{"card":{"number":"4111","*":1},"items":[{"price":1.50},{"price":{"net":18446744073709551616}},3]}"#;
            let mut json = json::parse(text.as_bytes()).unwrap();
            places.iter().for_each(|place| mask(&mut json, place));
            json.to_string()
        };
        let rest = r#""items":[{"price":1.50},{"price":{"net":18446744073709551616}},3]}"#;
        assert_eq!(masked(&[&["card", "number"]]), format!(r#"{{"card":{{"number":"***","*":1}},{rest}"#));
        assert_eq!(masked(&[&["card", "*"]]), format!(r#"{{"card":{{"number":"***","*":"***"}},{rest}"#));
        assert_eq!(
            masked(&[&["items", "*", "price"]]),
            r#"{"card":{"number":"4111","*":1},"items":[{"price":"***"},{"price":"***"},3]}"#
        );
        assert_eq!(
            masked(&[&["items", "1", "price", "net"]]),
            r#"{"card":{"number":"4111","*":1},"items":[{"price":1.50},{"price":{"net":"***"}},3]}"#
        );
        assert_eq!(masked(&[&["none"], &["items", "9"], &["items", "price"]]), masked(&[]));
    }
}
