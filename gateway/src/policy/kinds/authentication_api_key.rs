use std::iter;
use std::sync::Arc;

use super::set_query_parameter;
use crate::model::{CredentialPlace, Template};
use crate::policy::engine::{
    Call, Change, Fault, Kind, MASK, Now, Outcome, Reads, Responds, Sections, Site, Traits, WhenReported, World,
    expressions, fields, template,
};

/// Adds an API key to the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Where the key stands in the request.
    pub place: CredentialPlace,
    /// The key.
    pub value: Template,
}

impl Kind for ApiKey {
    const NAME: &'static str = "authentication-api-key";
    const SECTIONS: Sections = Sections::REQUEST;

    fn traits(&self) -> Traits<'_> {
        Traits {
            expressions: expressions([&self.value]),
            conditions: Vec::new(),
            endpoints: Vec::new(),
            backend: None,
            reads: Reads::Nothing,
            reads_sent_request: false,
            waits_for_response: false,
            needs_every_request: false,
            changes: vec![Change::of(&self.place)],
            puts_secret: self.value.is_secret(),
            signs: None,
            responds: Responds::Never,
            counts_by: Vec::new(),
            described: None,
            names_files: false,
            when_reported: WhenReported::Evaluated,
        }
    }
}

impl Now for ApiKey {
    fn run(&self, _: Site<'_>, call: &mut Call<'_>, _: &dyn World) -> Result<Outcome, Box<Fault>> {
        run(self, call).map(|()| Outcome::Continue)
    }
}

fn run(key: &ApiKey, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let value = template::fill(&key.value, call)?;
    put(&key.place, &value.text, call)
}

/// Puts a credential into the request, in the place of any that is there. It is secret from then on.
pub(in crate::policy) fn put(place: &CredentialPlace, credential: &str, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    match place {
        CredentialPlace::Header(name) => {
            call.note(|| format!("{name}: {}", MASK));
            let mut value = fields::value(name, credential)?;
            value.set_sensitive(true);
            call.message.request.headers.insert(name, value);
            Ok(())
        }
        CredentialPlace::QueryParameter(name) => {
            call.note(|| format!("{name}={}", MASK));
            call.message.secrecy.parameters.push(Arc::clone(name));
            set_query_parameter::put(name, iter::once(credential), false, call)
        }
    }
}
