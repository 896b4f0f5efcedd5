use super::return_response::reply;
use crate::model::Reply;
use crate::policy::engine::{
    Call, Fault, Kind, Now, Outcome, Reads, Responds, Sections, Site, Traits, WhenReported, World, expressions,
};

/// Responds as the third party would: outbound runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MockResponse(pub Reply);

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
