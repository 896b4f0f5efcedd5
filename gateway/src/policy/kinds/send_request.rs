//! `send-request` and `send-one-way-request`.

pub(in crate::policy) mod written;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cel::Value;
use cel::objects::{Key, Map};
use http::Method;
use http::{HeaderMap, HeaderName, Request, Response, Uri, header};

use crate::model::{Endpoint, Pending, Reason, Template};
use crate::policy::engine::{
    Call, Fault, Kind, Outcome, Reads, Responds, Sections, Site, Timed, Traits, WhenReported, World, expressions,
    fields, paths, template,
};

/// Sends a request of its own, and stores the response in a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendRequest {
    /// The server.
    pub endpoint: Arc<Endpoint>,
    /// The path and query.
    pub target: Template,
    /// The method.
    pub method: Method,
    /// The header fields.
    pub headers: Vec<(Arc<str>, Template)>,
    /// The body.
    pub body: Template,
    /// Whether it begins as a copy of the caller's request: method, head and body.
    pub copy: bool,
    /// The longest wait for the whole response.
    pub timeout: Duration,
    /// The variable for the response: `status`, `headers` and `body`. Absent: nothing waits for the response.
    pub variable: Option<Arc<str>>,
    /// Whether a missing response is no failure: the variable is null then.
    pub ignore_error: bool,
}

impl SendRequest {
    /// Returns the templates of the request.
    pub(in crate::policy) fn templates(&self) -> impl Iterator<Item = &Template> {
        self.headers.iter().map(|(_, value)| value).chain([&self.target, &self.body])
    }
}

impl Kind for SendRequest {
    const NAME: &'static str = "send-request";
    const SECTIONS: Sections = Sections::ALL;

    fn name(&self) -> &'static str {
        if self.variable.is_some() { Self::NAME } else { "send-one-way-request" }
    }

    fn traits(&self) -> Traits<'_> {
        Traits {
            expressions: expressions(self.templates()),
            conditions: Vec::new(),
            endpoints: vec![&self.endpoint],
            backend: None,
            reads: if self.copy { Reads::RequestText } else { Reads::Nothing },
            reads_sent_request: self.copy,
            waits_for_response: false,
            needs_every_request: false,
            changes: Vec::new(),
            puts_secret: false,
            signs: None,
            responds: Responds::Never,
            counts_by: Vec::new(),
            described: None,
            names_files: true,
            when_reported: WhenReported::Withheld,
        }
    }
}

impl Timed for SendRequest {
    fn run<'a>(
        &'a self,
        _: Site<'a>,
        call: &'a mut Call<'_>,
        world: &'a mut dyn World,
    ) -> Pending<'a, Result<Outcome, Box<Fault>>> {
        Box::pin(async move { run(self, call, world).await.map(|()| Outcome::Continue) })
    }
}

/// Sends the request, and stores the response where the policy waits for it.
async fn run(request: &SendRequest, call: &mut Call<'_>, world: &dyn World) -> Result<(), Box<Fault>> {
    let asked = prepared(request, call)?;
    let Some(variable) = &request.variable else {
        world.send_away(&request.endpoint, asked, request.timeout);
        return Ok(());
    };
    let answer = world.fetch(&request.endpoint, asked, call.context.max_body, request.timeout).await;
    keep(request, variable, answer, call)
}

pub(in crate::policy) fn keep(
    request: &SendRequest,
    variable: &Arc<str>,
    answer: Result<Response<Bytes>, Reason>,
    call: &mut Call<'_>,
) -> Result<(), Box<Fault>> {
    match answer {
        Ok(answer) => {
            call.note(|| format!("{} answered {}", request.endpoint, answer.status()));
            call.message.variables.push((Arc::clone(variable), described(&answer)));
            Ok(())
        }
        Err(reason) if request.ignore_error => {
            call.note(|| format!("no answer of {}: {reason}", request.endpoint));
            nothing(request, call);
            Ok(())
        }
        Err(reason) => Err(unanswered(&request.endpoint, reason)),
    }
}

pub(in crate::policy) fn nothing(request: &SendRequest, call: &mut Call<'_>) {
    call.message.variables.extend(request.variable.iter().map(|variable| (Arc::clone(variable), Value::Null)));
}

/// Returns the failure of a request to which a server gave no response.
pub(in crate::policy) fn unanswered(endpoint: &Endpoint, reason: Reason) -> Box<Fault> {
    let status = if reason == Reason::UpstreamTimeout { 504 } else { 502 };
    Fault::new(reason, status, format!("no answer of {endpoint}: {reason}"))
}

/// Returns the request as it is sent.
pub(in crate::policy) fn prepared(request: &SendRequest, call: &mut Call<'_>) -> Result<Request<Bytes>, Box<Fault>> {
    let own = call.secrets_for(&request.endpoint);
    let filled = filled(request, call);
    call.message.secrecy.allowed = own;
    filled
}

fn filled(request: &SendRequest, call: &mut Call<'_>) -> Result<Request<Bytes>, Box<Fault>> {
    let target = template::fill(&request.target, call)?;
    let body = template::fill(&request.body, call)?;
    call.note(|| format!("{} {}{}", request.method, request.endpoint, target.shown()));
    let path = target.text.split('?').next().unwrap_or_default();
    if request.target.expressions().next().is_some() && !paths::stays_below(path) {
        return Err(paths::refused(format!("a dot segment would be in what is asked of {}", request.endpoint)));
    }
    let uri = Some(&*target.text).filter(|target| !target.contains('#')).and_then(|target| Uri::try_from(target).ok());
    let uri = uri.ok_or_else(|| {
        Fault::new(Reason::Expression, 500, format!("what would be asked of {} is not a valid path", request.endpoint))
    })?;
    let body = Bytes::from(body.text.into_owned());
    let mut asked = Request::new(body);
    *asked.method_mut() = request.method.clone();
    if request.copy {
        *asked.method_mut() = call.message.request.method.clone();
        *asked.headers_mut() = copied(&call.message.request.headers);
        if asked.body().is_empty() && call.message.secrecy.body {
            let message = format!("a secret is in the body, which is not for {}: add `body`", request.endpoint);
            return Err(Fault::new(Reason::Expression, 500, message));
        }
        if asked.body().is_empty() {
            *asked.body_mut() = call.message.request_body.clone().unwrap_or_default();
        }
    }
    *asked.uri_mut() = uri;
    for (name, value) in &request.headers {
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { continue };
        let filled = template::fill(value, call)?;
        let mut value = fields::value(&name, &filled.text)?;
        value.set_sensitive(filled.is_secret());
        asked.headers_mut().insert(name, value);
    }
    Ok(asked)
}

/// Returns the header fields without secrets, and without those about the connection, the length of the body or the third party's name.
fn copied(headers: &HeaderMap) -> HeaderMap {
    const OWN: [HeaderName; 6] = [
        header::HOST,
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::EXPECT,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    let kept = headers.iter().filter(|(name, value)| !OWN.contains(name) && !value.is_sensitive());
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Returns the response for expressions: `status`, `headers` and `body`.
fn described(answer: &Response<Bytes>) -> Value {
    let text = |text: &str| Key::String(Arc::new(text.to_owned()));
    let mut headers: HashMap<Key, Value> = HashMap::new();
    for name in answer.headers().keys() {
        let values = answer.headers().get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        let joined = values.collect::<Vec<_>>().join(", ");
        headers.insert(text(name.as_str()), Value::String(Arc::new(joined)));
    }
    let body = String::from_utf8_lossy(answer.body()).into_owned();
    let fields = HashMap::from([
        (text("status"), Value::Int(answer.status().as_u16().into())),
        (text("headers"), Value::Map(Map { map: Arc::new(headers) })),
        (text("body"), Value::String(Arc::new(body))),
    ]);
    Value::Map(Map { map: Arc::new(fields) })
}
