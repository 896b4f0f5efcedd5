use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::model::{Reason, Template};
use crate::policy::engine::{
    Call, Change, Fault, Kind, Now, Outcome, Reads, Responds, Sections, Site, Traits, WhenReported, World, expressions,
    mask, template,
};
use crate::syntax::{Form, Reader, Text};

/// Sets `Authorization: Basic` on the request (RFC 7617).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basic {
    /// The name of the user.
    pub username: Template,
    /// The password.
    pub password: Template,
}

/// The credentials of `Authorization: Basic`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct BasicFile {
    /// The user name, without a colon. Example: `acme`.
    #[schemars(with = "String")]
    pub username: Text,
    /// The password, usually a `{{named value}}`. Example: `"{{partner-password}}"`.
    #[schemars(with = "String")]
    pub password: Text,
}

impl Form for Basic {
    type File = BasicFile;
    type Compiled = Self;
    const ABOUT: &'static str = "Sets `Authorization: Basic` on the request.";

    fn compile(written: &Spanned<BasicFile>, reader: &mut dyn Reader) -> Option<Self> {
        let file = &written.value;
        let (username, password) = (reader.template(&file.username), reader.template(&file.password));
        if username.literal().is_some_and(|name| name.contains(':')) {
            let help = "remove the colon: RFC 7617 forbids it";
            reader.wrong(&file.username, "this user name has a colon", help);
        }
        Some(Self { username, password })
    }
}

impl Kind for Basic {
    const NAME: &'static str = "authentication-basic";
    const SECTIONS: Sections = Sections::REQUEST;

    fn traits(&self) -> Traits<'_> {
        Traits {
            expressions: expressions([&self.username, &self.password]),
            conditions: Vec::new(),
            endpoints: Vec::new(),
            backend: None,
            reads: Reads::Nothing,
            reads_sent_request: false,
            waits_for_response: false,
            needs_every_request: false,
            changes: vec![Change::Header("authorization")],
            puts_secret: self.username.is_secret() || self.password.is_secret(),
            signs: None,
            responds: Responds::Never,
            counts_by: Vec::new(),
            described: None,
            names_files: false,
            when_reported: WhenReported::Evaluated,
        }
    }
}

impl Now for Basic {
    fn run(&self, _: Site<'_>, call: &mut Call<'_>, _: &dyn World) -> Result<Outcome, Box<Fault>> {
        run(self, call).map(|()| Outcome::Continue)
    }
}

/// RFC 7617.
fn run(basic: &Basic, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let (username, password) = (template::fill(&basic.username, call)?, template::fill(&basic.password, call)?);
    // RFC 7617 §2: what follows the first colon is the password.
    if username.text.contains(':') {
        return Err(Fault::new(Reason::Expression, 500, "the name of the user has a colon in it"));
    }
    call.note(|| format!("{}:***", username.shown()));
    password.secrets().for_each(|secret| mask::add(call, secret));
    let encoded = BASE64_STANDARD.encode(format!("{}:{}", username.text, password.text));
    let mut value = HeaderValue::try_from(format!("Basic {encoded}"))
        .map_err(|_| Fault::new(Reason::Expression, 500, "these credentials are no header"))?;
    value.set_sensitive(true);
    call.message.request.headers.insert(AUTHORIZATION, value);
    Ok(())
}
