use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, request, response};

use super::call::{Call, Step};
use super::template::MASK;

/// What was done with a request, for people: secrets are masked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// What of the API it was: a name, and the path as the API's owner has written it.
    pub operation: Option<String>,
    /// The parameters in its path.
    pub parameters: BTreeMap<String, String>,
    /// The subscription of its caller, and the product.
    pub subscription: Option<String>,
    /// What policies did, in their order.
    pub steps: Vec<Step>,
    /// What the third party was sent, if it was asked.
    pub sent: Option<Message>,
    /// What the caller was answered, if it was.
    pub answered: Option<Message>,
}

/// A request or an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// A method and a target, or a status.
    pub start: String,
    /// Its fields.
    pub headers: Vec<(String, String)>,
    /// Its body, if that is known and no secret.
    pub body: Option<Bytes>,
    /// Whether that is only the beginning.
    pub cut: bool,
}

impl Account {
    /// Of a call that was run, with its steps noted; whether the third party was asked.
    pub fn of(call: &mut Call<'_>, asked: bool) -> Self {
        let subscription = (!call.product.is_empty()).then(|| format!("{} of {}", call.subscription, call.product));
        let request_body = call.request_body.clone().filter(|_| !call.has_secret_body());
        let answered = call.response.as_ref().map(|head| Message::answer(head, call.response_body.clone()));
        Self {
            operation: call.operation.map(|found| format!("{} ({})", found.name, found.path)),
            parameters: call.parameters.iter().map(|(name, value)| (name.to_string(), value.clone())).collect(),
            subscription,
            steps: call.steps.take().unwrap_or_default(),
            sent: asked.then(|| Message::request(&call.request, &call.shown_target(), request_body)),
            answered,
        }
    }
}

impl Message {
    /// A request for this target.
    pub fn request(head: &request::Parts, target: &str, body: Option<Bytes>) -> Self {
        Self { start: format!("{} {target}", head.method), headers: fields(&head.headers), body, cut: false }
    }

    /// An answer.
    pub fn answer(head: &response::Parts, body: Option<Bytes>) -> Self {
        Self { start: head.status.to_string(), headers: fields(&head.headers), body, cut: false }
    }
}

fn fields(headers: &HeaderMap) -> Vec<(String, String)> {
    let value = |value: &HeaderValue| match value.is_sensitive() {
        true => MASK.to_owned(),
        false => String::from_utf8_lossy(value.as_bytes()).into_owned(),
    };
    headers.iter().map(|(name, field)| (name.to_string(), value(field))).collect()
}
