use http::Method;
use serde_saphyr::Spanned;

use crate::model::{Reason, Template};
use crate::policy::engine::{
    Call, Change, Fault, Kind, Now, Outcome, Reads, Responds, Sections, Site, Traits, WhenReported, World, expressions,
    paths, template,
};
use crate::syntax::{Form, Reader};

/// Sets the method of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetMethod(pub Template);

impl Form for SetMethod {
    type File = String;
    type Compiled = Self;
    const ABOUT: &'static str = "Sets the method of the request. Example: `PUT`.";

    fn compile(written: &Spanned<String>, reader: &mut dyn Reader) -> Option<Self> {
        let method = reader.recorded(written);
        if method.literal().is_some_and(|method| Method::from_bytes(method.trim().as_bytes()).is_err()) {
            let rule = format!("`{}` is not an HTTP method", written.value);
            reader.wrong(written, rule, "write a method like GET or POST");
        }
        Some(Self(method))
    }
}

impl Kind for SetMethod {
    const NAME: &'static str = "set-method";
    const SECTIONS: Sections = Sections::REQUEST;

    fn traits(&self) -> Traits<'_> {
        Traits {
            expressions: expressions([&self.0]),
            conditions: Vec::new(),
            endpoints: Vec::new(),
            backend: None,
            reads: Reads::Nothing,
            reads_sent_request: false,
            waits_for_response: false,
            needs_every_request: false,
            changes: vec![Change::Method],
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

impl Now for SetMethod {
    fn run(&self, _: Site<'_>, call: &mut Call<'_>, _: &dyn World) -> Result<Outcome, Box<Fault>> {
        run(self, call).map(|()| Outcome::Continue)
    }
}

/// Sets the method of the request. A value that is not fixed must not make it a request of an operation whose policies did not run.
fn run(SetMethod(method): &SetMethod, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let filled = template::fill(method, call)?;
    call.note(|| filled.shown().to_owned());
    let new = Method::from_bytes(filled.text.as_bytes())
        .map_err(|_| Fault::new(Reason::Expression, 500, "the new method is not valid"))?;
    if method.expressions().next().is_some() {
        paths::may_have_method(call, &new)?;
    }
    call.message.request.method = new;
    Ok(())
}
