use std::sync::Arc;

use crate::model::Expression;
use crate::policy::engine::{
    Call, Fault, Kind, Now, Outcome, Reads, Responds, Sections, Site, Traits, WhenReported, World, expression,
};
/// Stores a value for later expressions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetVariable {
    /// The name; expressions write `variables.NAME`.
    pub name: Arc<str>,
    /// Whether the value is secret.
    pub secret: bool,
    /// The value.
    pub value: Expression,
}

impl Kind for SetVariable {
    const NAME: &'static str = "set-variable";
    const SECTIONS: Sections = Sections::ALL;

    fn traits(&self) -> Traits<'_> {
        Traits {
            expressions: vec![&self.value],
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

impl Now for SetVariable {
    fn run(&self, _: Site<'_>, call: &mut Call<'_>, _: &dyn World) -> Result<Outcome, Box<Fault>> {
        let value = expression::value(&self.value, call)?;
        expression::assign(&self.name, value, self.secret, call);
        Ok(Outcome::Continue)
    }
}
