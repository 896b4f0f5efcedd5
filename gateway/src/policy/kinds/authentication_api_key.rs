use std::iter;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::set_query_parameter;
use crate::model::{CredentialPlace, Template};
use crate::policy::engine::{
    Call, Change, Fault, Kind, MASK, Now, Outcome, Reads, Responds, Sections, Site, Traits, WhenReported, World,
    expressions, fields, template,
};
use crate::syntax::{Form, Reader, Text};

/// Adds an API key to the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Where the key stands in the request.
    pub place: CredentialPlace,
    /// The key.
    pub value: Template,
}

/// An API key in a header or in the query.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ApiKeyFile {
    /// The header that receives the key. Exactly one of `header` and `query_parameter` is required. Default: none. Example:
    /// `X-Api-Key`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub header: Option<Text>,
    /// The query parameter that receives the key. Default: none. Example: `key`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub query_parameter: Option<Text>,
    /// The key, usually a `{{named value}}`. Example: `"{{partner-key}}"`.
    #[schemars(with = "String")]
    pub value: Text,
}

impl Form for ApiKey {
    type File = ApiKeyFile;
    type Compiled = Self;
    const ABOUT: &'static str = "Adds an API key to a header or to the query of the request.\n\
        Example: `{header: X-Api-Key, value: \"{{partner-key}}\"}`.";

    fn compile(written: &Spanned<ApiKeyFile>, reader: &mut dyn Reader) -> Option<Self> {
        let file = &written.value;
        let value = reader.template(&file.value);
        let place = credential_place(file.header.as_ref(), file.query_parameter.as_ref(), &file.value, reader)?;
        Some(Self { place, value })
    }
}

/// Compiles where a credential stands in the request.
pub(super) fn credential_place(
    header: Option<&Text>,
    parameter: Option<&Text>,
    near: &Text,
    reader: &mut dyn Reader,
) -> Option<CredentialPlace> {
    match (header, parameter) {
        (Some(name), None) => reader.header_name(name).map(CredentialPlace::Header),
        (None, Some(name)) => Some(CredentialPlace::QueryParameter(name.value.as_str().into())),
        _ => {
            let help = "write header: X-Api-Key, or query_parameter: key";
            reader.wrong(near, "exactly one of `header` and `query_parameter` is required", help);
            None
        }
    }
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
