use serde_saphyr::Spanned;

use super::return_response::{ReplyFile, compile, reply};
use crate::model::Reply;
use crate::policy::engine::{
    Call, Fault, Kind, Now, Outcome, Reads, Responds, Sections, Site, Traits, WhenReported, World, expressions,
};
use crate::syntax::{Form, Reader};

/// Responds as the third party would: outbound runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MockResponse(pub Reply);

impl Form for MockResponse {
    type File = ReplyFile;
    type Compiled = Self;
    const ABOUT: &'static str =
        "Responds without forwarding the request. Outbound runs as for a response of the third party.";

    fn compile(written: &Spanned<ReplyFile>, reader: &mut dyn Reader) -> Option<Self> {
        Some(Self(compile(&written.value, reader)))
    }
}

impl Kind for MockResponse {
    const NAME: &'static str = "mock-response";
    const SECTIONS: Sections = Sections::INBOUND;

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

impl Now for MockResponse {
    fn run(&self, _: Site<'_>, call: &mut Call<'_>, _: &dyn World) -> Result<Outcome, Box<Fault>> {
        reply(&self.0, call).map(|()| Outcome::Mocked)
    }
}
