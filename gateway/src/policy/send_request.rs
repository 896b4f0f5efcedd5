//! `send-request`, `send-one-way-request`, and several at once: `wait`.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use cel::Value;
use cel::objects::{Key, Map};
use futures_util::future::{join_all, select_ok};
use http::{HeaderMap, HeaderName, Request, Response, Uri, header};

use super::call::{Call, Fault};
use super::world::World;
use super::{paths, set_header, template};
use crate::model::{Endpoint, Reason, SendRequest, Wait};

/// Sends it, and keeps the answer where somebody waits for it.
pub(super) async fn run(request: &SendRequest, call: &mut Call<'_>, world: &dyn World) -> Result<(), Box<Fault>> {
    let asked = prepared(request, call)?;
    let Some(variable) = &request.variable else {
        world.send_away(&request.endpoint, asked, request.timeout);
        return Ok(());
    };
    let answer = world.fetch(&request.endpoint, asked, call.max_body, request.timeout).await;
    keep(request, variable, answer, call)
}

/// Sends all of them at once.
pub(super) async fn wait(wait: &Wait, call: &mut Call<'_>, world: &dyn World) -> Result<(), Box<Fault>> {
    let mut sent = Vec::new();
    for request in &wait.requests {
        let asked = prepared(request, call)?;
        let answer = world.fetch(&request.endpoint, asked, call.max_body, request.timeout);
        sent.push(Box::pin(async move { answer.await.map(|answer| (request, answer)).map_err(|why| (request, why)) }));
    }
    let answered = if wait.any {
        // Those that are given up leave null.
        for request in &wait.requests {
            nothing(request, call);
        }
        vec![select_ok(sent).await.map(|(first, _)| first)]
    } else {
        join_all(sent).await
    };
    for outcome in answered {
        let (request, answer) = match outcome {
            Ok((request, answer)) => (request, Ok(answer)),
            Err((request, why)) => (request, Err(why)),
        };
        if let Some(variable) = &request.variable {
            keep(request, variable, answer, call)?;
        }
    }
    Ok(())
}

fn keep(
    request: &SendRequest,
    variable: &Arc<str>,
    answer: Result<Response<Bytes>, Reason>,
    call: &mut Call<'_>,
) -> Result<(), Box<Fault>> {
    match answer {
        Ok(answer) => {
            call.note(|| format!("{} answered {}", request.endpoint, answer.status()));
            call.variables.push((Arc::clone(variable), described(&answer)));
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

fn nothing(request: &SendRequest, call: &mut Call<'_>) {
    call.variables.extend(request.variable.iter().map(|variable| (Arc::clone(variable), Value::Null)));
}

/// No answer of one that was asked beside the third party.
pub(super) fn unanswered(endpoint: &Endpoint, reason: Reason) -> Box<Fault> {
    let status = if reason == Reason::UpstreamTimeout { 504 } else { 502 };
    Fault::new(reason, status, format!("no answer of {endpoint}: {reason}"))
}

/// As it is sent.
fn prepared(request: &SendRequest, call: &mut Call<'_>) -> Result<Request<Bytes>, Box<Fault>> {
    let own = call.secrets_for(&request.endpoint);
    let filled = filled(request, call);
    call.may_be_secret = own;
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
        *asked.method_mut() = call.request.method.clone();
        *asked.headers_mut() = copied(&call.request.headers);
        if asked.body().is_empty() && call.has_secret_body() {
            let message = format!("a secret is in the body, which is not for {}: add `body`", request.endpoint);
            return Err(Fault::new(Reason::Expression, 500, message));
        }
        if asked.body().is_empty() {
            *asked.body_mut() = call.request_body.clone().unwrap_or_default();
        }
    }
    *asked.uri_mut() = uri;
    for (name, value) in &request.headers {
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { continue };
        let filled = template::fill(value, call)?;
        let mut value = set_header::value(&name, &filled.text)?;
        value.set_sensitive(filled.is_secret());
        asked.headers_mut().insert(name, value);
    }
    Ok(asked)
}

/// What is not about the connection, the body's length or the third party's name; and no secret of the third party's.
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

/// For expressions: `status`, `headers`, `body`.
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
