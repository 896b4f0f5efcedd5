use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, request, response};

use super::call::Call;
use super::effects::Step;
use super::secrecy::MASK;

/// An account of what was done with a request, for people: secrets are masked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The operation of the API: its name, and its path as the API's owner has written it.
    pub operation: Option<String>,
    /// The parameters in the path of the request.
    pub parameters: BTreeMap<String, String>,
    /// The subscription of its caller, and the product.
    pub subscription: Option<String>,
    /// What the policies did, in their order.
    pub steps: Vec<Step>,
    /// The request that the third party received, if it received one.
    pub sent: Option<Recorded>,
    /// The response that the caller received, if it received one.
    pub answered: Option<Recorded>,
}

/// A request or a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// A method and a target, or a status.
    pub start: String,
    /// The header fields.
    pub headers: Vec<(String, String)>,
    /// The body, where it is known and no secret is in it.
    pub body: Option<Bytes>,
    /// Whether this is only the beginning of the body.
    pub cut: bool,
}

impl Account {
    /// Returns the account of a call whose policies have run; `asked` says whether the request was forwarded.
    pub fn of(call: &mut Call<'_>, asked: bool) -> Self {
        let subscription = (!call.context.product.is_empty())
            .then(|| format!("{} of {}", call.context.subscription, call.context.product));
        let request_body = call.message.request_body.clone().filter(|_| !call.message.secrecy.body);
        let answered =
            call.message.response.as_ref().map(|head| Recorded::answer(head, call.message.response_body.clone()));
        Self {
            operation: call.context.operation.map(|found| format!("{} ({})", found.name, found.path)),
            parameters: call.context.parameters.iter().map(|(name, value)| (name.to_string(), value.clone())).collect(),
            subscription,
            steps: call.effects.steps.take().unwrap_or_default(),
            sent: asked.then(|| Recorded::request(&call.message.request, &call.message.shown_target(), request_body)),
            answered,
        }
    }
}

impl Recorded {
    /// Returns a request for this target.
    pub fn request(head: &request::Parts, target: &str, body: Option<Bytes>) -> Self {
        Self { start: format!("{} {target}", head.method), headers: fields(&head.headers), body, cut: false }
    }

    /// Returns a response.
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
