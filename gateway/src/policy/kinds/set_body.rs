use bytes::Bytes;
use serde_saphyr::Spanned;

use crate::model::Template;
use crate::policy::engine::{
    Call, Change, Fault, Kind, Now, Outcome, Reads, Responds, Sections, Site, Traits, WhenReported, World, bodies,
    expressions, mask, template,
};
use crate::syntax::{Form, Reader};

/// Sets the body of the message that the section is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetBody(pub Template);

impl Form for SetBody {
    type File = String;
    type Compiled = Self;
    const ABOUT: &'static str = "Sets the body: of the request in inbound and backend, of the response in outbound and on-error. Values are encoded for where\n\
        they stand. A body that begins with `{` or `[` is JSON: within quotes a value is a part of the string, elsewhere it is a\n\
        whole value. One that begins with `<` is XML or HTML, and one that begins with `name=` and has no blanks is a form. In other\n\
        text nothing is encoded. `${raw(...)}` is inserted as it is, and so is a value that is the whole body. Example: `'{\"id\":\n\
        \"${request.id}\", \"order\": ${json(request.body)}}'`.";

    fn compile(written: &Spanned<String>, reader: &mut dyn Reader) -> Option<Self> {
        let template = reader.body(written, None);
        reader.is_for_section(&template, written);
        Some(Self(template))
    }
}

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
