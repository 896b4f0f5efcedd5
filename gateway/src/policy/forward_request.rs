use super::call::{Call, Fault};
use super::world::{Asked, Unanswerable, World};
use crate::model::{Forward, Reason};

/// Sends the request, and waits for the head of the answer.
pub(super) async fn run(forward: &Forward, call: &mut Call<'_>, world: &mut dyn World) -> Result<(), Box<Fault>> {
    // A copy is as dear as some policies together.
    let head = if call.looks_back || call.steps.is_some() { call.request.clone() } else { call.take_request() };
    let asked = Asked { head, body: call.request_body.clone() };
    call.response_body = None;
    call.response = None;
    match world.ask(asked, forward.timeout).await {
        Ok(head) => {
            let status = head.status;
            call.note(|| status.to_string());
            call.response = Some(head);
            if forward.fail_on_error_status && status.as_u16() >= 400 {
                let message = format!("the third party answered {status}");
                return Err(Fault::new(Reason::UpstreamStatus, 502, message));
            }
            Ok(())
        }
        Err(Unanswerable { reason, error }) => {
            let message = format!("no answer of {}: {reason}", call.host);
            let status = if reason == Reason::UpstreamTimeout { 504 } else { 502 };
            let mut fault = Fault::new(reason, status, message);
            fault.unanswered = Some(Unanswerable { reason, error });
            Err(fault)
        }
    }
}
