use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::model::Expression;
use crate::policy::engine::{
    Call, Fault, Kind, Now, Outcome, Reads, Responds, Sections, Site, Traits, WhenReported, World, expression,
};
use crate::syntax::{Form, Reader, Text};

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

/// Stores a value for later expressions.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SetVariableFile {
    /// The name of the variable: expressions refer to it as `variables.NAME`. Example: `tenant`.
    #[schemars(with = "String")]
    pub name: Text,
    /// An expression for the value. Example: `'request.headers["x-tenant"]'`.
    #[schemars(with = "String")]
    pub value: Text,
    /// Whether the value is a secret. A secret is masked wherever people read it, and never goes to a caller, to a record or
    /// to a server without TLS. Default: false.
    #[serde(default)]
    pub secret: bool,
}

impl Form for SetVariable {
    type File = SetVariableFile;
    type Compiled = Self;
    const ABOUT: &'static str = "Stores a value for later expressions.";

    fn compile(written: &Spanned<SetVariableFile>, reader: &mut dyn Reader) -> Option<Self> {
        let name = reader.variable(&written.value.name);
        let secret = reader.is_secret(&name);
        let value = reader.stored(&written.value.value, secret)?;
        Some(Self { name, secret, value })
    }

    fn variables(file: &SetVariableFile) -> Vec<(&Text, bool)> {
        vec![(&file.name, file.secret)]
    }
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
