//! `return-response`: a response of the owner's own.

use bytes::Bytes;
use http::{HeaderName, Response, StatusCode};

use crate::model::Reply;
use crate::policy::engine::{
    Call, Fault, Kind, Now, Outcome, Reads, Responds, Sections, Site, Traits, WhenReported, World, bodies, expressions,
    fields, template,
};

/// Responds to the caller, and ends the policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnResponse(pub Reply);

impl Kind for ReturnResponse {
    const NAME: &'static str = "return-response";
    const SECTIONS: Sections = Sections::ALL;

    fn traits(&self) -> Traits<'_> {
        Traits {
            expressions: expressions(
                std::iter::once(&self.0.body).chain(self.0.headers.iter().map(|(_, value)| value)),
            ),
            conditions: Vec::new(),
            endpoints: Vec::new(),
            backend: None,
            reads: Reads::Nothing,
            reads_sent_request: false,
            waits_for_response: false,
            needs_every_request: false,
            changes: Vec::new(),
            puts_secret: false,
            signs: None,
            responds: Responds::Itself,
            counts_by: Vec::new(),
            described: None,
            names_files: false,
            when_reported: WhenReported::Evaluated,
        }
    }
}

impl Now for ReturnResponse {
    fn run(&self, _: Site<'_>, call: &mut Call<'_>, _: &dyn World) -> Result<Outcome, Box<Fault>> {
        reply(&self.0, call).map(|()| Outcome::Respond)
    }
}

/// Puts this response in the place of any that there is.
pub(in crate::policy) fn reply(reply: &Reply, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::OK);
    let body = template::fill(&reply.body, call)?;
    call.note(|| format!("{} {}", status.as_u16(), body.shown()));
    let (mut head, ()) = Response::new(()).into_parts();
    head.status = status;
    bodies::describe(&mut head.headers, body.text.len());
    for (name, value) in &reply.headers {
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { continue };
        let value = template::fill(value, call)?;
        let value = fields::value(&name, &value.text)?;
        head.headers.append(name, value);
    }
    call.message.response_body = Some(Bytes::from(body.text.into_owned().into_bytes()));
    call.message.response = Some(head);
    Ok(())
}
