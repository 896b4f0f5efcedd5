//! `check-query-parameter`: the policy of docs/add-a-policy.md. Only tests compile it.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::model::Reason;
use crate::policy::engine::query::parameters;
use crate::policy::engine::{
    Call, Fault, Kind, Now, Outcome, Reads, Responds, Sections, Site, Traits, WhenReported, World,
};
use crate::syntax::{Form, Reader, Text};

/// The policy as it is written.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CheckQueryParameterFile {
    /// The name of the parameter. Example: `currency`.
    #[schemars(with = "String")]
    pub name: Text,
}

/// Refuses requests that lack a parameter in the query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckQueryParameter {
    /// The name of the parameter, decoded.
    pub name: Arc<str>,
}

impl Form for CheckQueryParameter {
    type File = CheckQueryParameterFile;
    type Compiled = Self;
    const ABOUT: &'static str = "Refuses requests that lack a parameter in the query. Only in inbound.";

    fn compile(written: &Spanned<CheckQueryParameterFile>, reader: &mut dyn Reader) -> Option<Self> {
        let written = &written.value.name;
        let name = written.value.trim();
        if name.is_empty() {
            reader.wrong(written, "the name is empty", "write the name of a parameter, like currency");
            return None;
        }
        Some(Self { name: name.into() })
    }
}

impl CheckQueryParameter {
    fn is_in(&self, query: &str) -> bool {
        parameters(query).any(|(name, _)| *name == *self.name)
    }
}

impl Kind for CheckQueryParameter {
    const NAME: &'static str = "check-query-parameter";
    const SECTIONS: Sections = Sections::INBOUND;

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

impl Now for CheckQueryParameter {
    fn run(&self, _: Site<'_>, call: &mut Call<'_>, _: &dyn World) -> Result<Outcome, Box<Fault>> {
        if self.is_in(call.message.request.uri.query().unwrap_or_default()) {
            return Ok(Outcome::Continue);
        }
        Err(Fault::new(Reason::ParameterNotValid, 400, format!("the parameter {} is missing", self.name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_found_however_its_name_is_encoded() {
        let check = CheckQueryParameter { name: "currency".into() };
        assert!(check.is_in("amount=1&currency=EUR") && check.is_in("curr%65ncy="));
        assert!(!check.is_in("") && !check.is_in("amount=currency"));
    }
}
