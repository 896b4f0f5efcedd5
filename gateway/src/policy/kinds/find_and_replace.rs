use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::model::Template;
use crate::policy::engine::{
    Call, Change, Fault, Kind, Now, Outcome, Reads, Responds, Sections, Site, Traits, Want, WhenReported, World,
    bodies, expressions, mask, template,
};
use crate::syntax::{Form, Reader, Text};

/// Replaces a text in the body of the message that the section is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindAndReplace {
    /// The text that is replaced.
    pub from: Template,
    /// The text that takes its place.
    pub to: Template,
}

/// Replaces a text in the body.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct FindAndReplaceFile {
    /// The text that is replaced. Example: `http://`.
    #[schemars(with = "String")]
    pub from: Text,
    /// The text that replaces it. In JSON, XML and forms its values are encoded for the place. Example: `https://`.
    #[schemars(with = "String")]
    pub to: Text,
}

impl Form for FindAndReplace {
    type File = FindAndReplaceFile;
    type Compiled = Self;
    const ABOUT: &'static str = "Replaces a text in the body: of the request in inbound, of the response in outbound.";

    fn compile(written: &Spanned<FindAndReplaceFile>, reader: &mut dyn Reader) -> Option<Self> {
        let file = &written.value;
        if file.from.value.is_empty() {
            reader.wrong(&file.from, "`from` is empty", "write the text that is to be replaced");
        }
        let (from, to) = (reader.template(&file.from), reader.piece(&file.to));
        reader.is_for_section(&to, &file.to);
        Some(Self { from, to })
    }
}

impl Kind for FindAndReplace {
    const NAME: &'static str = "find-and-replace";
    const SECTIONS: Sections = Sections::ALL;

    fn traits(&self) -> Traits<'_> {
        Traits {
            expressions: expressions([&self.from, &self.to]),
            conditions: Vec::new(),
            endpoints: Vec::new(),
            backend: None,
            reads: Reads::AsTheMessageSays,
            reads_sent_request: false,
            waits_for_response: false,
            needs_every_request: true,
            changes: Change::BODY.to_vec(),
            puts_secret: false,
            signs: None,
            responds: Responds::Never,
            counts_by: Vec::new(),
            described: None,
            names_files: false,
            when_reported: WhenReported::Evaluated,
        }
    }

    fn wants(&self, _: &Call<'_>) -> Want {
        Want::Text
    }
}

impl Now for FindAndReplace {
    fn run(&self, _: Site<'_>, call: &mut Call<'_>, _: &dyn World) -> Result<Outcome, Box<Fault>> {
        run(self, call).map(|()| Outcome::Continue)
    }
}

/// Replaces a text in a body that is there as a whole. Holes of what is put in are encoded for the place, in JSON, XML and forms.
///
/// # Errors
/// An expression failed, or the body would become too long.
fn run(replace: &FindAndReplace, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let from = template::fill(&replace.from, call)?;
    let outcome = bodies::replaced(&from.text, &replace.to, call)?;
    call.note(|| format!("{} times", outcome.times));
    call.message.secrecy.body |= outcome.is_secret;
    if outcome.is_secret {
        template::fill(&replace.to, call)?.secrets().for_each(|secret| mask::add(call, secret));
    }
    if outcome.times > 0 {
        bodies::put(call, outcome.body.into());
    }
    Ok(())
}
