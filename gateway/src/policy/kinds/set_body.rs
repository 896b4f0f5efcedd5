use bytes::Bytes;

use crate::model::Template;
use crate::policy::engine::{
    Call, Change, Fault, Kind, Now, Outcome, Reads, Responds, Sections, Site, Traits, WhenReported, World, bodies,
    expressions, mask, template,
};
/// Sets the body of the message that the section is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetBody(pub Template);

impl Kind for SetBody {
    const NAME: &'static str = "set-body";
    const SECTIONS: Sections = Sections::ALL;

    fn traits(&self) -> Traits<'_> {
        Traits {
            expressions: expressions([&self.0]),
            conditions: Vec::new(),
            endpoints: Vec::new(),
            backend: None,
            reads: Reads::Nothing,
            reads_sent_request: false,
            waits_for_response: false,
            needs_every_request: true,
            changes: Change::BODY.to_vec(),
            puts_secret: self.0.is_secret(),
            signs: None,
            responds: Responds::Never,
            counts_by: Vec::new(),
            described: None,
            names_files: false,
            when_reported: WhenReported::Evaluated,
        }
    }
}

impl Now for SetBody {
    fn run(&self, _: Site<'_>, call: &mut Call<'_>, _: &dyn World) -> Result<Outcome, Box<Fault>> {
        run(self, call).map(|()| Outcome::Continue)
    }
}

fn run(SetBody(body): &SetBody, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let filled = template::fill(body, call)?;
    call.note(|| format!("{} bytes", filled.text.len()));
    call.message.secrecy.body |= filled.is_secret();
    filled.secrets().for_each(|secret| mask::add(call, secret));
    bodies::put(call, Bytes::from(filled.text.into_owned().into_bytes()));
    Ok(())
}
