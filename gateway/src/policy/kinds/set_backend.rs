use std::sync::Arc;

use serde_saphyr::Spanned;

use crate::model::Service;
use crate::policy::engine::{
    Call, Change, Fault, Kind, Now, Outcome, Reads, Responds, Sections, Site, Traits, WhenReported, World,
};
use crate::syntax::{Form, Reader};

/// Forwards the request to a server of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetBackend {
    /// The backend.
    pub service: Arc<Service>,
}

impl Form for SetBackend {
    type File = String;
    type Compiled = Self;
    const ABOUT: &'static str = "Forwards the request to a server of `backends` instead of the third party's own servers. Host and TLS name are those of\n\
        the server. Example: `sandbox`.";

    fn compile(written: &Spanned<String>, reader: &mut dyn Reader) -> Option<Self> {
        Some(Self { service: reader.backend(written)? })
    }
}

impl Kind for SetBackend {
    const NAME: &'static str = "set-backend";
    const SECTIONS: Sections = Sections::REQUEST;

    fn traits(&self) -> Traits<'_> {
        Traits {
            expressions: Vec::new(),
            conditions: Vec::new(),
            endpoints: self.service.members.iter().map(|member| &*member.endpoint).collect(),
            backend: Some(&self.service),
            reads: Reads::Nothing,
            reads_sent_request: false,
            waits_for_response: false,
            needs_every_request: false,
            changes: vec![Change::Host, Change::Path],
            puts_secret: false,
            signs: None,
            responds: Responds::Never,
            counts_by: Vec::new(),
            described: None,
            names_files: false,
            when_reported: WhenReported::Evaluated,
        }
    }
}

impl Now for SetBackend {
    fn run(&self, _: Site<'_>, call: &mut Call<'_>, _: &dyn World) -> Result<Outcome, Box<Fault>> {
        run(self, call).map(|()| Outcome::Continue)
    }
}

fn run(set: &SetBackend, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    call.note(|| set.service.name.to_string());
    let is_secured = set.service.members.iter().all(|member| member.endpoint.tls.is_some());
    let message = &mut call.message;
    message.secrecy.allowed = call.context.plain_secrets || is_secured;
    (message.backend, message.tried) = (Some(Arc::clone(&set.service)), Vec::new());
    Ok(())
}
