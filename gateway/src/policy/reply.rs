//! Answers of the owner's own: `return-response`, `mock-response`.

use bytes::Bytes;
use http::{HeaderName, Response, StatusCode};

use super::call::{Call, Fault};
use super::{bodies, set_header, template};
use crate::model::Reply;

/// Puts the answer in the place of any there is.
pub(super) fn run(reply: &Reply, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::OK);
    let body = template::fill(&reply.body, call)?;
    call.note(|| format!("{} {}", status.as_u16(), body.shown()));
    let (mut head, ()) = Response::new(()).into_parts();
    head.status = status;
    bodies::describe(&mut head.headers, body.text.len());
    for (name, value) in &reply.headers {
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { continue };
        let value = template::fill(value, call)?;
        let value = set_header::value(&name, &value.text)?;
        head.headers.append(name, value);
    }
    call.response_body = Some(Bytes::from(body.text.into_owned().into_bytes()));
    call.response = Some(head);
    Ok(())
}
