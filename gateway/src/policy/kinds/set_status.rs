use http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::model::Section;
use crate::policy::engine::{
    Call, Fault, Kind, Now, Outcome, Reads, Responds, Sections, Site, Traits, WhenReported, World,
};
use crate::syntax::{Form, Reader};

/// Sets the status of the response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetStatus {
    /// The status, from 200 to 599.
    pub code: u16,
}

/// The status, as it is written.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct SetStatusFile(#[schemars(range(min = 200, max = 599))] pub u16);

impl Form for SetStatus {
    type File = SetStatusFile;
    type Compiled = Self;
    const ABOUT: &'static str = "Sets the status of the response. Example: `503`.";

    fn compile(written: &Spanned<SetStatusFile>, _: &mut dyn Reader) -> Option<Self> {
        Some(Self { code: written.value.0 })
    }
}

impl Kind for SetStatus {
    const NAME: &'static str = "set-status";
    const SECTIONS: Sections = Sections {
        places: &[Section::Outbound, Section::OnError],
        rule: "has no response to change here",
        help: "move it to outbound",
    };

    fn traits(&self) -> Traits<'_> {
        Traits {
            expressions: Vec::new(),
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
            responds: Responds::Never,
            counts_by: Vec::new(),
            described: None,
            names_files: false,
            when_reported: WhenReported::Evaluated,
        }
    }
}

impl Now for SetStatus {
    fn run(&self, _: Site<'_>, call: &mut Call<'_>, _: &dyn World) -> Result<Outcome, Box<Fault>> {
        call.note(|| self.code.to_string());
        if let (Some(response), Ok(status)) = (&mut call.message.response, StatusCode::from_u16(self.code)) {
            response.status = status;
        }
        Ok(Outcome::Continue)
    }
}
